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
	"github.com/queuebinding/queuebinding/internal/metrics"
	"github.com/queuebinding/queuebinding/internal/tracing"
)

// recentEnd is how long ago a Job may have ended that an operator finds when it begins, and of which the one before it may not have
// told: until another operator leads, or the Pod has started again, no one is there. One that was told of is told of again as the very
// same span.
const recentEnd = 10 * time.Minute

// ends has the metrics count Jobs that have ended, and the tracer told of them.
type ends struct {
	metrics *metrics.Metrics
	// tracer is nil where tracing is off.
	tracer *tracing.Tracer
	clock  clock.PassiveClock
	// binding reads the binding of a name from the cache, and returns nil where it is not this operator's.
	binding func(ctx context.Context, key types.NamespacedName) *v1alpha1.QueueBinding
}

func (r *Reconciler) ends() *ends {
	return &ends{metrics: r.Metrics, tracer: r.Tracer, clock: r.Clock, binding: func(ctx context.Context, key types.NamespacedName) *v1alpha1.QueueBinding {
		binding := &v1alpha1.QueueBinding{}
		if err := r.Client.Get(ctx, key, binding); err != nil || !r.selects(binding) {
			return nil
		}
		return binding
	}}
}

// found is told of a Job that was not seen before. It is not counted: another operator may have done so.
func (e *ends) found(ctx context.Context, object client.Object) {
	if e.tracer == nil {
		return
	}
	if record := job.Observe(object.(*batchv1.Job)); record.State != job.Active && e.clock.Since(record.Finished) < recentEnd {
		e.tell(ctx, object, record.Finished, outcomeOf(record.State), record.Reason)
	}
}

// changed is told of a Job that changed.
func (e *ends) changed(ctx context.Context, before, after client.Object) {
	if before.GetUID() != after.GetUID() {
		e.found(ctx, after)
		return
	}
	end, ended := job.ObserveEnd(before.(*batchv1.Job), after.(*batchv1.Job))
	if !ended {
		return
	}
	e.count(ctx, after.(*batchv1.Job), end)
	e.tell(ctx, after, end.Finished, outcomeOf(end.State), end.Reason)
}

// deleted is told of a Job that is gone.
func (e *ends) deleted(ctx context.Context, object client.Object) {
	if e.tracer == nil {
		return
	}
	if job.Observe(object.(*batchv1.Job)).State == job.Active {
		e.tell(ctx, object, e.clock.Now(), tracing.OutcomeDeleted, "")
	}
}

func outcomeOf(state job.State) string {
	if state == job.Succeeded {
		return tracing.OutcomeSucceeded
	}
	return tracing.OutcomeFailed
}

func (e *ends) count(ctx context.Context, ended *batchv1.Job, end job.End) {
	if job.Owner(ended) == "" {
		return
	}
	how := metrics.OutcomeSucceeded
	if end.State == job.Failed {
		how = metrics.OutcomeFailed
	}
	given := job.RecordedTrace(ended)
	ctx = tracing.Within(ctx, tracing.Extract(given.Parent, given.State, "")) // for the exemplar
	e.metrics.Known(types.NamespacedName{Namespace: ended.Namespace, Name: metav1.GetControllerOf(ended).Name}).Finished(ctx, how, end.Took, end.SinceSent)
}

func (e *ends) tell(ctx context.Context, object client.Object, ended time.Time, outcome, reason string) {
	if e.tracer == nil {
		return
	}
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
