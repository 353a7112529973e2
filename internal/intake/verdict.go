package intake

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// Action is what to do with a message after its Job was to be created.
type Action int

const (
	// Acknowledge: the Job exists, and its rule is to delete the message then.
	Acknowledge Action = iota
	// Keep: the Job exists and bears the message's receipt. It answers for the message from now on.
	Keep
	// Leave: the message is taken care of, by a Job that has a later receipt of it, or by its Job's end.
	Leave
	// Next: the attempt's Job has failed. The message is for the next one.
	Next
	// Verify: an object by that name exists; a live read tells whose it is.
	Verify
	// Retry: what existed is gone again.
	Retry
	// Reject: this Job will never be accepted. Other messages' may be.
	Reject
	// Hold: no Job is accepted now. Keep the message and try again.
	Hold
)

// Verdict is what an answer of the API server means for a message.
type Verdict struct {
	Action Action
	// Reason is one of the API's Rejected… reasons with Reject, one of Ready's with Hold.
	Reason string
	// Message is the API server's own words.
	Message string
}

// Judge is the one place that tells what an answer to the creation of a Job means. What is not known is held: a
// message is never put at risk because of an error that nobody thought of.
func Judge(err error) Verdict {
	if err == nil {
		return Verdict{Action: Acknowledge}
	}
	text := err.Error()
	reject := func(reason string) Verdict { return Verdict{Reject, reason, text} }
	hold := func(reason string) Verdict { return Verdict{Hold, reason, text} }
	switch {
	case apierrors.IsAlreadyExists(err):
		return Verdict{Action: Verify, Message: text}
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return hold(v1alpha1.ReasonNamespaceTerminating)
	case strings.Contains(text, "admission webhook") && strings.Contains(text, "denied the request"):
		return reject(v1alpha1.RejectedAdmissionDenied) // the webhook chooses the code
	case strings.Contains(text, "failed calling webhook"), strings.Contains(text, "failed to call webhook"):
		return hold(v1alpha1.ReasonWebhookUnavailable)
	case apierrors.IsForbidden(err):
		return judgeForbidden(text, reject, hold)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return reject(v1alpha1.RejectedJobInvalid)
	case apierrors.IsRequestEntityTooLargeError(err), strings.Contains(text, "request is too large"):
		return reject(v1alpha1.RejectedTooLarge)
	case apierrors.IsUnauthorized(err):
		return hold(v1alpha1.ReasonForbidden)
	case apierrors.IsNotFound(err):
		// Creating fails so only where the namespace is gone.
		return hold(v1alpha1.ReasonNamespaceTerminating)
	}
	return hold(v1alpha1.ReasonAPIServerUnavailable)
}

// unavailable is the verdict on a request that is none of a message's making and failed.
func unavailable(err error) Verdict {
	if verdict := Judge(err); verdict.Action == Hold {
		return verdict
	}
	return Verdict{Hold, v1alpha1.ReasonAPIServerUnavailable, err.Error()}
}

// judgeForbidden tells apart what the API server all calls forbidden. Its words are all there is to go by.
func judgeForbidden(text string, reject, hold func(string) Verdict) Verdict {
	switch {
	case strings.Contains(text, "exceeded quota"), strings.Contains(text, "status unknown for quota"), strings.Contains(text, "insufficient quota"):
		return hold(v1alpha1.ReasonQuotaExceeded)
	case strings.Contains(text, `User "`) && strings.Contains(text, `" cannot `), strings.Contains(text, "cannot set blockOwnerDeletion"):
		return hold(v1alpha1.ReasonForbidden)
	case strings.Contains(text, "not yet ready to handle request"): // an admission plugin of an API server that has just started
		return hold(v1alpha1.ReasonAPIServerUnavailable)
	case strings.Contains(text, "being terminated"):
		return hold(v1alpha1.ReasonNamespaceTerminating)
	}
	return reject(v1alpha1.RejectedAdmissionDenied)
}
