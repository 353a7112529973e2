package creator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

var (
	// ErrGone says that a Job which answered for a message is gone.
	ErrGone = errors.New("the message's Job is gone")
	// errGateClosed says that nothing was asked for, as the API server takes nothing now.
	errGateClosed = errors.New("the API server takes no Jobs now")
	// errUncollected says that a Secret which goes is not gone yet.
	errUncollected = errors.New("a deleted Secret, or one of a deleted Job, is not collected yet")
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

// Error quotes nothing of the object that was sent.
func (e *BlockedError) Error() string { return wordsOf(e.Err) }

func (e *BlockedError) Unwrap() error { return e.Err }

// mayBeTheMessages reports whether the message may be at fault after all: a webhook may fail or hang for one object, its patch may
// not apply to one, and one Secret may wait for its deletion. A quota, a missing right, or no connection are no message's.
func (e *BlockedError) mayBeTheMessages() bool {
	if status, ok := errors.AsType[*apierrors.StatusError](e.Err); ok &&
		strings.HasPrefix(strings.TrimPrefix(status.ErrStatus.Message, internalError), "etcdserver: ") {
		return false // the storage is at fault, which a dry run does not write to
	}
	return apierrors.IsInternalError(e.Err) || errors.Is(e.Err, errUncollected) || isUnanswered(e.Err)
}

// isUnanswered reports whether the operator, or the API server itself, gave up waiting. What was asked for may still be done.
func isUnanswered(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || apierrors.IsTimeout(err)
}

// classify is the one place that tells what an answer of the API server to a create means: nil, AlreadyExists as it is, a
// *job.RejectionError where this object will never be accepted though others may be, else a *BlockedError. What is not known
// blocks: a message is never put at risk because of an error that nobody thought of.
//
// An answer may echo values of the message in its text, so that only how the API server itself begins it is looked at.
func classify(err error) error {
	if err == nil {
		return nil
	}
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok {
		return &BlockedError{v1alpha1.ReasonAPIServerUnavailable, err}
	}
	text := status.ErrStatus.Message
	switch {
	case isDeniedByAdmission(text): // the webhook or policy chooses the code, the reason and the causes
		return rejected(v1alpha1.RejectedAdmissionDenied, err)
	case apierrors.IsAlreadyExists(err):
		return err
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return &BlockedError{v1alpha1.ReasonNamespaceTerminating, err}
	case strings.HasPrefix(text, internalError+"failed calling webhook "):
		return &BlockedError{v1alpha1.ReasonWebhookUnavailable, err}
	case apierrors.IsForbidden(err):
		return classifyForbidden(err, text)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return rejected(v1alpha1.RejectedJobInvalid, err)
	case apierrors.IsRequestEntityTooLargeError(err), strings.TrimPrefix(text, internalError) == "etcdserver: request is too large":
		return rejected(v1alpha1.RejectedTooLarge, err)
	case apierrors.IsUnauthorized(err):
		return &BlockedError{v1alpha1.ReasonForbidden, err}
	case apierrors.IsNotFound(err):
		// Creating fails so only where the namespace is gone.
		return &BlockedError{v1alpha1.ReasonNamespaceTerminating, err}
	}
	return &BlockedError{v1alpha1.ReasonAPIServerUnavailable, err}
}

// How the API server begins its texts: those of errors that it did not expect, and, after the resource and its name, those of
// what it does not allow.
const (
	internalError = "Internal error occurred: "
	isForbidden   = " is forbidden: "
)

// forbiddenCause returns why the API server forbids something. Neither resource nor name, which come before, are a message's.
func forbiddenCause(text string) string {
	if _, cause, ok := strings.Cut(text, isForbidden); ok {
		return cause
	}
	return text
}

// isDeniedByAdmission reports whether a webhook or a policy denied an object, whatever code it chose for that.
func isDeniedByAdmission(text string) bool {
	if strings.HasPrefix(text, "admission webhook ") {
		return true
	}
	cause := forbiddenCause(text)
	return strings.HasPrefix(cause, "ValidatingAdmissionPolicy ") || strings.HasPrefix(cause, "policy ")
}

// classifyForbidden tells apart what the API server all calls forbidden.
func classifyForbidden(err error, text string) error {
	if reason, blocked := forbiddenReason(forbiddenCause(text)); blocked {
		return &BlockedError{reason, err}
	}
	return rejected(v1alpha1.RejectedAdmissionDenied, err)
}

// forbiddenReason returns why the API server itself takes no Jobs now, if it forbids one for that. How its text begins is all there
// is to go by.
func forbiddenReason(cause string) (reason string, blocked bool) {
	begins := func(with ...string) bool {
		return slices.ContainsFunc(with, func(prefix string) bool { return strings.HasPrefix(cause, prefix) })
	}
	switch {
	case begins("exceeded quota: ", "status unknown for quota: ", "insufficient quota to consume: "):
		return v1alpha1.ReasonQuotaExceeded, true
	case begins(`User "`, "cannot set blockOwnerDeletion "):
		return v1alpha1.ReasonForbidden, true
	case begins("not yet ready to handle request"): // an admission plugin of an API server that has just started
		return v1alpha1.ReasonAPIServerUnavailable, true
	}
	return "", false
}

// IsDenied reports whether a webhook or a policy denied an object.
func IsDenied(err error) bool {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	return ok && isDeniedByAdmission(status.ErrStatus.Message)
}

// IsRightMissing reports whether the operator's own rights do not allow what it asked for.
func IsRightMissing(err error) bool {
	blocked, ok := errors.AsType[*BlockedError](classify(err))
	return ok && blocked.Reason == v1alpha1.ReasonForbidden
}

// IsInvalid reports whether the API server's own validation refuses an object for one of its fields, and no webhook or policy does,
// which may mind values that other objects do not have.
func IsInvalid(err error) bool {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	return ok && apierrors.IsInvalid(err) && !isDeniedByAdmission(status.ErrStatus.Message)
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
	return &job.RejectionError{Reason: reason, Message: wordsOf(err)}
}

func nameTaken(format, name string) *job.RejectionError {
	return &job.RejectionError{Reason: v1alpha1.RejectedNameTaken, Message: fmt.Sprintf(format, name)}
}

// wasNotDone reports whether an answer leaves no doubt that nothing was created, now or later.
func wasNotDone(err error) bool {
	if errors.Is(err, errGateClosed) {
		return true
	}
	if _, ok := errors.AsType[*job.RejectionError](err); ok {
		return true
	}
	blocked, ok := errors.AsType[*BlockedError](err)
	if !ok {
		return false
	}
	switch blocked.Reason {
	case v1alpha1.ReasonQuotaExceeded, v1alpha1.ReasonForbidden, v1alpha1.ReasonNamespaceTerminating, v1alpha1.ReasonWebhookUnavailable:
		return true
	}
	return apierrors.IsTooManyRequests(err)
}
