package intake

import (
	"errors"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/creator"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/tracing"
)

// What becomes of a message, as its span tells it.
const (
	resultCreated  = "created"
	resultFound    = "found"
	resultInHand   = "in_hand"
	resultReturned = "returned"
)

// traces follow the messages of one binding.
type traces struct {
	// tracer is nil where tracing is off.
	tracer  *tracing.Tracer
	binding tracing.Binding
}

func newTraces(tracer *tracing.Tracer, binding *v1alpha1.QueueBinding) traces {
	return traces{tracer: tracer, binding: tracing.Binding{
		Namespace: binding.Namespace, Name: binding.Name, UID: string(binding.UID), QueueURL: binding.Spec.Queue.URL,
	}}
}

// sourceOf is the trace context that a message came with.
func sourceOf(message *queue.Message) trace.SpanContext {
	return tracing.Extract(message.Attributes[v1alpha1.AttributeTraceparent].StringValue, message.Attributes[v1alpha1.AttributeTracestate].StringValue, message.TraceHeader)
}

// received records a receive that brought messages, and returns its context.
func (t *traces) received(began, ended time.Time, messages []queue.Message) trace.SpanContext {
	if t.tracer == nil {
		return trace.SpanContext{}
	}
	sources := make([]trace.SpanContext, len(messages))
	for i := range messages {
		sources[i] = sourceOf(&messages[i])
	}
	return t.tracer.Received(&t.binding, began, ended, sources)
}

// receiveFailed records a receive that failed, by its reason.
func (t *traces) receiveFailed(began, ended time.Time, err error) {
	if t.tracer != nil {
		t.tracer.ReceiveFailed(&t.binding, began, ended, string(queue.ReasonOf(err)))
	}
}

// acknowledging returns what is to be called when the message of a succeeded Job is deleted, or nil.
func (t *traces) acknowledging(record *job.Record) (deleted func()) {
	if t.tracer == nil {
		return nil
	}
	return t.tracer.Acknowledging(&t.binding, &tracing.Job{
		Name:        record.Name,
		Attempt:     tracing.Attempt{BindingUID: t.binding.UID, Root: record.Lineage.Root, Number: record.Lineage.Attempt},
		Traceparent: record.Trace.Parent, Tracestate: record.Trace.State,
	})
}

// way is what is recorded of a message's way. It is worth something without a tracer, too: then a Job passes on the context that its
// message came with.
type way struct {
	uid    string
	source trace.SpanContext
	// span is nil where tracing is off.
	span *tracing.Process
}

// process begins to follow a message that a receive has brought.
func (t *traces) process(message *queue.Message, lineage job.Lineage, received trace.SpanContext) way {
	w := way{uid: t.binding.UID, source: sourceOf(message)}
	if t.tracer != nil {
		w.span = t.tracer.Process(&t.binding, &tracing.Message{
			ID: message.ID, Source: w.source, Attempt: w.attempt(lineage), Receives: message.ReceiveCount,
		}, received)
	}
	return w
}

func (w way) attempt(lineage job.Lineage) tracing.Attempt {
	return tracing.Attempt{BindingUID: w.uid, Root: lineage.Root, Number: lineage.Attempt}
}

// job is the context that the Job of a lineage gives its containers. It follows from message and lineage, so that whoever makes the
// Job again makes the same.
func (w way) job(lineage job.Lineage) job.Trace {
	given := w.source
	if w.span != nil {
		given = w.span.Job(w.attempt(lineage))
	}
	if !given.IsValid() {
		return job.Trace{}
	}
	parent, state := tracing.Inject(given)
	return job.Trace{Parent: parent, State: state}
}

func (w way) rendered(began time.Time, err error) {
	if w.span != nil {
		w.span.Rendered(began, refusal(err))
	}
}

func (w way) created(began time.Time, name string, lineage job.Lineage, err error) {
	if w.span != nil {
		w.span.Created(began, name, w.attempt(lineage), refusal(err))
	}
}

// acknowledging returns what is to be called when the message is deleted, or nil.
func (w way) acknowledging() (deleted func()) {
	if w.span == nil {
		return nil
	}
	return w.span.Acknowledging()
}

// answered ends the span of a message for which a Job answers.
func (w way) answered(record job.Record, found bool) {
	if w.span == nil {
		return
	}
	result := resultCreated
	if found {
		result = resultFound
	}
	w.span.End(result, record.Name, false)
}

// returned ends the span of a message that is left to the queue.
func (w way) returned(cause error) {
	if w.span != nil {
		w.span.End(refusal(cause), "", true)
	}
}

// refusal says by a reason why a message did not become a Job; it is empty where it did. A text might quote the message.
func refusal(err error) string {
	rejection, rejected := errors.AsType[*job.RejectionError](err)
	switch {
	case err == nil:
		return ""
	case rejected:
		return rejection.Reason
	case errors.Is(err, errInHand):
		return resultInHand
	}
	if blocked, ok := errors.AsType[*creator.BlockedError](err); ok {
		return blocked.Reason
	}
	return resultReturned
}

// both calls two functions, one after the other. Each may be nil.
func both(first, second func()) func() {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	return func() {
		first()
		second()
	}
}
