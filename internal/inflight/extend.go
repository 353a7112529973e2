package inflight

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"

	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/timer"
)

const (
	// parallelExtensions is how many requests that extend visibility timeouts are made at a time for one queue.
	parallelExtensions = 16
	// maxExtensionWait is the longest time that an extension waits for others to share its request.
	maxExtensionWait = time.Second
	// minExtensionRetry is the shortest time after which an extension that failed is tried again, maxExtensionRetry the
	// longest: a queue that is away for hours is not asked for each message all the time.
	minExtensionRetry = 200 * time.Millisecond
	maxExtensionRetry = 30 * time.Second
)

// extender extends visibility timeouts, so that messages stay hidden from other receivers: those that are being worked on, as
// a second receive would count for redrive policies; and those whose Jobs run under OnJobSucceeded.
type extender struct {
	clock      clock.Clock
	queue      queue.Queue
	visibility func() time.Duration
	// requests ends when nothing is to be kept hidden any more.
	requests context.Context
	timer    *timer.Timer
	extended func(done, late bool)

	mu     sync.Mutex
	hidden map[string]*hidden // by receipt handle
	// extending are the messages that are being extended, and what is closed when that is over.
	extending map[string]chan struct{}
}

// hidden is how long a message stays hidden.
type hidden struct {
	received time.Time
	// sent is when it was sent, zero where that is not known.
	sent time.Time
	// expires is when it becomes visible unless it is extended, zero where that is not known.
	expires time.Time
	// wanted is when it was first to be extended, due when to do so or to try again.
	wanted, due time.Time
	// failures is how often that failed in a row.
	failures int
}

func newExtender(requests context.Context, o Options) *extender {
	e := &extender{clock: o.Clock, queue: o.Queue, visibility: o.Visibility, requests: requests, extended: o.Extended, hidden: map[string]*hidden{}, extending: map[string]chan struct{}{}}
	e.timer = timer.New(o.Clock, e.extendDue)
	return e
}

func (e *extender) received(messages []queue.Message, began time.Time, visibility time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	// A poll may have waited for longer than a third of the timeout, so that extensions are due at once.
	now, due := e.clock.Now(), began.Add(visibility/3)
	wanted := due
	if wanted.Before(now) {
		wanted = now
	}
	for i := range messages {
		e.hidden[messages[i].ReceiptHandle] = &hidden{received: began, sent: messages[i].SentTime, expires: now.Add(visibility), wanted: wanted, due: due}
	}
	e.timer.FireBy(due)
}

func (e *extender) hide(receiptHandle string, received time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.hidden[receiptHandle]; ok {
		return
	}
	now := e.clock.Now()
	e.hidden[receiptHandle] = &hidden{received: received, wanted: now, due: now}
	e.timer.FireBy(now)
}

func (e *extender) forget(receiptHandle string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.hidden, receiptHandle)
}

// awaitExtension returns when no extension of a forgotten message is under way: it would hide the message again.
func (e *extender) awaitExtension(receiptHandle string) {
	e.mu.Lock()
	extending, ok := e.extending[receiptHandle]
	e.mu.Unlock()
	if ok {
		<-extending
	}
}

func (e *extender) survey() Survey {
	now := e.clock.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	var survey Survey
	for _, message := range e.hidden {
		if sent := message.sent; !sent.IsZero() && (survey.OldestSent.IsZero() || sent.Before(survey.OldestSent)) {
			survey.OldestSent = sent
		}
		survey.Lag = max(survey.Lag, now.Sub(message.wanted))
	}
	return survey
}

// extendDue extends the visibility timeouts of which a third is over, and returns when to do so again.
func (e *extender) extendDue() time.Time {
	if e.requests.Err() != nil {
		return time.Time{}
	}
	timeout := e.visibility()
	gathering := min(timeout/30, maxExtensionWait)
	due, next := e.due(timeout, gathering)
	if len(due) == 0 {
		return next
	}
	e.extend(e.requests, due, timeout)
	return e.clock.Now().Add(gathering)
}

// due finds what is to be extended by now or within gathering, by the timeout to extend it to, which the end of SQS's 12
// hours may make shorter; and when the next one will be, or zero. What cannot be extended any longer is forgotten: it comes
// back, and its Job, if there is one by then, is found.
func (e *extender) due(timeout, gathering time.Duration) (byTimeout map[time.Duration][]string, next time.Time) {
	now := e.clock.Now()
	byTimeout = map[time.Duration][]string{}
	e.mu.Lock()
	defer e.mu.Unlock()
	for handle, message := range e.hidden {
		if message.due.After(now.Add(gathering)) {
			if next.IsZero() || message.due.Before(next) {
				next = message.due
			}
			continue
		}
		// SQS counts its 12 hours from the receive, and timeouts in whole seconds.
		left := message.received.Add(queue.MaxVisibilityTimeout).Sub(now).Truncate(time.Second) - time.Second
		if left < time.Second {
			delete(e.hidden, handle)
			continue
		}
		until := min(timeout, left)
		byTimeout[until] = append(byTimeout[until], handle)
		e.extending[handle] = make(chan struct{})
	}
	return byTimeout, next
}

func (e *extender) extend(ctx context.Context, byTimeout map[time.Duration][]string, timeout time.Duration) {
	batches := errgroup.Group{}
	batches.SetLimit(parallelExtensions)
	for until, handles := range byTimeout {
		for batch := range slices.Chunk(handles, queue.MaxBatch) {
			batches.Go(func() error {
				e.extendBatch(ctx, batch, until, until < timeout)
				return nil
			})
		}
	}
	_ = batches.Wait() // there are none: each message keeps its own
}

// extendBatch extends messages, for the last time where the 12 hours allow no more.
func (e *extender) extendBatch(ctx context.Context, handles []string, until time.Duration, last bool) {
	now := e.clock.Now()
	errs := e.queue.ChangeVisibility(ctx, handles, until)
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, err := range errs {
		close(e.extending[handles[i]])
		delete(e.extending, handles[i])
		message, ok := e.hidden[handles[i]]
		invalid := err != nil && queue.ReasonOf(err) == queue.ReceiptHandleInvalid
		if ok && e.extended != nil && (err == nil || invalid) {
			e.extended(err == nil, !message.expires.IsZero() && now.After(message.expires))
		}
		switch {
		case !ok:
		case err == nil && last, invalid:
			delete(e.hidden, handles[i])
		case err == nil:
			message.failures = 0
			message.expires = now.Add(until)
			// Not all at the same time for ever, where many began at the same time.
			third := until / 3
			message.due = now.Add(third - rand.N(third/4+1))
			message.wanted = message.due
		default:
			again := min(until/12, maxExtensionRetry)
			for range min(message.failures, 10) {
				again = min(2*again, maxExtensionRetry)
			}
			message.failures++
			message.due = now.Add(max(again, minExtensionRetry))
		}
	}
}
