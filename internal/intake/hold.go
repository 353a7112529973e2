package intake

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"

	"github.com/queuebinding/queuebinding/internal/queue"
)

const (
	// parallelExtensions is how many requests that extend visibility timeouts a loop makes at a time.
	parallelExtensions = 16
	// longestGathering is the longest time that an extension waits for others to share its request, firstExtendAgain the
	// shortest after which one that failed is tried again.
	longestGathering = time.Second
	firstExtendAgain = 200 * time.Millisecond
	// longestExtendAgain is the longest: a queue that is away for hours is not asked for each message all the time.
	longestExtendAgain = 30 * time.Second
)

// held are the messages that are to stay hidden from other receivers: those that were received and are being worked on, so
// that a slow API server costs no second receive, which redrive policies count; and those whose Job runs and keeps them.
type held struct {
	clock clock.Clock
	queue queue.Queue
	// added is signaled when a message may have to be extended sooner than all others.
	added chan struct{}

	mu       sync.Mutex
	messages map[string]*hiding // by receipt handle
}

// hiding is how long a message stays hidden.
type hiding struct {
	received time.Time
	// due is when to extend it.
	due time.Time
	// failures is how often that failed in a row.
	failures int
}

func newHeld(c clock.Clock, q queue.Queue) *held {
	return &held{clock: c, queue: q, added: make(chan struct{}, 1), messages: map[string]*hiding{}}
}

// add takes in messages that were hidden for visibility by a receive that began at a time.
func (h *held) add(messages []queue.Message, began time.Time, visibility time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range messages {
		h.messages[messages[i].ReceiptHandle] = &hiding{received: began, due: began.Add(visibility / 3)}
	}
	signal(h.added)
}

// keep takes in a message that is hidden for nobody knows how long. One that is held already stays as it is.
func (h *held) keep(receiptHandle string, received time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.messages[receiptHandle]; ok {
		return
	}
	h.messages[receiptHandle] = &hiding{received: received, due: h.clock.Now()}
	signal(h.added)
}

// drop forgets a message that is done with.
func (h *held) drop(receiptHandle string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.messages, receiptHandle)
}

// keepHidden extends visibility timeouts until ctx ends, each when a third of it is over. The visibility is asked for each time,
// as it may change.
func (h *held) keepHidden(ctx context.Context, visibility func() time.Duration) {
	for ctx.Err() == nil {
		timeout := visibility()
		gathering := min(timeout/30, longestGathering)
		due, next := h.due(timeout, gathering)
		h.extend(ctx, due, timeout)
		if len(due) > 0 {
			sleep(ctx, h.clock, gathering)
			continue
		}
		h.await(ctx, next)
	}
}

// await waits until something may be due.
func (h *held) await(ctx context.Context, next time.Time) {
	var due <-chan time.Time // never
	if !next.IsZero() {
		timer := h.clock.NewTimer(next.Sub(h.clock.Now()))
		defer timer.Stop()
		due = timer.C()
	}
	select {
	case <-ctx.Done():
	case <-h.added:
	case <-due:
	}
}

// due finds what is to be extended by now or within gathering, by the timeout to extend it to, which the end of SQS's 12
// hours may make shorter; and when the next one will be, or zero. What cannot be extended any longer is forgotten: it comes
// back, and its Job, if there is one by then, is found.
func (h *held) due(timeout, gathering time.Duration) (byTimeout map[time.Duration][]string, next time.Time) {
	now := h.clock.Now()
	byTimeout = map[time.Duration][]string{}
	h.mu.Lock()
	defer h.mu.Unlock()
	for handle, hiding := range h.messages {
		if hiding.due.After(now.Add(gathering)) {
			if next.IsZero() || hiding.due.Before(next) {
				next = hiding.due
			}
			continue
		}
		// SQS counts its 12 hours from the receive, and timeouts in whole seconds.
		left := hiding.received.Add(queue.MaxVisibilityTimeout).Sub(now).Truncate(time.Second) - time.Second
		if left < time.Second {
			delete(h.messages, handle)
			continue
		}
		until := min(timeout, left)
		byTimeout[until] = append(byTimeout[until], handle)
	}
	return byTimeout, next
}

func (h *held) extend(ctx context.Context, byTimeout map[time.Duration][]string, timeout time.Duration) {
	batches := errgroup.Group{}
	batches.SetLimit(parallelExtensions)
	for until, handles := range byTimeout {
		for batch := range slices.Chunk(handles, queue.MaxBatch) {
			batches.Go(func() error {
				h.extendBatch(ctx, batch, until, until < timeout)
				return nil
			})
		}
	}
	_ = batches.Wait() // there are none: each message keeps its own
}

// extendBatch extends messages, for the last time where the 12 hours allow no more.
func (h *held) extendBatch(ctx context.Context, handles []string, until time.Duration, last bool) {
	now := h.clock.Now()
	errs := h.queue.ChangeVisibility(ctx, handles, until)
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, err := range errs {
		hiding, ok := h.messages[handles[i]]
		switch {
		case !ok:
		case err == nil && last, queue.ReasonOf(err) == queue.ReceiptHandleInvalid && err != nil:
			delete(h.messages, handles[i])
		case err == nil:
			hiding.failures = 0
			// Not all at the same time for ever, where many began at the same time.
			third := until / 3
			hiding.due = now.Add(third - rand.N(third/4+1))
		default:
			again := min(until/12, longestExtendAgain)
			for range min(hiding.failures, 10) {
				again = min(2*again, longestExtendAgain)
			}
			hiding.failures++
			hiding.due = now.Add(max(again, firstExtendAgain))
		}
	}
}
