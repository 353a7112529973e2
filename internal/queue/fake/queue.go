// Package fake is a queue in memory, for tests: of time, which is that of package time and so can be a test's own, and of
// faults. What SQS does is tested with the emulator.
package fake

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/queuebinding/queuebinding/internal/queue"
)

// Queue is a standard queue. The zero value is an empty one. It may be used by several goroutines.
type Queue struct {
	mu       sync.Mutex
	messages []*Message
	sent     int
	latency  time.Duration
	fault    error
	// receiving are the receives under way.
	receiving int
	counts    Counts
}

// Message is a message of the queue.
type Message struct {
	queue.Message
	// Received is when it was received last, VisibleAt until when it is hidden since.
	Received, VisibleAt time.Time
	Deleted             bool
}

// Counts are what was asked of a queue so far.
type Counts struct {
	// Requests are the receives, deletions and changes of visibility, ten messages to one.
	Requests int
	// MaxLimit is the most messages that a receive asked for, MaxReceiving the most receives that went on side by side.
	MaxLimit, MaxReceiving int
	// Impossible is how often a visibility was asked for that SQS never gives.
	Impossible int
	// Sends are how many messages each batch had that was sent.
	Sends []int
}

// Put puts messages on the queue, with the IDs "message-<body>".
func (q *Queue) Put(bodies ...string) {
	var messages []queue.Message
	for _, body := range bodies {
		messages = append(messages, queue.Message{ID: "message-" + body, Body: body})
	}
	q.PutMessages(messages...)
}

// PutMessages puts messages on the queue as they are, all at once: no receive gets some of them and comes too soon for the others.
func (q *Queue) PutMessages(messages ...queue.Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, message := range messages {
		q.messages = append(q.messages, &Message{Message: message})
	}
}

// SetLatency has each receive take at least so long.
func (q *Queue) SetLatency(d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.latency = d
}

// SetFault has deletions and changes of visibility fail, until nil.
func (q *Queue) SetFault(fault error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fault = fault
}

// Counts returns what was asked of the queue so far.
func (q *Queue) Counts() Counts {
	q.mu.Lock()
	defer q.mu.Unlock()
	counts := q.counts
	counts.Sends = slices.Clone(counts.Sends)
	return counts
}

// Receiving returns how many receives are under way.
func (q *Queue) Receiving() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.receiving
}

// Change shows the messages to a function, which may change them.
func (q *Queue) Change(change func([]*Message)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	change(q.messages)
}

// AllHidden reports whether no message is visible.
func (q *Queue) AllHidden() bool {
	hidden := true
	q.Change(func(messages []*Message) {
		for _, m := range messages {
			hidden = hidden && (m.Deleted || m.VisibleAt.After(time.Now()))
		}
	})
	return hidden
}

// Left returns how many messages are not deleted, and the most often that one was received.
func (q *Queue) Left() (left, receives int) {
	q.Change(func(messages []*Message) {
		for _, m := range messages {
			if !m.Deleted {
				left++
			}
			receives = max(receives, m.ReceiveCount)
		}
	})
	return left, receives
}

// Receive implements queue.Queue.
func (q *Queue) Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]queue.Message, error) {
	time.Sleep(q.begin(limit))
	defer q.end()
	for deadline := time.Now().Add(wait); ; {
		if messages := q.Take(limit, visibility); len(messages) > 0 || !time.Now().Before(deadline) {
			return messages, admitted(ctx, messages)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// admitted asks for room for messages, as they were in an answer of SQS.
func admitted(ctx context.Context, messages []queue.Message) error {
	admit := queue.AdmissionOf(ctx)
	if admit == nil || len(messages) == 0 {
		return nil
	}
	bytes := 0
	for i := range messages {
		bytes += messages[i].Size()
	}
	return admit(ctx, int64(bytes))
}

func (q *Queue) begin(limit int) (latency time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.receiving++
	q.counts.Requests++
	q.counts.MaxLimit = max(q.counts.MaxLimit, limit)
	q.counts.MaxReceiving = max(q.counts.MaxReceiving, q.receiving)
	return q.latency
}

func (q *Queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.receiving--
}

// Take receives up to limit messages at once.
func (q *Queue) Take(limit int, visibility time.Duration) []queue.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	var taken []queue.Message
	for _, m := range q.messages {
		if len(taken) < limit && !m.Deleted && !time.Now().Before(m.VisibleAt) {
			m.ReceiveCount++
			m.ReceiptHandle = fmt.Sprintf("%s/%d", m.ID, m.ReceiveCount)
			m.Received, m.VisibleAt = time.Now(), time.Now().Add(visibility)
			taken = append(taken, m.Message)
		}
	}
	return taken
}

// Delete implements queue.Queue.
func (q *Queue) Delete(_ context.Context, handles []string) []error {
	return q.each(handles, func(m *Message) error {
		m.Deleted = true
		return nil
	})
}

// ChangeVisibility implements queue.Queue. It refuses what SQS does: a message that is visible, and more than 12 hours since
// the receive.
func (q *Queue) ChangeVisibility(_ context.Context, handles []string, timeout time.Duration) []error {
	return q.each(handles, func(m *Message) error {
		until := time.Now().Add(timeout)
		if timeout < 0 || until.After(m.Received.Add(queue.MaxVisibilityTimeout)) {
			q.counts.Impossible++
		}
		if m.Deleted || !m.VisibleAt.After(time.Now()) || until.After(m.Received.Add(queue.MaxVisibilityTimeout)) {
			return queue.Errorf(queue.ReceiptHandleInvalid, "not in flight, or for too long")
		}
		m.VisibleAt = until
		return nil
	})
}

func (q *Queue) each(handles []string, do func(*Message) error) []error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counts.Requests += (len(handles) + queue.MaxBatch - 1) / queue.MaxBatch
	errs := make([]error, len(handles))
	for i, handle := range handles {
		if errs[i] = q.fault; errs[i] != nil {
			continue
		}
		errs[i] = queue.Errorf(queue.ReceiptHandleInvalid, "no such handle")
		for _, m := range q.messages {
			if m.ReceiptHandle == handle {
				errs[i] = do(m)
			}
		}
	}
	return errs
}

// Send implements queue.Queue.
func (q *Queue) Send(_ context.Context, message queue.Outgoing) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sent++
	q.messages = append(q.messages, &Message{Message: queue.Message{
		ID: fmt.Sprintf("sent-%d", q.sent), Body: message.Body, Attributes: message.Attributes, GroupID: message.GroupID, SentTime: time.Now(),
		TraceHeader: message.TraceHeader,
	}})
	return nil
}

// SendBatch implements queue.Queue.
func (q *Queue) SendBatch(ctx context.Context, messages []queue.Outgoing) []error {
	batches, errs := queue.Batches(messages)
	for _, batch := range batches {
		q.countSend(len(batch))
		for _, i := range batch {
			errs[i] = q.Send(ctx, messages[i])
		}
	}
	return errs
}

func (q *Queue) countSend(messages int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counts.Sends = append(q.counts.Sends, messages)
}

// Redrive implements queue.Queue.
func (q *Queue) Redrive(context.Context) error {
	return queue.Errorf(queue.NoDeadLetterQueue, "the queue has no redrive policy")
}

// Stats implements queue.Queue.
func (q *Queue) Stats(context.Context) (queue.Stats, error) {
	stats := queue.Stats{RetentionPeriod: 4 * 24 * time.Hour} // SQS's default
	q.Change(func(messages []*Message) {
		for _, m := range messages {
			switch {
			case m.Deleted:
			case m.VisibleAt.After(time.Now()):
				stats.InFlightMessages++
			default:
				stats.VisibleMessages++
			}
		}
	})
	return stats, nil
}
