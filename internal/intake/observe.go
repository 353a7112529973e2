package intake

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/metrics"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/tracing"
)

// observe returns what the loop has to tell at a scrape.
func (l *Loop) observe() *metrics.Intake {
	now, survey := l.deps.Clock.Now(), l.inFlight.Survey()
	told := &metrics.Intake{ReservedSlots: l.ledger.Reserved(), Visibility: l.visibility(), ExtensionLag: survey.Lag}
	if age, known := l.oldest.age(survey.OldestSent, now); known {
		told.OldestMessage = &age
	}
	if stats := l.report.snapshot().Stats; stats != nil {
		told.Retention = stats.RetentionPeriod
	}
	if at := l.lastReceive.Load(); at != 0 {
		told.LastReceive = time.Unix(0, at)
	}
	return told
}

// returned takes in that a message was given back. Without a reason it was to be deleted, and its binding was before.
func (l *Loop) returned(reason string) {
	if reason == "" {
		reason = metrics.GivenBackBindingDeleted
	}
	l.metrics.GivenBack(reason)
}

// jobCreated takes in that a message's Job was created.
func (l *Loop) jobCreated(message *queue.Message, created *batchv1.Job) {
	now := l.deps.Clock.Now()
	given := job.RecordedTrace(created)
	l.metrics.Created(tracing.Within(l.requests, tracing.Extract(given.Parent, given.State, "")), since(message.ArrivedTime, now), since(message.SentTime, now))
}

// since is how long ago something was, or 0 where that is not known.
func since(at, now time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return now.Sub(at)
}

// oldest knows how old the oldest message of a queue is, as far as receives and counts tell. SQS itself tells it in CloudWatch only.
type oldest struct {
	mu sync.Mutex
	// sent is when the oldest message was sent of those that the last receive brought; zero where none did since the queue was empty.
	// SQS tends to hand out the oldest first, so that those behind were sent at about that time, or later.
	sent time.Time
	// heard reports whether the queue was counted, waiting is since when it has said that messages are visible: zero where none is.
	heard   bool
	waiting time.Time
}

// received takes in what a receive brought. A long poll that brings nothing has found the queue empty.
func (o *oldest) received(messages []queue.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(messages) == 0 {
		o.sent, o.waiting = time.Time{}, time.Time{}
		return
	}
	o.sent = slices.MinFunc(messages, func(a, b queue.Message) int { return a.SentTime.Compare(b.SentTime) }).SentTime
}

// polled takes in what the queue says of itself.
func (o *oldest) polled(stats queue.Stats, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.heard = true
	switch {
	case stats.VisibleMessages == 0:
		o.sent, o.waiting = time.Time{}, time.Time{}
	case o.waiting.IsZero():
		o.waiting = now
	}
}

// age returns the age of the oldest message in hand or on the queue, 0 where there is none, and whether it is known. inHand is when the
// oldest one in hand was sent, zero where there is none.
func (o *oldest) age(inHand, now time.Time) (age time.Duration, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	since := inHand
	if !o.waiting.IsZero() {
		waits := o.sent
		if waits.IsZero() {
			waits = o.waiting
		}
		if since.IsZero() || waits.Before(since) {
			since = waits
		}
	}
	if since.IsZero() {
		return 0, o.heard
	}
	return max(now.Sub(since), 0), true
}

// observedQueue counts the requests to a queue that fail.
type observedQueue struct {
	queue.Queue
	metrics *metrics.Binding
}

func (q observedQueue) Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]queue.Message, error) {
	messages, err := q.Queue.Receive(ctx, limit, wait, visibility)
	q.count(metrics.OperationReceive, err)
	return messages, err
}

func (q observedQueue) Delete(ctx context.Context, receiptHandles []string) []error {
	errs := q.Queue.Delete(ctx, receiptHandles)
	q.count(metrics.OperationDelete, errs...)
	return errs
}

func (q observedQueue) ChangeVisibility(ctx context.Context, receiptHandles []string, timeout time.Duration) []error {
	errs := q.Queue.ChangeVisibility(ctx, receiptHandles, timeout)
	q.count(metrics.OperationChangeVisibility, errs...)
	return errs
}

func (q observedQueue) Send(ctx context.Context, message queue.Outgoing) error {
	err := q.Queue.Send(ctx, message)
	q.count(metrics.OperationSend, err)
	return err
}

func (q observedQueue) SendBatch(ctx context.Context, messages []queue.Outgoing) []error {
	errs := q.Queue.SendBatch(ctx, messages)
	q.count(metrics.OperationSend, errs...)
	return errs
}

func (q observedQueue) Redrive(ctx context.Context) error {
	err := q.Queue.Redrive(ctx)
	q.count(metrics.OperationRedrive, err)
	return err
}

func (q observedQueue) Stats(ctx context.Context) (queue.Stats, error) {
	stats, err := q.Queue.Stats(ctx)
	q.count(metrics.OperationStats, err)
	return stats, err
}

// count counts each reason of a request's errors once. A request that ended with its context has not failed.
func (q observedQueue) count(operation string, errs ...error) {
	var reasons []queue.Reason
	for _, err := range errs {
		if err == nil || errors.Is(err, context.Canceled) {
			continue
		}
		if reason := queue.ReasonOf(err); !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
			q.metrics.QueueFailed(operation, string(reason))
		}
	}
}
