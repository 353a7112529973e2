// Package intake turns the messages of a queue into Jobs. Each binding has one Loop; a message's way through it is
// Receive, Render, Create, Acknowledge: loop.go has the first step, handle.go the others. A message is received only when a
// slot for its Job is reserved, and is deleted only when its Job exists. The package writes no status: it reports, and a
// reconciler writes.
package intake

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/internal/creator"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/inflight"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/metrics"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/timer"
	"github.com/queuebinding/queuebinding/internal/tracing"
)

const (
	// parallelBatches is how many received batches a loop works on at a time.
	parallelBatches = 8
	// parallelReceives is how many receives a loop has under way while batches come back full. SQS answers one after some
	// 10 ms in its own region, and after 100 from elsewhere: one after the other brings 1,000 or 100 messages a second.
	parallelReceives = 4
	// secondaryWait is the long poll of those beside the first. It asks all of SQS's servers, and keeps slots reserved for a
	// moment only when the queue has just become empty.
	secondaryWait = time.Second
	// maxReceiveBackoff is the longest wait after a receive that failed: a queue that was created late is seen within this.
	maxReceiveBackoff = time.Minute
	// A loop that is stopped has an open poll of up to 20 s, then finishes what it received. createsLast is when requests to the
	// API server end, counted from the stop, and requestsLast when those to the queue do: the operator has 45 s.
	createsLast  = queue.MaxWait + 10*time.Second
	requestsLast = createsLast + 10*time.Second
	// rememberedJobs is how many Jobs a loop remembers to have created, so that a message which could not be deleted is not run
	// again when its Job is gone by the time it comes back.
	rememberedJobs = 10_000
)

// Dependencies are what loops share.
type Dependencies struct {
	// Client writes; Reader reads from the API server itself.
	Client   client.Client
	Reader   client.Reader
	Recorder *events.Recorder
	Ledgers  *ledger.Set
	// Metrics count and observe; nil does not.
	Metrics *metrics.Metrics
	Clock   clock.WithDelayedExecution
	// Limiter bounds the objects that are created at a time, over all bindings.
	Limiter *creator.Limiter
	// Memory bounds what messages take, over all bindings.
	Memory *Memory
	// Keys returns the keys by which lineages are verified.
	Keys func() job.Keys
	// Tracer records the way of messages; nil records none.
	Tracer *tracing.Tracer
}

// Loop receives the messages of one binding's queue, has them handled, and ends when it is stopped.
type Loop struct {
	deps     *Dependencies
	log      logr.Logger
	key      types.NamespacedName
	uid      types.UID
	queue    queue.Queue
	fifo     bool
	settings *atomic.Pointer[Settings]

	handler  *handler
	ledger   *ledger.Ledger
	inFlight *inflight.Messages
	creator  *creator.Creator
	recovery *creator.Recovery
	holding  *holding
	stats    *statsPoller
	report   *reporter
	metrics  *metrics.Binding
	oldest   *oldest
	// lastReceive is when the queue last answered a receive, in Unix nanoseconds; 0 before that.
	lastReceive atomic.Int64
	activity    *activity

	// wake is signaled when it may be possible to receive.
	wake chan struct{}
	// stopped ends when the loop is to end. requests outlives it, so that what was received is finished.
	stopped, requests context.Context
	release           context.CancelFunc
	// batches bounds the batches that are handled at a time, secondary the receives beside the first; underWay counts both.
	batches, secondary chan struct{}
	underWay           sync.WaitGroup

	// bindingGone reports whether the binding was deleted: messages are given back then, and none is deleted.
	bindingGone atomic.Bool
}

func newLoop(stopped context.Context, deps *Dependencies, log logr.Logger, settings *Settings, q queue.Queue, changed func()) *Loop {
	l := &Loop{
		deps:      deps,
		log:       log,
		key:       client.ObjectKeyFromObject(settings.Binding),
		uid:       settings.Binding.UID,
		metrics:   deps.Metrics.Of(client.ObjectKeyFromObject(settings.Binding)),
		oldest:    &oldest{},
		fifo:      strings.HasSuffix(settings.Binding.Spec.Queue.URL, ".fifo"),
		report:    newReporter(changed),
		activity:  newActivity(deps.Clock),
		settings:  &atomic.Pointer[Settings]{},
		wake:      make(chan struct{}, 1),
		stopped:   stopped,
		batches:   make(chan struct{}, parallelBatches),
		secondary: make(chan struct{}, parallelReceives-1),
	}
	l.settings.Store(settings)
	q = observedQueue{q, l.metrics}
	l.queue = q
	requests, cancelRequests := timer.Outlive(stopped, deps.Clock, requestsLast)
	creates, cancelCreates := timer.Outlive(stopped, deps.Clock, createsLast)
	l.requests = requests
	l.release = func() {
		cancelCreates()
		cancelRequests()
	}
	l.ledger = deps.Ledgers.Attach(l.uid, l.wakeUp)
	l.inFlight = inflight.New(requests, inflight.Options{
		Queue: q, Clock: deps.Clock, Log: log, FIFO: l.fifo, Visibility: l.visibility,
		Deleted: l.metrics.Acknowledged, Returned: l.returned, Extended: l.metrics.Extended,
	})
	l.holding = &holding{memory: deps.Memory, freed: l.wakeUp}
	l.stats = newStatsPoller(stopped, deps.Clock, q, l.report, l.oldest)
	options := l.creatorOptions()
	l.creator = creator.New(creates, stopped, options)
	// Two operators may have been at work before: one that led, and one that had been deposed.
	l.recovery = creator.NewRecovery(l.creator, options, 2*parallelBatches*queue.MaxBatch, func(receiptHandle string) {
		l.inFlight.Return(receiptHandle, 0, metrics.GivenBackJobGone)
	})
	l.handler = &handler{
		ctx: requests, key: l.key, uid: l.uid, fifo: l.fifo, settings: l.settings, keys: deps.Keys, clock: deps.Clock, log: log,
		ledger: l.ledger, inFlight: l.inFlight, creator: l.creator, created: lru.New(rememberedJobs),
		memory: deps.Memory, heavy: make(chan struct{}, 1),
		traces: newTraces(deps.Tracer, settings.Binding),
		report: l.report, metrics: l.metrics, recorder: deps.Recorder,
	}
	return l
}

// creatorOptions are what the loop's creator needs.
func (l *Loop) creatorOptions() creator.Options {
	return creator.Options{
		Client: l.deps.Client, Reader: l.deps.Reader, Clock: l.deps.Clock, Log: l.log, Limiter: l.deps.Limiter, Ledger: l.ledger,
		Binding: l.key, UID: l.uid, Wanted: l.wanted,
		// What takes little stays, unless a receive has starved: it would free nothing that matters.
		Crowded: func(first bool) bool {
			return l.deps.Memory.isStarved() || !first && l.deps.Memory.isShort() && l.holding.bytes.Load() > littleHeld
		},
		Created: l.jobCreated,
		Failed:  l.metrics.CreateFailed,
		Sample:  l.sample,
		Blocked: func(reason, message string) {
			l.report.blocked(reason, message)
			l.wakeUp()
		},
	}
}

// legacy is what a loop leaves to the next one of the same binding, which uses the queue by other credentials.
type legacy struct {
	uid     types.UID
	created *lru.Cache
	report  Report
}

func (l *Loop) legacy() legacy {
	return legacy{uid: l.uid, created: l.handler.created, report: l.report.snapshot()}
}

// inherit takes over what an earlier loop left. It is called before run.
func (l *Loop) inherit(left legacy) {
	l.handler.created = left.created
	l.report.report = left.report
}

// update gives the loop new settings.
func (l *Loop) update(settings *Settings) {
	l.settings.Store(settings)
	l.wakeUp()
}

func (l *Loop) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// disown says that the binding was deleted: from now on messages are given back, and none is deleted whose work is not done.
func (l *Loop) disown() {
	l.bindingGone.Store(true)
	l.inFlight.ReturnUndone()
}

func (l *Loop) visibility() time.Duration { return l.settings.Load().visibility() }

// wanted reports whether the binding has use for a message that it reserved a slot for: the user may have taken back what it was
// received for, or too many Jobs failed meanwhile.
func (l *Loop) wanted() bool {
	settings := l.settings.Load()
	return !l.bindingGone.Load() && settings.receiving() && !l.ledger.Exceeds(settings.limits())
}

// sample returns the objects of a message that never was.
func (l *Loop) sample() ([]client.Object, error) {
	sample, err := job.Sample(l.settings.Load().Binding)
	if err != nil {
		return nil, err
	}
	secrets, err := job.SampleSecrets(sample)
	if err != nil {
		return nil, err
	}
	objects := []client.Object{sample}
	for _, secret := range secrets {
		objects = append(objects, secret)
	}
	return objects, nil
}

// run receives until the loop is stopped, and returns when all that it received is done with.
func (l *Loop) run() {
	defer l.deps.Ledgers.Detach(l.uid)
	defer l.release()
	l.deps.Memory.join(l.creator)
	defer l.deps.Memory.leave(l.creator)

	l.stats.start()
	l.ledger.Watch(newReceipts(l.inFlight, l.ledger, l.deps.Clock, l.visibility, &l.handler.traces))
	if l.fifo && !l.settings.Load().onJobSucceeded() {
		l.deps.Recorder.Record(l.key, l.uid, events.GroupOverlap())
	}

	l.receiveAll()
	l.activity.set(stepEnding)
	l.underWay.Wait()

	l.ledger.Watch(nil)
	l.inFlight.Close()
	l.release()
	l.recovery.Close()
	l.stats.stop()
}

// receiveAll receives batches and has them handled side by side, until the loop is stopped.
func (l *Loop) receiveAll() {
	expected := false
	l.activity.during(stepExistingJobs, func() { expected = l.recovery.ExpectExisting() })
	if !expected {
		return
	}
	backoff := timer.Backoff()
	backoff.Cap = maxReceiveBackoff
	failures := backoff

	for {
		l.stats.receiving(false)
		l.activity.during(stepMessages, func() { l.batches <- struct{}{} })
		n := l.reserve()
		if n == 0 {
			return
		}
		l.stats.receiving(true)
		l.activity.set(stepReceiving)
		full, err := l.receive(n, queue.MaxWait, l.activity)
		l.activity.set(stepWorking)
		if err != nil {
			l.activity.during(stepBackoff, func() { timer.Sleep(l.stopped, l.deps.Clock, failures.Step()) })
			continue
		}
		failures = backoff
		if full {
			l.receiveBeside()
		}
	}
}

// receiveBeside has another receive go on beside the first, for as long as batches come back full and there is room for more.
// The messages of a FIFO queue come in the order of their groups, and one receive after the other.
func (l *Loop) receiveBeside() {
	if l.fifo || !tryTake(l.secondary) {
		return
	}
	l.underWay.Go(func() {
		defer func() { <-l.secondary }()
		for full := true; full; {
			if !tryTake(l.batches) {
				return
			}
			n := 0
			if l.stopped.Err() == nil {
				n = l.tryReserve()
			}
			if n == 0 {
				<-l.batches
				return
			}
			full, _ = l.receive(n, secondaryWait, newActivity(l.deps.Clock)) // what failed is reported, and the first receive tries again
		}
	})
}

// tryTake takes a place, if one is free.
func tryTake(places chan<- struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	default:
		return false
	}
}

// reserve waits until slots are free and takes them. It returns 0 when the loop is stopped.
func (l *Loop) reserve() int {
	for l.stopped.Err() == nil {
		if n := l.tryReserve(); n > 0 {
			return n
		}
		l.activity.during(stepSlots, func() {
			select {
			case <-l.stopped.Done():
			case <-l.wake:
			}
		})
	}
	return 0
}

// tryReserve takes the slots for a receive, as many as are free. It returns 0 where nothing may be received now.
func (l *Loop) tryReserve() int {
	settings := l.settings.Load()
	if !settings.receiving() || l.creator.IsBlocked() {
		return 0
	}
	want := queue.MaxBatch
	if l.fifo && (settings.onJobSucceeded() || l.handler.rejections.lately(l.deps.Clock.Now())) {
		want = 1
	}
	if want = l.holding.room(want); want == 0 {
		return 0
	}
	return l.ledger.Reserve(want, settings.limits())
}

// receive receives up to n messages, whose slots are reserved, and has them handled in a place of batches that was taken. full
// reports whether there may well be more. at is told of the wait for memory.
func (l *Loop) receive(n int, wait time.Duration, at *activity) (full bool, err error) {
	began := l.deps.Clock.Now()
	visibility := l.visibility()
	// The poll outlives the stop: SQS may have hidden messages for a poll that was cut off.
	batch := l.holding.newBatch(l.settings.Load(), n)
	admit := func(ctx context.Context, bytes int64) (err error) {
		at.during(stepRoom, func() { err = batch.admit(ctx, bytes) })
		return err
	}
	messages, err := l.queue.Receive(queue.WithAdmission(l.requests, admit), n, wait, visibility)
	batch.received(messages)
	l.ledger.Return(n - len(messages))
	if err != nil {
		<-l.batches
		l.report.receiveFailed(err)
		l.handler.traces.receiveFailed(began, l.deps.Clock.Now(), err)
		l.log.V(1).Info("Could not receive", "cause", err.Error())
		return false, err
	}
	l.report.received()
	arrived := l.deps.Clock.Now()
	l.lastReceive.Store(arrived.UnixNano())
	l.oldest.received(messages)
	if len(messages) == 0 {
		<-l.batches
		return false, nil
	}
	l.stats.pollSoon()
	l.recovery.ExpectSoon()
	for i := range messages {
		messages[i].ReceivedTime, messages[i].ArrivedTime = began, arrived
		l.metrics.Received(tracing.Within(l.requests, sourceOf(&messages[i])), since(messages[i].SentTime, arrived))
	}
	l.inFlight.Received(messages, began, visibility)
	received := l.handler.traces.received(began, l.deps.Clock.Now(), messages)
	l.underWay.Go(func() {
		defer func() { <-l.batches }()
		l.handler.handleBatch(messages, received, batch.done)
	})
	// The messages first: else they wait until the next receive is under way, or another processor has woken up.
	runtime.Gosched()
	return len(messages) == queue.MaxBatch, nil
}
