package job

import "fmt"

// RejectionError says why a message cannot become a Job. It is about this message only; others are not touched by it.
type RejectionError struct {
	// Reason is one of the API's Rejected… constants.
	Reason string
	// Message says what is wrong and, where that is known, where.
	Message string
}

func (r *RejectionError) Error() string { return r.Message }

func rejectf(reason, format string, args ...any) *RejectionError {
	return &RejectionError{Reason: reason, Message: fmt.Sprintf(format, args...)}
}
