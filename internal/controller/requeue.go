package controller

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/requeue"
)

const (
	// requeueAgain is when a requeue that failed is tried again, at first; the delay doubles up to requeueAtLast.
	requeueAgain  = 5 * time.Second
	requeueAtLast = time.Minute
	// nextSlice is when the next slice of a requeue is due: after the bindings that wait to be reconciled. slotAgain is when to look
	// again where others' slices are under way.
	nextSlice = 10 * time.Millisecond
	slotAgain = 100 * time.Millisecond
	// slicesAtOnce is how many slices of requeues are done side by side. The other workers are for bindings that ask for none: a queue
	// that does not answer holds up a slice for as long as it may take.
	slicesAtOnce = workers / 2
)

// requeues remembers of each binding how its requeues go.
type requeues struct {
	// slots has a place for each slice that is under way.
	slots chan struct{}

	mu    sync.Mutex
	known map[types.NamespacedName]*requeueState
}

func newRequeues() requeues {
	return requeues{slots: make(chan struct{}, slicesAtOnce), known: map[types.NamespacedName]*requeueState{}}
}

// requeueState is about a binding's requeue. A binding is reconciled by one worker at a time, which may change it.
type requeueState struct {
	uid types.UID
	// delay and after are of the next try, where the last one failed.
	delay time.Duration
	after time.Time
	// progress is that of a requeue which goes on, or whose outcome is not in the status yet; else nil.
	progress *requeue.Progress
	// accounted is up to when all requeues are known to be counted. It is zero until this process has looked.
	accounted time.Time
}

func (s *requeues) of(binding *v1alpha1.QueueBinding) *requeueState {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := client.ObjectKeyFromObject(binding)
	state, ok := s.known[key]
	if !ok || state.uid != binding.UID {
		state = &requeueState{uid: binding.UID}
		s.known[key] = state
	}
	return state
}

func (s *requeues) forget(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, key)
}

// enter takes a place for a slice, if there is one. leave gives it back.
func (s *requeues) enter() bool {
	select {
	case s.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *requeues) leave() { <-s.slots }

// result returns the outcome that is to be in the status, or nil for what is there.
func (s *requeueState) result() *v1alpha1.RequeueResult {
	if s.progress == nil {
		return nil
	}
	return s.progress.Result()
}

// written notes that the outcome is in the status, and reports whether a requeue ended with that.
func (s *requeueState) written() (ended bool) {
	if s.progress == nil || s.progress.Goes() {
		return false
	}
	s.progress = nil
	return true
}

// uncounted reports whether there may be Jobs whose requeue nobody counted, by the outcome that was written last.
func (s *requeueState) uncounted(last *v1alpha1.RequeueResult, lastSent time.Time) bool {
	if s.accounted.IsZero() && last != nil && last.InProgress {
		return true
	}
	return lastSent.After(s.accounted) && (last == nil || lastSent.After(last.Time.Time))
}

// requeueAsked does the next slice of what the binding's annotation asks for. It returns the outcome that is to be written into the
// status, nil for none, and when to come back, 0 for not. Where something failed, what is left stays asked for.
func (r *Reconciler) requeueAsked(ctx context.Context, cached *v1alpha1.QueueBinding, q queue.Queue) (*v1alpha1.RequeueResult, time.Duration) {
	state := r.requeues.of(cached)
	var lastSent time.Time
	r.Ledgers.Of(cached.UID).View(func(jobs *job.History) { lastSent = jobs.LastSent() })
	switch _, asked := cached.Annotations[v1alpha1.AnnotationRequeue]; {
	case state.progress != nil && !state.progress.Goes():
		return state.result(), 0 // the next one begins when this one is told of
	case asked && q == nil, !asked && state.progress == nil && !state.uncounted(cached.Status.LastRequeue, lastSent):
		return state.result(), 0
	}
	if wait := state.after.Sub(r.Clock.Now()); wait > 0 {
		return state.result(), wait
	}
	if cached.Status.ObservedGeneration != cached.Generation {
		return state.result(), nextSlice // a change of the spec is told of first
	}
	if !r.requeues.enter() {
		return state.result(), slotAgain
	}
	defer r.requeues.leave()
	moved, err := r.requeueSlice(ctx, cached, q, state, lastSent)
	if err != nil {
		if moved {
			state.delay = 0
		}
		state.delay = min(max(2*state.delay, requeueAgain), requeueAtLast)
		state.after = r.Clock.Now().Add(state.delay)
		r.Recorder.Record(client.ObjectKeyFromObject(cached), cached.UID, events.RequeueDelayed(err))
		return state.result(), state.delay
	}
	state.delay, state.after = 0, time.Time{}
	if state.progress == nil || !state.progress.Goes() {
		return state.result(), 0
	}
	return state.result(), nextSlice
}

// requeueSlice does a slice of what the annotation asks for by now: the cache may still show what was done before. It reports whether
// anything came of it.
func (r *Reconciler) requeueSlice(ctx context.Context, cached *v1alpha1.QueueBinding, q queue.Queue, state *requeueState, lastSent time.Time) (moved bool, err error) {
	key := client.ObjectKeyFromObject(cached)
	binding := &v1alpha1.QueueBinding{}
	if err := r.Reader.Get(ctx, key, binding); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	if binding.UID != cached.UID || binding.DeletionTimestamp != nil {
		return false, nil
	}
	last := binding.Status.LastRequeue
	_, asked := binding.Annotations[v1alpha1.AnnotationRequeue]
	uncounted := state.uncounted(last, lastSent)
	if asked && q == nil || !asked && state.progress == nil && !uncounted {
		return false, nil
	}
	if state.progress == nil {
		state.progress = requeue.Continue(last)
	}
	outcome, err := r.Executor.Slice(ctx, state.progress, requeue.Request{
		Binding: binding, Queue: q, Seen: r.Ledgers.Of(binding.UID), Uncounted: uncounted || state.accounted.IsZero(),
	})
	if outcome.IsEmpty() && !state.progress.Goes() && state.result() == nil {
		state.progress = nil // there was nothing to tell of
	}
	if err == nil {
		state.account(lastSent)
	}
	r.Metrics.Of(key).Requeued(len(outcome.Requeued))
	r.recordRequeue(cached, outcome)
	return len(outcome.Requeued) > 0, err
}

// account notes that all that was sent by a time is counted, and what the progress has reached.
func (s *requeueState) account(until time.Time) {
	if s.progress != nil && s.progress.Latest().After(until) {
		until = s.progress.Latest()
	}
	if until.After(s.accounted) {
		s.accounted = until
	}
}

// recordRequeue records the events of a slice.
func (r *Reconciler) recordRequeue(binding *v1alpha1.QueueBinding, outcome requeue.Outcome) {
	record := func(event events.Event) { r.Recorder.Record(client.ObjectKeyFromObject(binding), binding.UID, event) }
	if len(outcome.Requeued) > 0 {
		record(events.Requeued(outcome.Requeued))
	}
	if outcome.Redriven {
		record(events.RedriveStarted())
	}
	if len(outcome.Untied) > 0 {
		record(events.RequeuedUntied(outcome.Untied))
	}
	if len(outcome.Refused) > 0 {
		record(events.RequeueRefused(outcome.Refused))
	}
}
