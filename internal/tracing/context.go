package tracing

import (
	"context"
	"encoding/hex"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Producers can write anything into a message. What is longer than these is ignored, before it is parsed.
const (
	// maxTraceparent has room for versions of W3C's header after the first, which has 55 bytes.
	maxTraceparent = 128
	// maxTracestate is what W3C asks everybody to pass on at least.
	maxTracestate = 512
	// maxTraceHeader has room for an X-Ray header with its three fields and some that are not known.
	maxTraceHeader = 256
)

const (
	keyTraceparent = "traceparent"
	keyTracestate  = "tracestate"
)

var propagator propagation.TraceContext

// Extract returns the trace context that a message came with: that of its attributes traceparent and tracestate, by W3C's Trace
// Context, or else of its system attribute AWSTraceHeader, by AWS X-Ray. It returns an invalid one where neither is well formed.
func Extract(traceparent, tracestate, traceHeader string) trace.SpanContext {
	if traceparent != "" && len(traceparent) <= maxTraceparent {
		carrier := propagation.MapCarrier{keyTraceparent: traceparent}
		if len(tracestate) <= maxTracestate {
			carrier[keyTracestate] = tracestate
		}
		if found := trace.SpanContextFromContext(propagator.Extract(context.Background(), carrier)); found.IsValid() {
			return found
		}
	}
	if traceHeader != "" && len(traceHeader) <= maxTraceHeader {
		return parseTraceHeader(traceHeader)
	}
	return trace.SpanContext{}
}

// Inject returns a trace context as W3C's Trace Context has it; both are empty where it is invalid.
func Inject(of trace.SpanContext) (traceparent, tracestate string) {
	carrier := propagation.MapCarrier{}
	propagator.Inject(trace.ContextWithSpanContext(context.Background(), of), carrier)
	if len(carrier[keyTracestate]) > maxTracestate { // a sampler may have added to it
		delete(carrier, keyTracestate)
	}
	return carrier[keyTraceparent], carrier[keyTracestate]
}

// parseTraceHeader reads X-Ray's header, such as Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1. Root and
// Parent have to be there. A decision that is not made yet is taken for none to sample.
func parseTraceHeader(header string) trace.SpanContext {
	config := trace.SpanContextConfig{Remote: true}
	for field := range strings.SplitSeq(header, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch key {
		case "Root":
			// Version, seconds and the rest: 1-8-24.
			if len(value) != 35 || value[:2] != "1-" || value[10] != '-' || !decode(config.TraceID[:], value[2:10]+value[11:]) {
				return trace.SpanContext{}
			}
		case "Parent":
			if !decode(config.SpanID[:], value) {
				return trace.SpanContext{}
			}
		case "Sampled":
			config.TraceFlags = config.TraceFlags.WithSampled(value == "1")
		}
	}
	if found := trace.NewSpanContext(config); found.IsValid() {
		return found
	}
	return trace.SpanContext{}
}

func decode(into []byte, text string) bool {
	if len(text) != hex.EncodedLen(len(into)) {
		return false
	}
	_, err := hex.Decode(into, []byte(text))
	return err == nil
}

// TraceHeader returns a trace context as X-Ray's header, or an empty string where it is invalid.
func TraceHeader(of trace.SpanContext) string {
	if !of.IsValid() {
		return ""
	}
	id, sampled := of.TraceID().String(), "0"
	if of.IsSampled() {
		sampled = "1"
	}
	return "Root=1-" + id[:8] + "-" + id[8:] + ";Parent=" + of.SpanID().String() + ";Sampled=" + sampled
}

// Within returns a context in a trace, for exemplars of metrics, and the same one where there is no trace.
func Within(ctx context.Context, span trace.SpanContext) context.Context {
	if !span.IsValid() {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, span)
}
