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
	clock clock.WithDelayedExecution
	queue queue.Queue
	// visibility is for how long messages are hidden. It may change.
	visibility func() time.Duration
	// requests ends when nothing is to be kept hidden any more. It is set before the first message.
	requests context.Context
	// alarm rings when a message is to be extended.
	alarm *alarm

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

func newHeld(c clock.WithDelayedExecution, q queue.Queue, visibility func() time.Duration) *held {
	h := &held{clock: c, queue: q, visibility: visibility, messages: map[string]*hiding{}}
	h.alarm = newAlarm(c, h.extendDue)
	return h
}

// add takes in messages that were hidden for visibility by a receive that began at a time.
func (h *held) add(messages []queue.Message, began time.Time, visibility time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range messages {
		h.messages[messages[i].ReceiptHandle] = &hiding{received: began, due: began.Add(visibility / 3)}
	}
	h.alarm.by(began.Add(visibility / 3))
}

// keep takes in a message that is hidden for nobody knows how long. One that is held already stays as it is.
func (h *held) keep(receiptHandle string, received time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.messages[receiptHandle]; ok {
		return
	}
	h.messages[receiptHandle] = &hiding{received: received, due: h.clock.Now()}
	h.alarm.by(h.clock.Now())
}

// drop forgets a message that is done with.
func (h *held) drop(receiptHandle string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.messages, receiptHandle)
}

// extendDue extends the visibility timeouts of which a third is over, and returns when to do so again.
func (h *held) extendDue() time.Time {
	if h.requests.Err() != nil {
		return time.Time{}
	}
	timeout := h.visibility()
	gathering := min(timeout/30, longestGathering)
	due, next := h.due(timeout, gathering)
	if len(due) == 0 {
		return next
	}
	h.extend(h.requests, due, timeout)
	return h.clock.Now().Add(gathering)
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
