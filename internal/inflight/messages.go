// Package inflight looks after received messages for as long as they are in flight, as SQS says: received, and neither
// deleted nor visible again. It keeps them hidden, deletes them and gives them back, ten to a request. It knows queues and
// clocks; which message deserves what is decided elsewhere.
package inflight

import (
	"context"
	"time"

	"github.com/queuebinding/queuebinding/internal/queue"
)

// Messages are the messages of one queue that are in flight. It may be used by several goroutines.
type Messages struct {
	extender *extender
	releaser *releaser
	cancel   context.CancelFunc
}

// New makes an empty set. Requests to the queue end with ctx at the latest.
func New(ctx context.Context, o Options) *Messages {
	requests, cancel := context.WithCancel(ctx)
	extender := newExtender(requests, o)
	return &Messages{extender: extender, releaser: newReleaser(requests, o, extender), cancel: cancel}
}

// Received takes in messages that were hidden for visibility by a receive that began at a time. They stay hidden until they
// are deleted, given back or forgotten.
func (m *Messages) Received(messages []queue.Message, began time.Time, visibility time.Duration) {
	m.extender.received(messages, began, visibility)
}

// Hide takes in a message of an earlier receive, which is hidden for nobody knows how long, and keeps it hidden. One that is
// known already stays as it is.
func (m *Messages) Hide(receiptHandle string, received time.Time) {
	m.extender.hide(receiptHandle, received)
}

// Forget leaves a message alone: it becomes visible when its visibility timeout ends, unless somebody else sees to it.
func (m *Messages) Forget(receiptHandle string) { m.extender.forget(receiptHandle) }

// Delete deletes a message whose Job exists, and calls deleted, where it is not nil, when it is. Once ReturnUndone was called, the
// message is given back instead.
func (m *Messages) Delete(receiptHandle string, deleted func()) {
	m.releaser.add(release{receiptHandle: receiptHandle, visibleAfter: never, deleted: deleted})
}

// DeleteDone deletes a message whose work is done, and calls deleted when it is.
func (m *Messages) DeleteDone(receiptHandle string, deleted func()) {
	m.releaser.add(release{receiptHandle: receiptHandle, visibleAfter: never, done: true, deleted: deleted})
}

// Return makes a message visible to all, at once or after a delay. The reason is for Options.Returned.
func (m *Messages) Return(receiptHandle string, after time.Duration, reason string) {
	m.extender.forget(receiptHandle)
	m.releaser.add(release{receiptHandle: receiptHandle, visibleAfter: after, reason: reason})
}

// Survey returns what there is to tell of all messages. It goes through them.
func (m *Messages) Survey() Survey { return m.extender.survey() }

// Survey is what there is to tell of the messages in flight.
type Survey struct {
	// OldestSent is when the oldest one was sent, of those whose receive was seen; zero where there is none.
	OldestSent time.Time
	// Lag is how long the most overdue extension is overdue, 0 where none is.
	Lag time.Duration
}

// ReturnUndone has messages given back from now on instead of deleted, unless their work is done: their Jobs are going, and
// the queue is the only place that they have left.
func (m *Messages) ReturnUndone() { m.releaser.returnUndone.Store(true) }

// Close carries out what was asked for and returns when that is done. What is asked for later is ignored, and no message is
// kept hidden any more.
func (m *Messages) Close() {
	m.releaser.close()
	m.cancel()
	m.extender.timer.Stop()
}
