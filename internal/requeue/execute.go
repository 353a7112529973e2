package requeue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/creator"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
)

const (
	// parallel is how many Jobs are read or requeued at a time.
	parallel = 16
	// pageSize is how many whole Jobs are read at a time. Each may hold a megabyte.
	pageSize = 50
)

// Executor executes intents: it sends the messages of failed Jobs again and marks the Jobs.
type Executor struct {
	// Reader reads Jobs whole, from the API server itself: a cache leaves out their messages.
	Reader client.Reader
	// Client marks Jobs.
	Client client.Client
	Clock  clock.PassiveClock
	// Keys returns the keys by which lineages are signed.
	Keys func() job.Keys
}

// Outcome is what was done of an intent.
type Outcome struct {
	// Done is the part of the intent that need not be done again.
	Done Intent
	// Requeued are the names of the Jobs whose message was sent again.
	Requeued []string
	// Refused are the Jobs that cannot be requeued, in order of their names.
	Refused []v1alpha1.RequeueRefusal
	// Redriven reports whether the messages of the dead-letter queue are being moved back.
	Redriven bool
	// Untied are the names of those in Requeued whose message had no room for the lineage: sent twice, they run twice.
	Untied []string
}

// Do executes an intent, whose time is set if it asks for all. If it returns an error the outcome still says what was done.
func (e *Executor) Do(ctx context.Context, binding *v1alpha1.QueueBinding, q queue.Queue, intent Intent) (Outcome, error) {
	work := &execution{Executor: e, binding: binding, queue: q, fifo: strings.HasSuffix(binding.Spec.Queue.URL, ".fifo"), outcome: Outcome{Done: Named()}}
	err := errors.Join(work.named(ctx, intent.SortedNames()), work.all(ctx, intent))
	slices.Sort(work.outcome.Requeued)
	slices.SortFunc(work.outcome.Refused, func(a, b v1alpha1.RequeueRefusal) int { return strings.Compare(a.JobName, b.JobName) })
	return work.outcome, err
}

// execution is one call of Do.
type execution struct {
	*Executor
	binding *v1alpha1.QueueBinding
	queue   queue.Queue
	fifo    bool

	// gaveUp reports whether something failed that will fail for the next Job too. What is under way is finished.
	gaveUp atomic.Bool

	mu      sync.Mutex
	outcome Outcome
}

func (x *execution) giveUp(err error) error {
	x.gaveUp.Store(true)
	return err
}

func (x *execution) named(ctx context.Context, names []string) error {
	group := errgroup.Group{}
	group.SetLimit(parallel)
	for _, name := range names {
		group.Go(func() error {
			if x.gaveUp.Load() {
				return nil
			}
			existing := &batchv1.Job{}
			err := x.Reader.Get(ctx, types.NamespacedName{Namespace: x.binding.Namespace, Name: name}, existing)
			switch {
			case apierrors.IsNotFound(err):
				x.refuse(notFound(name))
			case err != nil:
				return x.giveUp(fmt.Errorf("read Job %s: %w", name, err))
			default:
				// The user asks for this very Job: it is sent again even if it was sent before, as that message may be lost.
				if err := x.requeue(ctx, existing); err != nil {
					return err
				}
			}
			x.mu.Lock()
			x.outcome.Done.Names[name] = struct{}{}
			x.mu.Unlock()
			return nil
		})
	}
	return group.Wait()
}

// all requeues what had failed by the intent's time and was not sent again yet.
func (x *execution) all(ctx context.Context, intent Intent) error {
	if !intent.All {
		return nil
	}
	redrive := x.binding.Spec.Acknowledge == v1alpha1.AcknowledgeOnJobSucceeded
	err := x.eachFailed(ctx, x.binding, func(failed []batchv1.Job) error {
		group := errgroup.Group{}
		group.SetLimit(parallel)
		for i := range failed {
			record := job.Observe(&failed[i])
			if record.MessageOnQueue() {
				redrive = true // its message is on the queue, or in the dead-letter queue
				continue
			}
			if record.Sent || record.Deleting || record.Finished.After(intent.Before) {
				continue
			}
			// Times have whole seconds: a successor of this very intent may have come and failed within the last one.
			if record.Lineage.Attempt > 1 && !record.Created.Before(intent.Before) {
				continue
			}
			group.Go(func() error {
				if x.gaveUp.Load() {
					return nil
				}
				return x.requeue(ctx, &failed[i])
			})
		}
		return group.Wait()
	})
	if err == nil && redrive && !x.gaveUp.Load() { // it would be tried with all else, over and over
		err = x.redrive(ctx)
	}
	if err == nil && !x.gaveUp.Load() { // a name may have caused that
		x.outcome.Done.All, x.outcome.Done.Before = true, intent.Before
	}
	return err
}

// redrive starts the move of the dead-letter queue's messages back to the queue.
func (x *execution) redrive(ctx context.Context) error {
	err := x.queue.Redrive(ctx)
	switch reason := queue.ReasonOf(err); {
	case err == nil:
		x.outcome.Redriven = true
	case reason == queue.NoDeadLetterQueue:
		x.refuse(v1alpha1.RequeueRefusal{JobName: all, Reason: v1alpha1.RefusedNoDeadLetterQueue, Message: err.Error()})
	case reason == queue.DeadLetterQueueShared:
		x.refuse(v1alpha1.RequeueRefusal{JobName: all, Reason: v1alpha1.RefusedDeadLetterQueueShared, Message: err.Error()})
	default:
		return x.giveUp(fmt.Errorf("move the messages of the dead-letter queue back: %w", err))
	}
	return nil
}

// NewestFailure returns when the last of a binding's Jobs failed, by the clock that told it: ours may differ. It is zero if none
// has.
func (e *Executor) NewestFailure(ctx context.Context, binding *v1alpha1.QueueBinding) (time.Time, error) {
	var newest time.Time
	err := e.eachFailed(ctx, binding, func(failed []batchv1.Job) error {
		for i := range failed {
			if finished := job.Observe(&failed[i]).Finished; finished.After(newest) {
				newest = finished
			}
		}
		return nil
	})
	return newest, err
}

// eachFailed calls do with the failed Jobs of a binding, whole, a page at a time.
func (e *Executor) eachFailed(ctx context.Context, binding *v1alpha1.QueueBinding, do func([]batchv1.Job) error) error {
	list := &batchv1.JobList{}
	options := []client.ListOption{client.InNamespace(binding.Namespace), client.MatchingLabels{v1alpha1.LabelBinding: binding.Name}, client.Limit(pageSize)}
	for {
		if err := e.Reader.List(ctx, list, options...); err != nil {
			return fmt.Errorf("list Jobs: %w", err)
		}
		failed := slices.DeleteFunc(list.Items, func(each batchv1.Job) bool {
			return job.Owner(&each) != binding.UID || job.Observe(&each).State != job.Failed
		})
		if err := do(failed); err != nil {
			return err
		}
		if list.Continue == "" {
			return nil
		}
		options = append(options[:3:3], client.Continue(list.Continue))
	}
}

// requeue sends the message of one Job again and marks the Job. The Job stays until its successor is seen.
func (x *execution) requeue(ctx context.Context, failed *batchv1.Job) error {
	if refusal := Refusal(x.binding, failed); refusal != nil {
		x.refuse(*refusal)
		return nil
	}
	secrets, err := Secrets(ctx, x.Reader, failed)
	if err != nil {
		return x.giveUp(err)
	}
	message, tied, err := job.NextAttempt(x.Keys(), x.binding.Spec.Queue.URL, failed, secrets, x.fifo)
	if err != nil {
		x.refuse(v1alpha1.RequeueRefusal{JobName: failed.Name, Reason: v1alpha1.RefusedNotSendable, Message: err.Error()})
		return nil
	}
	if err := x.queue.Send(ctx, message); err != nil {
		if queue.ReasonOf(err) == queue.InvalidMessage {
			x.refuse(v1alpha1.RequeueRefusal{JobName: failed.Name, Reason: v1alpha1.RefusedNotSendable, Message: err.Error()})
			return nil
		}
		return x.giveUp(fmt.Errorf("send the message of Job %s: %w", failed.Name, err))
	}
	if err := x.mark(ctx, failed, tied); err != nil {
		return x.giveUp(fmt.Errorf("mark Job %s: %w", failed.Name, creator.WithoutValues(err)))
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.outcome.Requeued = append(x.outcome.Requeued, failed.Name)
	if !tied {
		x.outcome.Untied = append(x.outcome.Untied, failed.Name)
	}
	return nil
}

// mark notes on the Job that its message was sent. The UID keeps it off another Job of the same name.
func (x *execution) mark(ctx context.Context, failed *batchv1.Job, tied bool) error {
	annotations := map[string]string{v1alpha1.AnnotationRequeuedAt: x.Clock.Now().UTC().Format(time.RFC3339)}
	if !tied {
		annotations[v1alpha1.AnnotationUntied] = "true"
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":         failed.UID,
		"annotations": annotations,
	}})
	if err != nil {
		return err
	}
	target := &batchv1.Job{}
	target.Namespace, target.Name = failed.Namespace, failed.Name
	err = x.Client.Patch(ctx, target, client.RawPatch(types.MergePatchType, patch))
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // its successor was seen already, or the user deleted it: the message is on the queue
	}
	return err
}

func (x *execution) refuse(refusal v1alpha1.RequeueRefusal) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.outcome.Refused = append(x.outcome.Refused, refusal)
}
