package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/requeue"
)

const (
	// requeueAgain is when a requeue that failed is tried again, at first; the delay doubles up to requeueAtLast.
	requeueAgain  = 5 * time.Second
	requeueAtLast = time.Minute
)

// requeues remembers of each binding how its requeues go.
type requeues struct {
	mu    sync.Mutex
	known map[types.NamespacedName]requeueState
}

// requeueState is about the requeue that is asked for.
type requeueState struct {
	// delay and after are of the next try, where the last one failed.
	delay time.Duration
	after time.Time
	// unwritten is the outcome, until it is in the status.
	unwritten *v1alpha1.RequeueResult
}

func (s *requeues) get(key types.NamespacedName) requeueState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[key]
}

func (s *requeues) set(key types.NamespacedName, state requeueState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == (requeueState{}) {
		delete(s.known, key)
		return
	}
	s.known[key] = state
}

// requeueAsked does what the binding's annotation asks for, and takes out of the annotation what was done. It returns the
// outcome that is to be written into the status, nil for none, and when to come back, 0 for not. Where something failed, what
// is left stays asked for.
func (r *Reconciler) requeueAsked(ctx context.Context, cached *v1alpha1.QueueBinding, q queue.Queue) (*v1alpha1.RequeueResult, time.Duration) {
	key := client.ObjectKeyFromObject(cached)
	state := r.requeues.get(key)
	if _, asked := cached.Annotations[v1alpha1.AnnotationRequeue]; !asked || q == nil {
		return state.unwritten, 0
	}
	if wait := state.after.Sub(r.Clock.Now()); wait > 0 {
		return state.unwritten, wait
	}
	outcome, err := r.requeue(ctx, cached, q)
	if len(outcome.Requeued)+len(outcome.Refused) > 0 || outcome.Redriven {
		r.recordRequeue(cached, outcome)
		state.unwritten = &v1alpha1.RequeueResult{
			Time:         metav1.NewTime(r.Clock.Now().Truncate(time.Second)),
			RequeuedJobs: int32(len(outcome.Requeued)),
			RefusedJobs:  int32(len(outcome.Refused)),
			Refused:      outcome.Refused[:min(len(outcome.Refused), maxListed)],
		}
	}
	state.delay, state.after = 0, time.Time{}
	if err != nil {
		state.delay = min(max(2*r.requeues.get(key).delay, requeueAgain), requeueAtLast)
		state.after = r.Clock.Now().Add(state.delay)
		r.Recorder.Record(key, cached.UID, events.RequeueDelayed(err))
	}
	r.requeues.set(key, state)
	return state.unwritten, state.delay
}

// requeue does what the annotation asks for by now: the cache may still show what was done before.
func (r *Reconciler) requeue(ctx context.Context, cached *v1alpha1.QueueBinding, q queue.Queue) (requeue.Outcome, error) {
	binding := &v1alpha1.QueueBinding{}
	if err := r.Reader.Get(ctx, client.ObjectKeyFromObject(cached), binding); err != nil {
		return requeue.Outcome{}, client.IgnoreNotFound(err)
	}
	text, asked := binding.Annotations[v1alpha1.AnnotationRequeue]
	if !asked || binding.UID != cached.UID || binding.DeletionTimestamp != nil {
		return requeue.Outcome{}, nil
	}
	intents := requeue.IntentStore{Reader: r.Reader, Writer: r.Client}
	intent, malformed := requeue.Parse(text)
	if intent.All && intent.Before.IsZero() {
		// Fixed before anything is done: a Job that fails again while this goes on is not meant.
		newest, err := r.Executor.NewestFailure(ctx, binding)
		if err != nil {
			return requeue.Outcome{}, err
		}
		if intent.Before = newest; newest.IsZero() {
			intent.Before = r.Clock.Now()
		}
		if err := intents.Replace(ctx, binding, intent); apierrors.IsConflict(err) {
			return requeue.Outcome{}, nil // somebody asked for more meanwhile, and that change brings us back
		} else if err != nil {
			return requeue.Outcome{}, fmt.Errorf("fix the time of a requeue: %w", err)
		}
	}

	tooMany := requeue.Named()
	if len(intent.Names) > requeue.MaxNames {
		malformed = append(malformed, fmt.Sprintf("%d names", len(intent.Names)))
		tooMany, intent.Names = requeue.Named(intent.SortedNames()...), nil
	}
	outcome, err := r.Executor.Do(ctx, binding, q, intent)
	for _, word := range malformed {
		outcome.Refused = append(outcome.Refused, v1alpha1.RequeueRefusal{
			JobName: events.Truncate(word), Reason: v1alpha1.RefusedInvalidRequest,
			Message: fmt.Sprintf("annotation %s takes `all` or a comma-separated list of at most %d Job names", v1alpha1.AnnotationRequeue, requeue.MaxNames),
		})
	}
	r.Metrics.Requeued(client.ObjectKeyFromObject(binding), len(outcome.Requeued))
	if removal := intents.Remove(ctx, binding, outcome.Done.Merge(tooMany)); removal != nil {
		err = errors.Join(err, fmt.Errorf("take a requeue out of the annotation: %w", removal))
	}
	return outcome, err
}

// recordRequeue records the events of a requeue.
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
