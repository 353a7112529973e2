package intake

import (
	"sync"
	"time"

	"github.com/queuebinding/queuebinding/internal/queue"
)

const (
	// parallelReceives is how many receives a loop has under way while batches come back full. SQS answers one after some
	// 10 ms in its own region, and after 100 from elsewhere: one after the other brings 1,000 or 100 messages a second.
	parallelReceives = 4
	// helpingWait is the long poll of those beside the first. It asks all of SQS's servers, and keeps slots reserved for a
	// moment only when the queue has just become empty.
	helpingWait = time.Second
)

// intakes are the receives of a loop and what came of them.
type intakes struct {
	// places bounds the batches that are handled at a time.
	places chan struct{}
	// helpers bounds the receives beside the first.
	helpers chan struct{}
	under   sync.WaitGroup
}

// receiveAll receives batches and has them handled side by side, and returns when the loop is stopped and all are.
func (l *Loop) receiveAll() {
	if !l.expectExisting() {
		return
	}
	l.expect()
	in := &intakes{places: make(chan struct{}, batchesInFlight), helpers: make(chan struct{}, parallelReceives-1)}
	defer in.under.Wait()
	backoff := freshBackoff()
	backoff.Cap = longestReceiveBackoff
	failures := backoff

	for {
		l.polling.Store(false)
		in.places <- struct{}{}
		n := l.reserve()
		if n == 0 {
			return
		}
		l.polling.Store(true)
		full, err := l.receive(in, n, queue.MaxWait)
		if err != nil {
			sleep(l.stop, l.deps.Clock, failures.Step())
			continue
		}
		failures = backoff
		if full {
			l.help(in)
		}
	}
}

// help has another receive go on beside the first, for as long as batches come back full and there is room for more. The
// messages of a FIFO queue come in the order of their groups, and one receive after the other.
func (l *Loop) help(in *intakes) {
	if l.fifo {
		return
	}
	select {
	case in.helpers <- struct{}{}:
	default:
		return
	}
	in.under.Go(func() {
		defer func() { <-in.helpers }()
		for full := true; full; {
			select {
			case in.places <- struct{}{}:
			default:
				return
			}
			n := 0
			if l.stop.Err() == nil {
				n = l.tryReserve()
			}
			if n == 0 {
				<-in.places
				return
			}
			full, _ = l.receive(in, n, helpingWait) // what failed is told, and the first receive tries again
		}
	})
}

// receive receives up to n messages, whose slots are reserved, and has them handled in a place that was taken. full is
// whether there may well be more.
func (l *Loop) receive(in *intakes, n int, wait time.Duration) (full bool, err error) {
	began := l.deps.Clock.Now()
	visibility := l.settings.Load().visibility()
	// The poll has a context of its own: SQS may have hidden messages for a poll that was cut off.
	messages, err := l.queue.Receive(l.requests, n, wait, visibility)
	l.ledger.Return(n - len(messages))
	if err != nil {
		<-in.places
		l.report.receiveFailed(err)
		l.log.V(1).Info("Could not receive", "cause", err.Error())
		return false, err
	}
	l.report.received()
	if len(messages) == 0 {
		<-in.places
		return false, nil
	}
	l.deps.Metrics.Received(l.key, len(messages))
	l.stir()
	l.expect()
	for i := range messages {
		messages[i].ReceivedTime = began
	}
	l.held.add(messages, began, visibility)
	in.under.Go(func() {
		defer func() { <-in.places }()
		l.handleBatch(messages)
	})
	return len(messages) == queue.MaxBatch, nil
}

// reserve waits until slots are free and takes them. It returns 0 when the loop is stopped.
func (l *Loop) reserve() int {
	for l.stop.Err() == nil {
		if n := l.tryReserve(); n > 0 {
			return n
		}
		select {
		case <-l.stop.Done():
		case <-l.wake:
		}
	}
	return 0
}

// tryReserve takes the slots for a receive, as many as are free. It returns 0 where nothing may be received now.
func (l *Loop) tryReserve() int {
	settings := l.settings.Load()
	if !settings.receiving() || l.gate.isClosed() {
		return 0
	}
	want := queue.MaxBatch
	if l.fifo && (settings.keeping() || l.deps.Clock.Now().Unix() < l.careful.Load()) {
		want = 1
	}
	return l.ledger.Reserve(want, settings.limits())
}
