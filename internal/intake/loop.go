// Package intake turns the messages of a queue into Jobs. Each binding has one Loop; a message's way through it is
// Receive, Render, Create, Acknowledge. A message is deleted only when its Job exists, and is received only when a slot
// for its Job is reserved. The package writes no status: it reports, and a reconciler writes.
package intake

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/metrics"
	"github.com/queuebinding/queuebinding/internal/queue"
)

const (
	// batchesInFlight is how many received batches a loop works on at a time.
	batchesInFlight = 8
	// createsInFlight is how many objects a loop creates at a time.
	createsInFlight = 16
	// requestTimeout bounds a request to the API server, stoppingTimeout a create once the loop is to end: with the open
	// poll before it, that has to fit into the time that the operator has to stop.
	requestTimeout  = 30 * time.Second
	stoppingTimeout = 10 * time.Second
	// longestReceiveBackoff is the longest wait after a receive that failed: a queue that was created late is seen
	// within this.
	longestReceiveBackoff = time.Minute
	// carefulFor is how long a FIFO queue is received from one message at a time after a message was rejected, as the
	// messages behind it have to be given back and that counts for their redrive.
	carefulFor = longestRetryDelay
)

// Why a loop is stopped. Loops that are stopped for another reason finish the messages that they have.
var (
	// ErrBindingGone: the binding was deleted. Messages are given back and none is deleted.
	ErrBindingGone = errors.New("the binding was deleted")
	// ErrQueueChanged: the loop is replaced by one for another queue.
	ErrQueueChanged = errors.New("the queue of the binding was changed")
	// ErrStopping: the operator stops.
	ErrStopping = errors.New("the operator is stopping")
)

// Settings are what a loop reads anew for each batch, so that changing them needs no new loop.
type Settings struct {
	// Binding is read only.
	Binding *v1alpha1.QueueBinding
	// Credentials are the identity that uses the queue. Other ones need a new loop.
	Credentials queue.Credentials
	// Variables are nil where they do not compile; nothing is received then.
	Variables *job.Variables
	// Paused is whether nothing may be received, whatever the limits say.
	Paused bool
}

// limits are the binding's limits.
func (s *Settings) limits() Limits {
	spec := &s.Binding.Spec
	limits := Limits{MaxActive: int(deref(spec.Concurrency.MaxActiveJobs, 10)), MaxPending: -1, MaxFailed: -1}
	if spec.Concurrency.MaxPendingJobs != nil {
		limits.MaxPending = int(*spec.Concurrency.MaxPendingJobs)
	}
	if spec.FailedJobsPolicy != v1alpha1.DeleteOldestFailedJobs {
		limits.MaxFailed = int(deref(spec.FailedJobsHistoryLimit, 1000))
		limits.CountAllFailed = spec.FailedJobsPolicy == v1alpha1.PauseAtFailedJobsLimit
	}
	return limits
}

// keeping is whether messages stay on the queue until their Jobs have succeeded.
func (s *Settings) keeping() bool {
	return s.Binding.Spec.Acknowledge == v1alpha1.AcknowledgeOnJobSucceeded
}

// receiving is whether messages may become Jobs.
func (s *Settings) receiving() bool {
	return !s.Paused && s.Variables != nil && s.limits().MaxActive > 0
}

// visibility is the visibility timeout.
func (s *Settings) visibility() time.Duration {
	return time.Duration(deref(s.Binding.Spec.Queue.VisibilityTimeoutSeconds, 60)) * time.Second
}

func deref(p *int32, otherwise int32) int32 {
	if p == nil {
		return otherwise
	}
	return *p
}

// Dependencies are what loops share.
type Dependencies struct {
	// Client creates Jobs.
	Client client.Client
	// Reader reads Jobs from the API server itself.
	Reader client.Reader
	// Recorder records events.
	Recorder *events.Recorder
	Ledgers  *Ledgers
	Metrics  *metrics.Metrics
	Clock    clock.WithDelayedExecution
	// Creates bounds the Jobs that are created at a time, over all bindings.
	Creates *Turns
}

// Loop is the intake of one binding and one queue. It ends when its context does.
type Loop struct {
	deps  *Dependencies
	log   logr.Logger
	key   types.NamespacedName
	uid   types.UID
	queue queue.Queue
	fifo  bool

	settings  atomic.Pointer[Settings]
	ledger    *Ledger
	held      *held
	disposals *disposals
	gate      *gate
	recent    *recent
	report    *reporter

	// wake is signaled when it may be possible to receive.
	wake chan struct{}
	// watch rings when the queue is to be asked for its numbers, asked is when it was last, in Unix nanoseconds.
	watch *alarm
	asked atomic.Int64
	// overdue rings when Jobs may be missing that were created.
	overdue *alarm
	// stop ends the loop; its cause says why. requests outlives it, so that what was received is finished.
	stop     context.Context
	requests context.Context

	// gone is whether the binding was deleted: messages are given back then, and none is deleted.
	gone atomic.Bool
	// polling is whether receives are being tried.
	polling atomic.Bool
	// creates bounds the objects that the loop creates at a time.
	creates chan struct{}
	// claims is the seeing to Secrets that an operator before this one left.
	claims     sync.WaitGroup
	careful    atomic.Int64 // until when, in Unix seconds
	rejections atomic.Int64 // in a row
}

func newLoop(stop context.Context, deps *Dependencies, log logr.Logger, settings *Settings, q queue.Queue, changed func()) *Loop {
	l := &Loop{
		deps:    deps,
		log:     log,
		key:     client.ObjectKeyFromObject(settings.Binding),
		uid:     settings.Binding.UID,
		queue:   q,
		fifo:    strings.HasSuffix(settings.Binding.Spec.Queue.URL, ".fifo"),
		recent:  newRecent(),
		report:  newReporter(changed),
		wake:    make(chan struct{}, 1),
		stop:    stop,
		creates: make(chan struct{}, createsInFlight),
	}
	l.settings.Store(settings)
	l.held = newHeld(deps.Clock, q, l.visibility)
	l.disposals = newDisposals(deps.Clock, l.fifo, l.disposeWaiting)
	l.watch = newAlarm(deps.Clock, l.askQueue)
	l.overdue = newAlarm(deps.Clock, l.settleOverdue)
	l.gate = newGate(deps.Clock, func(reason, message string) {
		l.report.blocked(reason, message)
		l.wakeUp()
	})
	l.ledger = deps.Ledgers.attach(l.uid, l.wakeUp)
	return l
}

// update gives the loop new settings.
func (l *Loop) update(settings *Settings) {
	l.settings.Store(settings)
	l.wakeUp()
}

func (l *Loop) wakeUp() { signal(l.wake) }

// signal leaves one signal, however often it is called before that is taken.
func signal(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

func (l *Loop) bindingIsGone() bool { return l.gone.Load() }

// run receives until the loop is stopped, and returns when all that it received is done with.
func (l *Loop) run() {
	requests, cancel := context.WithCancel(context.WithoutCancel(l.stop))
	l.requests, l.held.requests = requests, requests
	defer cancel()
	defer l.deps.Ledgers.detach(l.uid)

	l.watch.by(l.deps.Clock.Now())
	l.ledger.look(newReceipts(l))
	if l.fifo && !l.settings.Load().keeping() {
		l.deps.Recorder.Record(l.key, l.uid, events.GroupOverlap())
	}

	l.receiveAll()

	l.ledger.look(nil)
	l.disposeRest()
	cancel()
	l.claims.Wait()
	for _, each := range []*alarm{l.held.alarm, l.watch, l.overdue} {
		each.stop()
	}
}

// expectExisting reserves slots for Jobs that exist and that the cache does not show yet: the list that a cache starts
// from may be older than the last Jobs of the operator before. It is false when the loop is stopped.
func (l *Loop) expectExisting() bool {
	backoff := freshBackoff()
	for l.stop.Err() == nil {
		err := l.listExisting()
		if err == nil {
			return true
		}
		l.report.blocked(unavailable(err).Reason, err.Error())
		l.log.Error(err, "Could not list the Jobs of the binding")
		sleep(l.stop, l.deps.Clock, backoff.Step())
	}
	return false
}

func (l *Loop) listExisting() error {
	var inFiles []existingJob
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("JobList"))
	options := []client.ListOption{client.InNamespace(l.key.Namespace), client.MatchingLabels{v1alpha1.LabelBinding: l.key.Name}, client.Limit(500)}
	for {
		ctx, cancel := context.WithTimeout(l.stop, requestTimeout)
		err := l.deps.Reader.List(ctx, list, options...)
		cancel()
		if err != nil {
			return err
		}
		for i := range list.Items {
			each := &list.Items[i]
			if job.Owner(each) != l.uid {
				continue
			}
			l.ledger.Expect(each.Name)
			if job.HasFiles(each) {
				inFiles = append(inFiles, existingJob{each.Name, each.UID, each.CreationTimestamp.Time})
			}
		}
		if list.Continue == "" {
			l.claims.Go(func() { l.claim(inFiles) })
			l.report.blocked("", "")
			return nil
		}
		options = append(options[:3:3], client.Continue(list.Continue))
	}
}

func (l *Loop) visibility() time.Duration { return l.settings.Load().visibility() }

func (l *Loop) read(ctx context.Context, name string) (*batchv1.Job, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	existing := &batchv1.Job{}
	err := l.deps.Reader.Get(ctx, types.NamespacedName{Namespace: l.key.Namespace, Name: name}, existing)
	return existing, err
}
