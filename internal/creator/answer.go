package creator

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

var (
	// ErrGone says that a Job which answered for a message is gone.
	ErrGone = errors.New("the message's Job is gone")
	// ErrNotWanted says that no Job is to be created for a message any more: the operator stops, or the binding has paused.
	ErrNotWanted = errors.New("the message is not to become a Job now")
)

// BlockedError says that the API server takes no Jobs now, which is no message's fault. The message is kept and tried again.
type BlockedError struct {
	// Reason is one of those of the condition Ready.
	Reason string
	// Err is the API server's answer.
	Err error
}

func (e *BlockedError) Error() string { return e.Err.Error() }

func (e *BlockedError) Unwrap() error { return e.Err }

// classify is the one place that tells what an answer of the API server to a create means: nil, AlreadyExists as it is, a
// *job.RejectionError where this object will never be accepted though others may be, else a *BlockedError. What is not known
// blocks: a message is never put at risk because of an error that nobody thought of.
func classify(err error) error {
	if err == nil || apierrors.IsAlreadyExists(err) {
		return err
	}
	text := err.Error()
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return &BlockedError{v1alpha1.ReasonNamespaceTerminating, err}
	case strings.Contains(text, "admission webhook") && strings.Contains(text, "denied the request"):
		return rejected(v1alpha1.RejectedAdmissionDenied, err) // the webhook chooses the code
	case strings.Contains(text, "failed calling webhook"), strings.Contains(text, "failed to call webhook"):
		return &BlockedError{v1alpha1.ReasonWebhookUnavailable, err}
	case apierrors.IsForbidden(err):
		return classifyForbidden(err)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return rejected(v1alpha1.RejectedJobInvalid, err)
	case apierrors.IsRequestEntityTooLargeError(err), strings.Contains(text, "request is too large"):
		return rejected(v1alpha1.RejectedTooLarge, err)
	case apierrors.IsUnauthorized(err):
		return &BlockedError{v1alpha1.ReasonForbidden, err}
	case apierrors.IsNotFound(err):
		// Creating fails so only where the namespace is gone.
		return &BlockedError{v1alpha1.ReasonNamespaceTerminating, err}
	}
	return &BlockedError{v1alpha1.ReasonAPIServerUnavailable, err}
}

// classifyForbidden tells apart what the API server all calls forbidden. Its words are all there is to go by.
func classifyForbidden(err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, "exceeded quota"), strings.Contains(text, "status unknown for quota"), strings.Contains(text, "insufficient quota"):
		return &BlockedError{v1alpha1.ReasonQuotaExceeded, err}
	case strings.Contains(text, `User "`) && strings.Contains(text, `" cannot `), strings.Contains(text, "cannot set blockOwnerDeletion"):
		return &BlockedError{v1alpha1.ReasonForbidden, err}
	case strings.Contains(text, "not yet ready to handle request"): // an admission plugin of an API server that has just started
		return &BlockedError{v1alpha1.ReasonAPIServerUnavailable, err}
	case strings.Contains(text, "being terminated"):
		return &BlockedError{v1alpha1.ReasonNamespaceTerminating, err}
	}
	return rejected(v1alpha1.RejectedAdmissionDenied, err)
}

// blockedBy returns the error of a request that is none of a message's making: nothing can be rejected for it.
func blockedBy(err error) *BlockedError {
	if blocked, ok := errors.AsType[*BlockedError](classify(err)); ok {
		return blocked
	}
	return &BlockedError{v1alpha1.ReasonAPIServerUnavailable, err}
}

func isBlocked(err error) bool {
	_, ok := errors.AsType[*BlockedError](err)
	return ok
}

func rejected(reason string, err error) *job.RejectionError {
	return &job.RejectionError{Reason: reason, Message: err.Error()}
}

func nameTaken(format, name string) *job.RejectionError {
	return &job.RejectionError{Reason: v1alpha1.RejectedNameTaken, Message: fmt.Sprintf(format, name)}
}
