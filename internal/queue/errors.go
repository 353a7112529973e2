package queue

import (
	"errors"
	"fmt"
)

// Reason is why a queue did not do what it was asked.
type Reason string

const (
	// NotFound: there is no such queue.
	NotFound Reason = "QueueNotFound"
	// AccessDenied: the identity may not do this.
	AccessDenied Reason = "AccessDenied"
	// CredentialsUnavailable: there is no identity to use.
	CredentialsUnavailable Reason = "CredentialsUnavailable"
	// KMSError: the queue's encryption key cannot be used.
	KMSError Reason = "KMSError"
	// Throttled: fewer requests are asked for.
	Throttled Reason = "Throttled"
	// Unreachable: no answer, or one that says the service is broken.
	Unreachable Reason = "Unreachable"
	// InvalidQueue: the URL or region cannot be used.
	InvalidQueue Reason = "InvalidQueue"
	// NotAllowed: the binding's namespace may not use the queue, or not with these credentials.
	NotAllowed Reason = "NotAllowed"
	// InvalidMessage: the message passes one of the queue's limits. Only Send and SendBatch give it.
	InvalidMessage Reason = "InvalidMessage"
	// NoDeadLetterQueue: the queue has no redrive policy. Only Redrive gives it.
	NoDeadLetterQueue Reason = "NoDeadLetterQueue"
	// DeadLetterQueueShared: the dead-letter queue serves several queues. Only Redrive gives it.
	DeadLetterQueueShared Reason = "DeadLetterQueueShared"
	// ReceiptHandleInvalid: the receipt handle is too old or not one.
	ReceiptHandleInvalid Reason = "ReceiptHandleInvalid"
)

// Error is an error of a queue.
type Error struct {
	Reason Reason
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error as fmt.Errorf does.
func Errorf(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Err: fmt.Errorf(format, args...)}
}

// ReasonOf is the reason of the first *Error in err's chain, or Unreachable.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return Unreachable
}
