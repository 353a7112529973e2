package controller

import (
	"context"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/tracing"
)

// Each end of a Job is told of once, by the operator whose binding it is of; those from before it began are told of if they are recent.
func TestTheEndOfAJobIsToldOfOnce(t *testing.T) {
	now := time.Unix(1_700_000_000, 0).UTC()
	binding := &v1alpha1.QueueBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: "pings", UID: "the-binding"}}
	tracer := tracing.NewWith()
	process := tracer.Process(&tracing.Binding{}, &tracing.Message{Attempt: tracing.Attempt{BindingUID: "the-binding", Root: "m", Number: 1}}, trace.SpanContext{})
	given := job.Trace{}
	given.Parent, given.State = tracing.Inject(process.Job(tracing.Attempt{BindingUID: "the-binding", Root: "m", Number: 1}))
	aJob := func(change ...func(*batchv1.Job)) *batchv1.Job {
		made, err := job.Render(t.Context(), binding, &job.Variables{}, &queue.Message{ID: "m", Body: "x"}, job.Lineage{Root: "m", Attempt: 1}, given)
		if err != nil {
			t.Fatal(err)
		}
		made.UID, made.Status.StartTime = "its-uid", &metav1.Time{Time: now.Add(-time.Hour)}
		for _, c := range change {
			c(made)
		}
		return made
	}
	ended := func(kind batchv1.JobConditionType, ago time.Duration) func(*batchv1.Job) {
		return func(j *batchv1.Job) {
			j.Status.Conditions = []batchv1.JobCondition{{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-ago))}}
		}
	}
	complete, failed := ended(batchv1.JobComplete, time.Minute), ended(batchv1.JobFailed, time.Minute)
	for name, tc := range map[string]struct {
		happens func(context.Context, *ends)
		foreign bool
		want    string
	}{
		"it succeeds":           {happens: func(ctx context.Context, e *ends) { e.changed(ctx, aJob(), aJob(complete)) }, want: tracing.OutcomeSucceeded},
		"it fails":              {happens: func(ctx context.Context, e *ends) { e.changed(ctx, aJob(), aJob(failed)) }, want: tracing.OutcomeFailed},
		"it goes on":            {happens: func(ctx context.Context, e *ends) { e.changed(ctx, aJob(), aJob()) }},
		"it changes afterwards": {happens: func(ctx context.Context, e *ends) { e.changed(ctx, aJob(failed), aJob(failed)) }},
		"it is found running":   {happens: func(ctx context.Context, e *ends) { e.found(ctx, aJob()) }},
		"it ended lately":       {happens: func(ctx context.Context, e *ends) { e.found(ctx, aJob(failed)) }, want: tracing.OutcomeFailed},
		"it ended long ago":     {happens: func(ctx context.Context, e *ends) { e.found(ctx, aJob(ended(batchv1.JobFailed, time.Hour))) }},
		"it is deleted":         {happens: func(ctx context.Context, e *ends) { e.deleted(ctx, aJob()) }, want: tracing.OutcomeDeleted},
		"it is deleted later":   {happens: func(ctx context.Context, e *ends) { e.deleted(ctx, aJob(complete)) }},
		"it is another's":       {happens: func(ctx context.Context, e *ends) { e.changed(ctx, aJob(), aJob(failed)) }, foreign: true},
		"nobody follows it": {happens: func(ctx context.Context, e *ends) {
			e.changed(ctx, aJob(), aJob(failed, func(j *batchv1.Job) { delete(j.Annotations, v1alpha1.AnnotationTraceparent) }))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			recorder := tracetest.NewSpanRecorder()
			tc.happens(t.Context(), &ends{
				tracer: tracing.NewWith(sdktrace.WithSpanProcessor(recorder)), clock: clocktesting.NewFakePassiveClock(now),
				binding: func(context.Context, types.NamespacedName) *v1alpha1.QueueBinding {
					if tc.foreign {
						return nil
					}
					return binding
				},
			})
			got := ""
			for _, span := range recorder.Ended() {
				for _, a := range span.Attributes() {
					if a.Key == "queuebinding.job.outcome" {
						got += a.Value.AsString()
					}
				}
			}
			if got != tc.want {
				t.Errorf("told of %q, want %q", got, tc.want)
			}
		})
	}
	off := &ends{}
	off.found(t.Context(), aJob(failed))
	off.changed(t.Context(), aJob(), aJob(failed))
	off.deleted(t.Context(), aJob())
}
