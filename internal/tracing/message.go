package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
)

// Received records a receive that brought messages, and returns the span's context. sources are the contexts that the messages came
// with, and may be invalid.
func (t *Tracer) Received(b *Binding, began, ended time.Time, sources []trace.SpanContext) trace.SpanContext {
	if t == nil {
		return trace.SpanContext{}
	}
	var links []trace.Link
	for _, source := range sources {
		if source.IsValid() {
			links = append(links, trace.Link{SpanContext: source})
		}
	}
	span := t.receive(b, began, trace.WithLinks(links...), trace.WithAttributes(semconv.MessagingBatchMessageCount(len(sources))))
	span.End(trace.WithTimestamp(ended))
	return span.SpanContext()
}

// ReceiveFailed records a receive that failed, with the reason.
func (t *Tracer) ReceiveFailed(b *Binding, began, ended time.Time, reason string) {
	if t == nil {
		return
	}
	span := t.receive(b, began)
	fail(span, reason)
	span.End(trace.WithTimestamp(ended))
}

func (t *Tracer) receive(b *Binding, began time.Time, more ...trace.SpanStartOption) trace.Span {
	_, span := t.tracer.Start(context.Background(), "receive "+b.queueName(), append(more,
		trace.WithNewRoot(), trace.WithTimestamp(began), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(b.onQueue("receive", semconv.MessagingOperationTypeReceive)...))...)
	return span
}

// fail says of a span why it failed: by a reason, never by a text that may quote a message.
func fail(span trace.Span, reason string) {
	span.SetStatus(codes.Error, reason)
	span.SetAttributes(semconv.ErrorTypeKey.String(reason))
}

// Message is what spans tell of a message.
type Message struct {
	ID string
	// Source is the context that the message came with; it may be invalid.
	Source trace.SpanContext
	// Attempt is the one that the message is for.
	Attempt Attempt
	// Receives is how often it was received.
	Receives int
}

// Process is the span of a message from its receive until it is decided what becomes of it. A nil *Process records nothing.
type Process struct {
	tracer  *Tracer
	binding *Binding
	message *Message
	ctx     context.Context
	span    trace.Span
}

// Process begins the span of a message, within the trace of its producer; where that began none, in one that follows from the
// message. received is the context of the receive that brought it.
func (t *Tracer) Process(b *Binding, message *Message, received trace.SpanContext) *Process {
	if t == nil {
		return nil
	}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), message.Source)
	if !message.Source.IsValid() {
		ctx = choose(context.Background(), chosen{traceID: message.Attempt.traceID()})
	}
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(b.onQueue("process", semconv.MessagingOperationTypeProcess, message.attributes()...)...),
	}
	if received.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: received}))
	}
	_, span := t.tracer.Start(ctx, "process "+b.queueName(), options...)
	return &Process{tracer: t, binding: b, message: message, ctx: trace.ContextWithSpan(context.Background(), span), span: span}
}

func (m *Message) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{
		semconv.MessagingMessageID(m.ID), keyRoot.String(m.Attempt.Root), keyAttempt.Int(m.Attempt.Number), keyReceives.Int(m.Receives),
	}
}

// Job returns the context that the Job of an attempt at the message gives its containers: that of the Job's own span. It is invalid
// where nobody follows the message: it is not sampled, and came with no context.
func (p *Process) Job(attempt Attempt) trace.SpanContext {
	if own := p.span.SpanContext(); own.IsSampled() || p.message.Source.IsValid() {
		return attempt.context(spanJob, own)
	}
	return trace.SpanContext{}
}

// Rendered records that the Job was rendered, or that it could not be, and why.
func (p *Process) Rendered(began time.Time, refused string) {
	if p == nil {
		return
	}
	_, span := p.tracer.tracer.Start(p.ctx, "render Job", trace.WithTimestamp(began), trace.WithAttributes(p.binding.inCluster()...))
	if refused != "" {
		fail(span, refused)
	}
	span.End()
}

// Created records that the Job of an attempt was created, or was found to be there, or why it was not. The span of the Job itself
// is a child of this one, which therefore has an ID that follows from the attempt.
func (p *Process) Created(began time.Time, name string, attempt Attempt, refused string) {
	if p == nil {
		return
	}
	ctx := p.ctx
	if refused == "" {
		ctx = choose(ctx, chosen{spanID: attempt.spanID(spanCreate)})
	}
	_, span := p.tracer.tracer.Start(ctx, "create Job", trace.WithTimestamp(began), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithLinks(attempt.links(p.span.SpanContext())...),
		trace.WithAttributes(p.binding.inCluster(semconv.K8SJobName(name), keyRoot.String(attempt.Root), keyAttempt.Int(attempt.Number))...))
	if refused != "" {
		fail(span, refused)
	}
	span.End()
}

// links ties an attempt to the Job of the one before it, which is in the same trace.
func (a Attempt) links(like trace.SpanContext) []trace.Link {
	before, ok := a.before()
	if !ok {
		return nil
	}
	return []trace.Link{{SpanContext: before.context(spanJob, like)}}
}

// Acknowledging begins the span of the message's deletion, and returns what is to be called when it is deleted; nil where nobody
// follows the message.
func (p *Process) Acknowledging() (deleted func()) {
	if p == nil || !p.span.IsRecording() {
		return nil
	}
	return p.tracer.acknowledging(p.ctx, p.binding, semconv.MessagingMessageID(p.message.ID))
}

func (t *Tracer) acknowledging(ctx context.Context, b *Binding, more ...attribute.KeyValue) (deleted func()) {
	_, span := t.tracer.Start(ctx, "settle "+b.queueName(), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(b.onQueue("delete", semconv.MessagingOperationTypeSettle, more...)...))
	return func() { span.End() }
}

// End ends the span, with what became of the message and the name of the Job that answers for it, if there is one. failed reports
// whether the message went back to the queue.
func (p *Process) End(result, jobName string, failed bool) {
	if p == nil {
		return
	}
	p.span.SetAttributes(keyResult.String(result))
	if jobName != "" {
		p.span.SetAttributes(semconv.K8SJobName(jobName))
	}
	if failed {
		fail(p.span, result)
	}
	p.span.End()
}
