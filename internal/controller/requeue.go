package controller

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/requeue"
)

// requeueAsked does what the binding's annotation asks for, and takes out of the annotation what was done. The result
// is nil where nothing was asked for, or nothing can be done yet. Where there is an error, what is left stays asked for.
func (r *Reconciler) requeueAsked(ctx context.Context, binding *v1alpha1.QueueBinding, q queue.Queue) (*v1alpha1.RequeueResult, requeue.Outcome, error) {
	text, asked := binding.Annotations[v1alpha1.AnnotationRequeue]
	if !asked || q == nil {
		return nil, requeue.Outcome{}, nil
	}
	intent, malformed := requeue.Parse(text)
	if intent.All && intent.Before.IsZero() {
		// Fixed before anything is done: a Job that fails again while this goes on is not meant.
		intent.Before = r.Clock.Now()
		if err := r.setIntent(ctx, binding, intent); apierrors.IsConflict(err) {
			return nil, requeue.Outcome{}, nil // somebody asked for more meanwhile, and that change brings us back
		} else if err != nil {
			return nil, requeue.Outcome{}, fmt.Errorf("fix the time of a requeue: %w", err)
		}
	}

	var outcome requeue.Outcome
	var err error
	if len(intent.Names) > requeue.MaxNames {
		outcome.Done = requeue.Named(intent.SortedNames()...)
		malformed = append(malformed, fmt.Sprintf("%d names", len(intent.Names)))
		intent.Names = nil
	}
	if !intent.IsEmpty() {
		done := outcome.Done
		outcome, err = r.Executor.Do(ctx, binding, q, intent)
		outcome.Done = outcome.Done.Merge(done)
	}
	for _, word := range malformed {
		outcome.Refused = append(outcome.Refused, v1alpha1.RequeueRefusal{
			JobName: word, Reason: v1alpha1.RefusedInvalidRequest,
			Message: fmt.Sprintf("annotation %s takes `all` or a comma-separated list of at most %d Job names", v1alpha1.AnnotationRequeue, requeue.MaxNames),
		})
	}
	r.Metrics.Requeued(client.ObjectKeyFromObject(binding), len(outcome.Requeued))

	if removal := r.finishIntent(ctx, binding, outcome.Done); removal != nil && err == nil {
		err = fmt.Errorf("take a requeue out of the annotation: %w", removal)
	}
	if err != nil && len(outcome.Requeued) == 0 && len(outcome.Refused) == 0 {
		return nil, outcome, err
	}
	result := &v1alpha1.RequeueResult{
		Time:         metav1.NewTime(r.Clock.Now()),
		RequeuedJobs: int32(len(outcome.Requeued)),
		RefusedJobs:  int32(len(outcome.Refused)),
		Refused:      outcome.Refused[:min(len(outcome.Refused), mostListed)],
	}
	return result, outcome, err
}

// setIntent writes an intent, unless somebody else wrote one meanwhile.
func (r *Reconciler) setIntent(ctx context.Context, binding *v1alpha1.QueueBinding, intent requeue.Intent) error {
	before := binding.DeepCopy()
	if text := intent.String(); text != "" {
		binding.Annotations[v1alpha1.AnnotationRequeue] = text
	} else {
		delete(binding.Annotations, v1alpha1.AnnotationRequeue)
	}
	// The lock: others merge their wishes into the annotation, and a blind write would drop them.
	return r.Client.Patch(ctx, binding, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

// finishIntent takes what was done out of the annotation, as it is by now.
func (r *Reconciler) finishIntent(ctx context.Context, binding *v1alpha1.QueueBinding, done requeue.Intent) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		current := &v1alpha1.QueueBinding{}
		if err := r.Reader.Get(ctx, client.ObjectKeyFromObject(binding), current); err != nil {
			return client.IgnoreNotFound(err)
		}
		text, asked := current.Annotations[v1alpha1.AnnotationRequeue]
		if !asked || current.UID != binding.UID {
			return nil
		}
		intent, _ := requeue.Parse(text)
		rest := intent.Without(done)
		if rest.String() == text {
			return nil
		}
		return r.setIntent(ctx, current, rest)
	})
}

// tellRequeue records events about a requeue.
func (r *Reconciler) tellRequeue(binding *v1alpha1.QueueBinding, outcome requeue.Outcome) {
	if n := len(outcome.Requeued); n > 0 {
		r.normal(binding, v1alpha1.EventRequeued, "Requeue", "Sent the messages of %d failed Jobs again: %s", n, someOf(outcome.Requeued))
	}
	if n := len(outcome.Untied); n > 0 {
		r.warn(binding, v1alpha1.EventRequeued, "Requeue", "The messages of %d Jobs had no room for the lineage attribute and count as new messages: %s", n, someOf(outcome.Untied))
	}
	if n := len(outcome.Refused); n > 0 {
		first := outcome.Refused[0]
		r.warn(binding, v1alpha1.EventRequeueRefused, "Requeue", "Refused to requeue %d Jobs; the first is %s: %s", n, first.JobName, first.Message)
	}
}

// someOf lists names, not so many that the event would be refused.
func someOf(names []string) string {
	if len(names) <= mostListed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:mostListed], ", "), len(names)-mostListed)
}
