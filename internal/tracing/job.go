package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
)

// Job is what spans tell of a Job.
type Job struct {
	Name, UID string
	Attempt   Attempt
	// Traceparent and Tracestate are the context that the Job gave its containers, as it bears it.
	Traceparent, Tracestate string
}

// Outcomes of a Job.
const (
	OutcomeSucceeded = "succeeded"
	OutcomeFailed    = "failed"
	// OutcomeDeleted is that of a Job which was deleted before its end.
	OutcomeDeleted = "deleted"
)

// context returns the context of the Job's own span. It is invalid where the Job has none: it was created without tracing, and
// passes on to its containers what its message came with, or somebody wrote on it.
func (j *Job) context() trace.SpanContext {
	if j.Traceparent == "" {
		return trace.SpanContext{}
	}
	own := Extract(j.Traceparent, j.Tracestate, "")
	if own.SpanID() != j.Attempt.spanID(spanJob) {
		return trace.SpanContext{}
	}
	return own
}

// Ended records a Job that has ended, from its start to its end, with its outcome and the reason of one that failed. All of the span
// follows from the Job: an operator that was not there at its start records the same, and one that tells of it twice tells the same.
func (t *Tracer) Ended(b *Binding, j *Job, started, ended time.Time, outcome, reason string) {
	if t == nil {
		return
	}
	own := j.context()
	if !own.IsValid() {
		return
	}
	parent := trace.ContextWithRemoteSpanContext(context.Background(), j.Attempt.context(spanCreate, own))
	_, span := t.tracer.Start(choose(parent, chosen{spanID: own.SpanID()}), "Job "+b.Name, trace.WithTimestamp(started),
		trace.WithLinks(j.Attempt.links(own)...),
		trace.WithAttributes(b.inCluster(semconv.K8SJobName(j.Name), semconv.K8SJobUID(j.UID), keyRoot.String(j.Attempt.Root),
			keyAttempt.Int(j.Attempt.Number), keyOutcome.String(outcome))...))
	if outcome != OutcomeSucceeded {
		span.SetStatus(codes.Error, outcome)
		if reason != "" {
			span.SetAttributes(keyReason.String(reason))
		}
	}
	span.End(trace.WithTimestamp(ended))
}

// Acknowledging begins the span of the deletion of a Job's message, after the Job has succeeded, and returns what is to be called
// when it is deleted; nil where nobody follows the Job.
func (t *Tracer) Acknowledging(b *Binding, j *Job) (deleted func()) {
	if t == nil {
		return nil
	}
	own := j.context()
	if !own.IsValid() {
		return nil
	}
	return t.acknowledging(trace.ContextWithRemoteSpanContext(context.Background(), own), b, semconv.K8SJobName(j.Name))
}

// Requeue is the span of a failed Job's message that is sent again. The zero value records nothing.
type Requeue struct {
	span trace.Span
	// TraceHeader is the context for a message that has none of its own, as X-Ray's header: SQS keeps it beside the message, where
	// it takes no room and changes no attribute. It is empty where nobody follows the Job.
	TraceHeader string
}

// Requeue begins the span of sending a Job's message again, in the Job's trace and linked to it.
func (t *Tracer) Requeue(b *Binding, j *Job) Requeue {
	given := Extract(j.Traceparent, j.Tracestate, "")
	if t == nil || !given.IsValid() {
		return Requeue{TraceHeader: TraceHeader(given)}
	}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), given)
	_, span := t.tracer.Start(ctx, "send "+b.queueName(), trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithLinks(trace.Link{SpanContext: given}),
		trace.WithAttributes(b.onQueue("send", semconv.MessagingOperationTypeSend,
			semconv.K8SJobName(j.Name), keyRoot.String(j.Attempt.Root), keyAttempt.Int(j.Attempt.Number+1))...))
	return Requeue{span: span, TraceHeader: TraceHeader(span.SpanContext())}
}

// End ends the span, with the reason of a failure, or an empty one.
func (r Requeue) End(failed string) {
	if r.span == nil {
		return
	}
	if failed != "" {
		fail(r.span, failed)
	}
	r.span.End()
}
