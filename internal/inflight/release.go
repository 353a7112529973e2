package inflight

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/timer"
)

const (
	// batchWait is how long a message that is to be released waits for others to share its request, which is made as soon as
	// it is full: at 40 messages a second and more it is. Messages of a FIFO queue wait less, as SQS holds back what is behind
	// them in their group.
	batchWait     = 250 * time.Millisecond
	batchWaitFIFO = 50 * time.Millisecond
	// releaseAttempts bounds the tries to delete a message or to give it back. After that it comes back when its visibility
	// timeout ends, and its Job is found.
	releaseAttempts = 5
	// parallelReleases is how many of these requests are made at a time for one queue.
	parallelReleases = 16
)

// never stands for no time at which a message is visible again: it is deleted.
const never = time.Duration(-1)

// release is a message that is to be deleted or given back.
type release struct {
	receiptHandle string
	// visibleAfter is when the message is to be visible again, or never.
	visibleAfter time.Duration
	// done reports whether the message's work is done: it is deleted then whatever became of the binding.
	done bool
	// reason is why it is given back.
	reason string
	// deleted, where it is set, is called when the message is deleted.
	deleted func()
	// due is when the request is made, however few share it.
	due time.Time
}

// kind is what releases of one request have in common.
type kind struct {
	visibleAfter time.Duration
	done         bool
}

// releaser deletes messages and gives them back, in batches. Adding one never waits.
type releaser struct {
	clock     clock.Clock
	queue     queue.Queue
	log       logr.Logger
	requests  context.Context
	batchWait time.Duration
	timer     *timer.Timer
	// extender forgets each message that was released, or given up on.
	extender *extender
	deleted  func()
	returned func(reason string)
	// returnUndone has messages given back that would be deleted before their work is done.
	returnUndone atomic.Bool
	// underWay are the batches being released, of which places bounds how many make a request at a time: one that is tried
	// again must not hold up the next ones.
	underWay sync.WaitGroup
	places   chan struct{}

	mu      sync.Mutex
	waiting []release
	closed  bool
}

func newReleaser(requests context.Context, o Options, extender *extender) *releaser {
	r := &releaser{
		clock: o.Clock, queue: o.Queue, log: o.Log, requests: requests, batchWait: batchWait, extender: extender, deleted: o.Deleted, returned: o.Returned,
		places: make(chan struct{}, parallelReleases),
	}
	if o.FIFO {
		r.batchWait = batchWaitFIFO
	}
	r.timer = timer.New(o.Clock, r.releaseDue)
	return r
}

// add takes in one more. After close it does nothing: the message comes back by itself.
func (r *releaser) add(one release) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	now := r.clock.Now()
	one.due = now.Add(r.batchWait)
	r.waiting = append(r.waiting, one)
	switch {
	case len(r.waiting) >= queue.MaxBatch:
		r.timer.FireBy(now)
	case len(r.waiting) == 1:
		r.timer.FireBy(one.due)
	}
}

// close releases what is left, and returns when that is done.
func (r *releaser) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.timer.Stop()
	r.releaseDue()
	r.underWay.Wait()
}

// releaseDue begins with what is to be released now, and returns when the rest is.
func (r *releaser) releaseDue() (again time.Time) {
	due, again := r.take()
	kinds := map[kind][]release{}
	for _, one := range due {
		k := kind{one.visibleAfter, one.done}
		kinds[k] = append(kinds[k], one)
	}
	for k, alike := range kinds {
		for batch := range slices.Chunk(alike, queue.MaxBatch) {
			r.underWay.Go(func() { r.release(batch, k) })
		}
	}
	return again
}

// take returns what is to be released now: full requests, or all where the first has waited for long enough or nothing will
// follow. The rest is due later.
func (r *releaser) take() (due []release, later time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.waiting)
	if n > 0 && !r.closed && r.clock.Now().Before(r.waiting[0].due) {
		n -= n % queue.MaxBatch
	}
	due, r.waiting = r.waiting[:n:n], r.waiting[n:]
	if len(r.waiting) > 0 {
		later = r.waiting[0].due
	}
	return due, later
}

// release releases messages of one kind.
func (r *releaser) release(batch []release, k kind) {
	for _, one := range batch {
		if k.visibleAfter != never {
			r.extender.awaitExtension(one.receiptHandle)
		}
	}
	left := batch
	backoff := timer.Backoff()
	for attempt := 1; len(left) > 0 && attempt <= releaseAttempts; attempt++ {
		if attempt > 1 {
			timer.Sleep(r.requests, r.clock, backoff.Step())
		}
		r.places <- struct{}{}
		left = r.request(left, k, attempt)
		<-r.places
	}
	for _, one := range batch {
		r.extender.forget(one.receiptHandle)
	}
}

// request makes one request and returns what is to be tried again.
func (r *releaser) request(batch []release, k kind, attempt int) (again []release) {
	handles := make([]string, len(batch))
	for i, one := range batch {
		handles[i] = one.receiptHandle
	}
	after := k.visibleAfter
	if after == never && !k.done && r.returnUndone.Load() {
		after = 0
	}
	var errs []error
	if after == never {
		errs = r.queue.Delete(r.requests, handles)
	} else {
		errs = r.queue.ChangeVisibility(r.requests, handles, after)
	}
	for i, err := range errs {
		switch {
		case err == nil && after == never:
			r.wasDeleted(batch[i])
		case err == nil && r.returned != nil:
			r.returned(batch[i].reason)
		case err == nil:
		case queue.ReasonOf(err) == queue.ReceiptHandleInvalid:
			r.log.V(1).Info("Could not release a message that was received again", "delete", after == never, "cause", err.Error())
		default:
			r.log.V(1).Info("Could not release a message", "delete", after == never, "tries", attempt, "cause", err.Error())
			again = append(again, batch[i])
		}
	}
	return again
}

func (r *releaser) wasDeleted(one release) {
	if r.deleted != nil {
		r.deleted()
	}
	if one.deleted != nil {
		one.deleted()
	}
}
