package controller

import (
	"context"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/tracing"
)

// recentEnd is how long ago a Job may have ended that an operator finds when it begins, and of which the one before it may not have
// told: until another operator leads, or the Pod has started again, no one is there. One that was told of is told of again as the very
// same span.
const recentEnd = 10 * time.Minute

// ends tells the tracer of Jobs that have ended. A nil *ends tells of none.
type ends struct {
	tracer *tracing.Tracer
	clock  clock.PassiveClock
	// binding reads the binding of a name from the cache, and returns nil where it is not this operator's.
	binding func(ctx context.Context, key types.NamespacedName) *v1alpha1.QueueBinding
}

func (r *Reconciler) ends() *ends {
	if r.Tracer == nil {
		return nil
	}
	return &ends{tracer: r.Tracer, clock: r.Clock, binding: func(ctx context.Context, key types.NamespacedName) *v1alpha1.QueueBinding {
		binding := &v1alpha1.QueueBinding{}
		if err := r.Client.Get(ctx, key, binding); err != nil || !r.selects(binding) {
			return nil
		}
		return binding
	}}
}

// found is told of a Job that was not seen before.
func (e *ends) found(ctx context.Context, object client.Object) {
	if e == nil {
		return
	}
	if record := job.Observe(object.(*batchv1.Job)); record.State != job.Active && e.clock.Since(record.Finished) < recentEnd {
		e.tell(ctx, object, record.Finished, outcomeOf(&record), record.Reason)
	}
}

// changed is told of a Job that changed.
func (e *ends) changed(ctx context.Context, before, after client.Object) {
	if e == nil {
		return
	}
	record := job.Observe(after.(*batchv1.Job))
	if record.State != job.Active && (before.GetUID() != after.GetUID() || job.Observe(before.(*batchv1.Job)).State == job.Active) {
		e.tell(ctx, after, record.Finished, outcomeOf(&record), record.Reason)
	}
}

// deleted is told of a Job that is gone.
func (e *ends) deleted(ctx context.Context, object client.Object) {
	if e == nil {
		return
	}
	if job.Observe(object.(*batchv1.Job)).State == job.Active {
		e.tell(ctx, object, e.clock.Now(), tracing.OutcomeDeleted, "")
	}
}

func outcomeOf(record *job.Record) string {
	if record.State == job.Succeeded {
		return tracing.OutcomeSucceeded
	}
	return tracing.OutcomeFailed
}

func (e *ends) tell(ctx context.Context, object client.Object, ended time.Time, outcome, reason string) {
	made := object.(*batchv1.Job)
	given, uid := job.RecordedTrace(made), job.Owner(made)
	lineage, ok := job.RecordedLineage(made)
	if given.Parent == "" || !ok || uid == "" {
		return
	}
	binding := e.binding(ctx, types.NamespacedName{Namespace: made.Namespace, Name: metav1.GetControllerOf(made).Name})
	if binding == nil || binding.UID != uid {
		return
	}
	started := made.CreationTimestamp.Time
	if made.Status.StartTime != nil {
		started = made.Status.StartTime.Time
	}
	e.tracer.Ended(&tracing.Binding{
		Namespace: binding.Namespace, Name: binding.Name, UID: string(uid), QueueURL: binding.Spec.Queue.URL,
	}, &tracing.Job{
		Name: made.Name, UID: string(made.UID), Traceparent: given.Parent, Tracestate: given.State,
		Attempt: tracing.Attempt{BindingUID: string(uid), Root: lineage.Root, Number: lineage.Attempt},
	}, started, ended, outcome, reason)
}
