package controller_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/queue/fake"
)

// longestPoll is how long a long poll lasts at most: the operator stops only when the open ones were answered.
const longestPoll = 100 * time.Millisecond

// memoryQueues opens queues in memory, one for each URL.
type memoryQueues struct {
	mu    sync.Mutex
	byURL map[string]*memoryQueue
}

func newMemoryQueues() *memoryQueues { return &memoryQueues{byURL: map[string]*memoryQueue{}} }

func (o *memoryQueues) Open(_ context.Context, address queue.Address) (queue.Queue, error) {
	return o.at(address.URL), nil
}

func (o *memoryQueues) at(url string) *memoryQueue {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byURL[url] == nil {
		o.byURL[url] = &memoryQueue{}
	}
	return o.byURL[url]
}

// memoryQueue is a queue that a test can hold up and break.
type memoryQueue struct {
	fake.Queue

	mu sync.Mutex
	// fault, where there is one, is the answer to every request.
	fault error
	// held keeps messages from being received.
	held bool
	// passes is how many batches may still be sent before sends wait, or nil for no bound.
	passes chan struct{}
	// polled is when messages were last looked for.
	polled time.Time
	ids    int
}

// send puts a message with an ID of its own on the queue, and returns the ID.
func (q *memoryQueue) send(body string) string {
	q.mu.Lock()
	q.ids++
	id := fmt.Sprintf("message-%d", q.ids)
	q.mu.Unlock()
	q.PutMessages(queue.Message{ID: id, Body: body, SentTime: time.Now()})
	return id
}

// redeliver puts a message on the queue again that was deleted, as SQS may.
func (q *memoryQueue) redeliver(id, body string) {
	q.PutMessages(queue.Message{ID: id, Body: body, SentTime: time.Now(), ReceiveCount: 1})
}

// remaining returns the messages that are not deleted, hidden ones included.
func (q *memoryQueue) remaining() []queue.Message {
	var left []queue.Message
	q.Change(func(messages []*fake.Message) {
		for _, m := range messages {
			if !m.Deleted {
				left = append(left, m.Message)
			}
		}
	})
	return left
}

func (q *memoryQueue) fail(fault error) {
	q.SetFault(fault)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fault = fault
}

// hold keeps messages from being received, once the poll that may be open is answered, or no longer.
func (q *memoryQueue) hold(held bool) {
	q.mu.Lock()
	q.held = held
	q.mu.Unlock()
	if held {
		time.Sleep(2 * longestPoll)
	}
}

// quiet reports whether nobody receives any more.
func (q *memoryQueue) quiet() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return time.Since(q.polled) > 5*longestPoll
}

func (q *memoryQueue) state() (held bool, fault error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held, q.fault
}

func (q *memoryQueue) Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]queue.Message, error) {
	held, fault := q.state()
	q.mu.Lock()
	q.polled = time.Now()
	q.mu.Unlock()
	if fault != nil || held {
		time.Sleep(longestPoll)
		return nil, fault
	}
	return q.Queue.Receive(ctx, limit, min(wait, longestPoll), visibility)
}

// admit lets so many batches be sent, and has others wait until it is called again.
func (q *memoryQueue) admit(batches int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.passes == nil {
		q.passes = make(chan struct{}, 10_000)
	}
	for range batches {
		q.passes <- struct{}{}
	}
}

// wait waits until a batch may be sent.
func (q *memoryQueue) wait(ctx context.Context) error {
	q.mu.Lock()
	passes := q.passes
	q.mu.Unlock()
	if passes == nil {
		return nil
	}
	select {
	case <-passes:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *memoryQueue) SendBatch(ctx context.Context, messages []queue.Outgoing) []error {
	_, fault := q.state()
	if fault == nil {
		fault = q.wait(ctx)
	}
	if fault != nil {
		return slices.Repeat([]error{fault}, len(messages))
	}
	return q.Queue.SendBatch(ctx, messages)
}

func (q *memoryQueue) Stats(ctx context.Context) (queue.Stats, error) {
	if _, fault := q.state(); fault != nil {
		return queue.Stats{}, fault
	}
	return q.Queue.Stats(ctx)
}
