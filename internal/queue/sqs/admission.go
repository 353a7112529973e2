package sqs

import (
	"context"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/queuebinding/queuebinding/internal/queue"
)

const (
	// emptyAnswer is a length within which there is no message, as each has an ID and a receipt handle.
	emptyAnswer = 64
	// unknownLength is what an answer without a length is taken for, in bytes.
	unknownLength = 1 << 20
)

// admitting asks whether there is room for an answer before it is read. Until then it is in the kernel's buffers and with SQS.
type admitting struct{ aws.HTTPClient }

// Do implements aws.HTTPClient.
func (c admitting) Do(request *http.Request) (*http.Response, error) {
	answer, err := c.HTTPClient.Do(request)
	admit := queue.AdmissionOf(request.Context())
	if err != nil || admit == nil || answer.StatusCode != http.StatusOK {
		return answer, err
	}
	length := answer.ContentLength
	if length < 0 {
		length = unknownLength
	}
	if length <= emptyAnswer {
		return answer, nil
	}
	if err := admit(request.Context(), length); err != nil {
		answer.Body.Close()
		return nil, err
	}
	return answer, nil
}

// withinTime is a context that ends where SQS takes longer than a time. The time in which there is no room for an answer is not
// SQS's.
func withinTime(ctx context.Context, most time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(most, func() { cancel(context.DeadlineExceeded) })
	if admit := queue.AdmissionOf(ctx); admit != nil {
		ctx = queue.WithAdmission(ctx, func(ctx context.Context, bytes int64) error {
			late.Stop()
			defer late.Reset(answerTimeout)
			return admit(ctx, bytes)
		})
	}
	return ctx, func() {
		late.Stop()
		cancel(nil)
	}
}
