package intake

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/queuebinding/queuebinding/internal/queue"
)

const (
	// gatherFor is how long a message that is done with waits for others to share its request, which goes off as soon as it is
	// full: at 40 messages a second and more it is. Messages of a FIFO queue wait less, as SQS holds back what is behind them
	// in their group.
	gatherFor     = 250 * time.Millisecond
	gatherForFIFO = 50 * time.Millisecond
	// disposalAttempts bounds the tries to delete a message or to give it back. After that it comes back when its visibility
	// timeout ends, and its Job is found.
	disposalAttempts = 5
	// parallelDisposals is how many of these requests a loop makes at a time.
	parallelDisposals = 16
)

// disposal is what is to become of a message that is done with.
type disposal struct {
	receiptHandle string
	// visibleAfter is when the message is to be visible again. It is deleted where that is negative.
	visibleAfter time.Duration
	// succeeded is whether a Job has done the message's work: it is deleted then even if the binding was.
	succeeded bool
	// deleted, where it is set, is called when the message is deleted.
	deleted func()
	// by is when it goes off, however few share its request.
	by time.Time
}

// deletion stands for no time at which a message is visible again.
const deletion = time.Duration(-1)

// disposals are carried out in batches. Adding one never waits.
type disposals struct {
	clock     clock.WithDelayedExecution
	gatherFor time.Duration
	// alarm rings when some have waited for others.
	alarm *alarm
	// under are the requests that are made, of which places bounds how many are at a time. One that is tried again must not
	// hold up the next ones.
	under  sync.WaitGroup
	places chan struct{}

	mu      sync.Mutex
	waiting []disposal
	closed  bool
}

func newDisposals(c clock.WithDelayedExecution, fifo bool, carryOut func() time.Time) *disposals {
	gather := gatherFor
	if fifo {
		gather = gatherForFIFO
	}
	return &disposals{clock: c, gatherFor: gather, alarm: newAlarm(c, carryOut), places: make(chan struct{}, parallelDisposals)}
}

// add takes in one more. After close it does nothing: the message comes back by itself.
func (d *disposals) add(each disposal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	now := d.clock.Now()
	each.by = now.Add(d.gatherFor)
	d.waiting = append(d.waiting, each)
	switch {
	case len(d.waiting) >= queue.MaxBatch:
		d.alarm.by(now)
	case len(d.waiting) == 1:
		d.alarm.by(each.by)
	}
}

// close says that no more will come.
func (d *disposals) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
}

// take returns what is to go off now: full requests, or all where the first has waited for long enough or nothing will
// follow. The rest goes off later.
func (d *disposals) take() (ready []disposal, later time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.waiting)
	if n > 0 && !d.closed && d.clock.Now().Before(d.waiting[0].by) {
		n -= n % queue.MaxBatch
	}
	ready, d.waiting = d.waiting[:n:n], d.waiting[n:]
	if len(d.waiting) > 0 {
		later = d.waiting[0].by
	}
	return ready, later
}

// acknowledge asks for a message to be deleted. Its Job exists.
func (l *Loop) acknowledge(message *queue.Message) {
	l.disposals.add(disposal{receiptHandle: message.ReceiptHandle, visibleAfter: deletion})
}

// disposeWaiting carries out what is to go off now, and returns when the rest is.
func (l *Loop) disposeWaiting() (again time.Time) {
	ready, again := l.disposals.take()
	for _, alike := range inKinds(ready) {
		for batch := range slices.Chunk(alike, queue.MaxBatch) {
			l.disposals.under.Go(func() { l.dispose(batch) })
		}
	}
	return again
}

// disposeRest carries out what is left, and returns when all is done.
func (l *Loop) disposeRest() {
	l.disposals.close()
	l.disposals.alarm.stop()
	l.disposeWaiting()
	l.disposals.under.Wait()
}

// inKinds puts together what one request can ask for.
func inKinds(all []disposal) map[disposalKind][]disposal {
	kinds := map[disposalKind][]disposal{}
	for _, each := range all {
		kind := disposalKind{each.visibleAfter, each.succeeded}
		kinds[kind] = append(kinds[kind], each)
	}
	return kinds
}

type disposalKind struct {
	visibleAfter time.Duration
	succeeded    bool
}

// dispose carries out disposals of one kind.
func (l *Loop) dispose(batch []disposal) {
	left := batch
	backoff := freshBackoff()
	for attempt := 1; len(left) > 0 && attempt <= disposalAttempts; attempt++ {
		if attempt > 1 {
			sleep(l.requests, l.deps.Clock, backoff.Step())
		}
		l.disposals.places <- struct{}{}
		left = l.tryDispose(left, attempt)
		<-l.disposals.places
	}
	for _, each := range batch {
		l.held.drop(each.receiptHandle)
	}
}

// tryDispose makes one request and returns what is to be tried again.
func (l *Loop) tryDispose(batch []disposal, attempt int) (again []disposal) {
	handles := make([]string, len(batch))
	for i, each := range batch {
		handles[i] = each.receiptHandle
	}
	after := batch[0].visibleAfter
	if after == deletion && !batch[0].succeeded && l.bindingIsGone() {
		// Its Jobs go with it: the queue is the only place that the messages have left.
		after = 0
	}
	var errs []error
	if after == deletion {
		errs = l.queue.Delete(l.requests, handles)
	} else {
		errs = l.queue.ChangeVisibility(l.requests, handles, after)
	}
	for i, err := range errs {
		switch {
		case err == nil && after == deletion:
			l.deps.Metrics.Acknowledged(l.key)
			if batch[i].deleted != nil {
				batch[i].deleted()
			}
		case err == nil:
		case queue.ReasonOf(err) == queue.ReceiptHandleInvalid:
			l.log.V(1).Info("Could not let go of a message that was received again", "delete", after == deletion, "cause", err.Error())
		default:
			l.log.V(1).Info("Could not let go of a message", "delete", after == deletion, "attempt", attempt, "cause", err.Error())
			again = append(again, batch[i])
		}
	}
	return again
}

// giveBack makes a message visible to all, at once or after a delay.
func (l *Loop) giveBack(receiptHandle string, after time.Duration) {
	l.held.drop(receiptHandle)
	l.disposals.add(disposal{receiptHandle: receiptHandle, visibleAfter: after})
}

// sleep waits, or until the context ends.
func sleep(ctx context.Context, c interface {
	After(time.Duration) <-chan time.Time
}, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-c.After(d):
	}
}
