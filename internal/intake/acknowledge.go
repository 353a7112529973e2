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
	// gatherFor is how long a message that is done with waits for others to share its request.
	gatherFor = 50 * time.Millisecond
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
}

// deletion stands for no time at which a message is visible again.
const deletion = time.Duration(-1)

// disposals are carried out in batches. Adding one never waits.
type disposals struct {
	clock clock.WithDelayedExecution
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

func newDisposals(c clock.WithDelayedExecution, carryOut func() time.Time) *disposals {
	return &disposals{clock: c, alarm: newAlarm(c, carryOut), places: make(chan struct{}, parallelDisposals)}
}

// add takes in one more. After close it does nothing: the message comes back by itself.
func (d *disposals) add(each disposal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	if d.waiting = append(d.waiting, each); len(d.waiting) == 1 {
		d.alarm.by(d.clock.Now().Add(gatherFor))
	}
}

// close says that no more will come.
func (d *disposals) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
}

// take returns all that wait.
func (d *disposals) take() []disposal {
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting := d.waiting
	d.waiting = nil
	return waiting
}

// acknowledge asks for a message to be deleted. Its Job exists.
func (l *Loop) acknowledge(message *queue.Message) {
	l.disposals.add(disposal{receiptHandle: message.ReceiptHandle, visibleAfter: deletion})
}

// disposeWaiting carries out what is asked for by now.
func (l *Loop) disposeWaiting() (again time.Time) {
	for _, alike := range inKinds(l.disposals.take()) {
		for batch := range slices.Chunk(alike, queue.MaxBatch) {
			l.disposals.under.Go(func() { l.dispose(batch) })
		}
	}
	return time.Time{}
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
		log := l.log.V(1).WithValues("attempt", attempt, "delete", after == deletion)
		switch {
		case err == nil && after == deletion:
			l.deps.Metrics.Acknowledged(l.key)
			if batch[i].deleted != nil {
				batch[i].deleted()
			}
		case err == nil:
		case queue.ReasonOf(err) == queue.ReceiptHandleInvalid:
			log.Info("Could not let go of a message that was received again", "cause", err.Error())
		default:
			log.Info("Could not let go of a message", "cause", err.Error())
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
