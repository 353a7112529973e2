package intake

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/queuebinding/queuebinding/internal/queue"
)

// held are the messages that were received and are not yet done with. They are kept hidden from other receivers for as
// long as that takes, so that a slow API server costs no second receive, which redrive policies count.
type held struct {
	clock clock.Clock
	queue queue.Queue

	mu       sync.Mutex
	messages map[string]*hiding // by receipt handle
}

// hiding is how long a message stays hidden.
type hiding struct {
	received time.Time
	until    time.Time
}

func newHeld(c clock.Clock, q queue.Queue) *held {
	return &held{clock: c, queue: q, messages: map[string]*hiding{}}
}

// add takes in messages that were hidden for visibility by a receive that began at a time.
func (h *held) add(messages []queue.Message, began time.Time, visibility time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range messages {
		h.messages[messages[i].ReceiptHandle] = &hiding{received: began, until: began.Add(visibility)}
	}
}

// drop forgets a message that is done with.
func (h *held) drop(receiptHandle string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.messages, receiptHandle)
}

// extend hides again what would be visible before two thirds of visibility have passed, and forgets what cannot be
// hidden any longer: it comes back and its Job, if there is one by then, is found.
func (h *held) extend(ctx context.Context, visibility time.Duration) {
	now := h.clock.Now()
	h.mu.Lock()
	var due []string
	for handle, hiding := range h.messages {
		// SQS counts its 12 hours from the receive.
		if now.Add(visibility).After(hiding.received.Add(queue.MaxVisibilityTimeout)) {
			continue
		}
		if hiding.until.Before(now.Add(visibility * 2 / 3)) {
			due = append(due, handle)
		}
	}
	h.mu.Unlock()
	if len(due) == 0 {
		return
	}
	for i, err := range h.queue.ChangeVisibility(ctx, due, visibility) {
		h.mu.Lock()
		switch hiding, ok := h.messages[due[i]]; {
		case !ok:
		case err == nil:
			hiding.until = now.Add(visibility)
		case queue.ReasonOf(err) == queue.ReceiptHandleInvalid:
			delete(h.messages, due[i])
		}
		h.mu.Unlock()
	}
}
