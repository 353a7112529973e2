package intake

import (
	"context"
	"slices"
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
	// visibility is for how long it was hidden last.
	visibility time.Duration
}

func newHeld(c clock.Clock, q queue.Queue) *held {
	return &held{clock: c, queue: q, messages: map[string]*hiding{}}
}

// add takes in messages that were hidden for visibility by a receive that began at a time.
func (h *held) add(messages []queue.Message, began time.Time, visibility time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range messages {
		h.messages[messages[i].ReceiptHandle] = &hiding{received: began, until: began.Add(visibility), visibility: visibility}
	}
}

// drop forgets a message that is done with.
func (h *held) drop(receiptHandle string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.messages, receiptHandle)
}

// extend hides for visibility what has less than two thirds of its time left, and forgets what cannot be hidden any longer:
// it comes back and its Job, if there is one by then, is found.
func (h *held) extend(ctx context.Context, visibility time.Duration) {
	now := h.clock.Now()
	h.mu.Lock()
	var due []string
	for handle, hiding := range h.messages {
		// SQS counts its 12 hours from the receive.
		if now.Add(visibility).After(hiding.received.Add(queue.MaxVisibilityTimeout)) {
			continue
		}
		if hiding.until.Sub(now) < hiding.visibility*2/3 {
			due = append(due, handle)
		}
	}
	h.mu.Unlock()
	var batches sync.WaitGroup
	for batch := range slices.Chunk(due, queue.MaxBatch) {
		batches.Go(func() { h.extendBatch(ctx, batch, now, visibility) })
	}
	batches.Wait()
}

func (h *held) extendBatch(ctx context.Context, handles []string, now time.Time, visibility time.Duration) {
	for i, err := range h.queue.ChangeVisibility(ctx, handles, visibility) {
		h.mu.Lock()
		switch hiding, ok := h.messages[handles[i]]; {
		case !ok:
		case err == nil:
			hiding.until, hiding.visibility = now.Add(visibility), visibility
		case queue.ReasonOf(err) == queue.ReceiptHandleInvalid:
			delete(h.messages, handles[i])
		}
		h.mu.Unlock()
	}
}
