package tracing

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Nothing but OpenTelemetry's own variables turns tracing on, and nothing in them keeps the operator from starting.
func TestTheEnvironmentDecides(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for name, tc := range map[string]struct {
		env         map[string]string
		want        string
		wantProblem string
	}{
		"nothing":               {},
		"a name alone":          {env: map[string]string{"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_SAMPLER": "always_on"}},
		"an endpoint":           {env: map[string]string{endpoint: "http://x"}, want: protocolHTTP},
		"one for traces":        {env: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, want: protocolHTTP},
		"one for metrics alone": {env: map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x"}},
		"an exporter":           {env: map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, want: protocolHTTP},
		"none":                  {env: map[string]string{endpoint: "http://x", "OTEL_TRACES_EXPORTER": "none"}},
		"disabled":              {env: map[string]string{endpoint: "http://x", "OTEL_SDK_DISABLED": "TRUE"}},
		"not disabled":          {env: map[string]string{endpoint: "http://x", "OTEL_SDK_DISABLED": "yes"}, want: protocolHTTP},
		"gRPC":                  {env: map[string]string{endpoint: "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, want: protocolGRPC},
		"gRPC for traces":       {env: map[string]string{endpoint: "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, want: protocolGRPC},
		"an unknown exporter":   {env: map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, wantProblem: "zipkin"},
		"an unknown protocol":   {env: map[string]string{endpoint: "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, wantProblem: "http/json"},
	} {
		t.Run(name, func(t *testing.T) {
			got, problem := wanted(func(key string) string { return tc.env[key] })
			if got != tc.want || !strings.Contains(problem, tc.wantProblem) || problem != "" && tc.wantProblem == "" {
				t.Errorf("got %q and %q, want %q and %q", got, problem, tc.want, tc.wantProblem)
			}
		})
	}
}

func setenv(t *testing.T, pairs ...string) func(string) string {
	t.Helper()
	values := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		t.Setenv(pairs[i], pairs[i+1]) // the exporters read theirs themselves
		values[pairs[i]] = pairs[i+1]
	}
	return func(key string) string { return values[key] }
}

// An exporter that hangs is waited for by nobody, and spans that it does not take are dropped, not kept.
func TestAHangingExporterStopsNothing(t *testing.T) {
	for name, protocol := range map[string]string{"HTTP": protocolHTTP, "gRPC": protocolGRPC} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			getenv := setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+listener.Addr().String(), "OTEL_EXPORTER_OTLP_PROTOCOL", protocol,
				"OTEL_BSP_MAX_QUEUE_SIZE", "16", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8", "OTEL_BSP_SCHEDULE_DELAY", "10",
				"OTEL_BSP_EXPORT_TIMEOUT", "1000", "OTEL_EXPORTER_OTLP_TIMEOUT", "1000")
			tracer := New(t.Context(), getenv, logr.Discard())
			if tracer == nil {
				t.Fatal("tracing is off")
			}
			for range 10_000 { // many times what the queue holds: whoever waited for the exporter would wait for the test's end
				process(tracer, trace.SpanContext{}, 1).End("created", "a-job", false)
			}
			tracer.Shutdown()
		})
	}
}

// What the exporter has to say is logged, and not for each batch.
func TestAnExporterThatFailsIsToldOf(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	defer server.Close()
	var lines []string
	log := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
	tracer := New(t.Context(), setenv(t, "OTEL_EXPORTER_OTLP_ENDPOINT", server.URL, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1"), log)
	for range 5 {
		process(tracer, trace.SpanContext{}, 1).End("created", "a-job", false)
	}
	tracer.Shutdown()
	if told := strings.Count(strings.Join(lines, " "), "Could not export traces"); told != 1 {
		t.Errorf("told of %d times, want once: %v", told, lines)
	}
}

var testBinding = &Binding{Namespace: "batch", Name: "pings", UID: "the-binding", QueueURL: "https://sqs.eu-west-1.amazonaws.com/123456789012/pings"}

func attempt(n int) Attempt {
	return Attempt{BindingUID: "the-binding", Root: "the-message", Number: n}
}

func process(t *Tracer, source trace.SpanContext, n int) *Process {
	return t.Process(testBinding, &Message{ID: "the-message", Source: source, Attempt: attempt(n), Receives: 1}, trace.SpanContext{})
}

func recorded(options ...sdktrace.TracerProviderOption) (*Tracer, *tracetest.SpanRecorder) {
	recorder := tracetest.NewSpanRecorder()
	return NewWith(append(options, sdktrace.WithSpanProcessor(recorder))...), recorder
}

// The context that a Job gives its containers follows from the message alone: whoever makes the Job again makes the same.
func TestTheJobsContextFollowsFromTheMessage(t *testing.T) {
	source := Extract("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=1", "")
	unsampled := Extract("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "", "")
	first, _ := recorded()
	second, _ := recorded()
	for name, from := range map[string]trace.SpanContext{"with a context": source, "without one": {}, "not sampled": unsampled} {
		a, b := process(first, from, 1).Job(attempt(1)), process(second, from, 1).Job(attempt(1))
		if !a.IsValid() || !a.Equal(b) {
			t.Errorf("%s: %v and %v, want the same", name, a, b)
		}
		if from.IsValid() && (a.TraceID() != from.TraceID() || a.IsSampled() != from.IsSampled() || a.TraceState().String() != from.TraceState().String()) {
			t.Errorf("%s: %v, want the producer's trace, decision and state", name, a)
		}
		if next := process(first, from, 2).Job(attempt(2)); next.TraceID() != a.TraceID() || next.SpanID() == a.SpanID() {
			t.Errorf("%s: the next attempt has %v after %v, want the same trace and another span", name, next, a)
		}
	}
	if other := process(first, trace.SpanContext{}, 1).Job(Attempt{BindingUID: "another", Root: "the-message", Number: 1}); other.SpanID() == process(first, trace.SpanContext{}, 1).Job(attempt(1)).SpanID() {
		t.Error("another binding's Job has the same span")
	}
}

// Who samples nothing changes no Job, but for messages that somebody else follows.
func TestWhatIsNotSampledChangesNoJob(t *testing.T) {
	tracer, _ := recorded(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())))
	if got := process(tracer, trace.SpanContext{}, 1).Job(attempt(1)); got.IsValid() {
		t.Errorf("the Job gets %v, want nothing", got)
	}
}

// A Job's span is recorded by whoever sees its end, from the Job alone.
func TestTheSpanOfAJobFollowsFromTheJob(t *testing.T) {
	creator, _ := recorded()
	parent, state := Inject(process(creator, trace.SpanContext{}, 2).Job(attempt(2)))
	tracer, recorder := recorded() // another process
	end := time.Unix(1_700_000_060, 0)
	made := &Job{Name: "a-job", UID: "its-uid", Attempt: attempt(2), Traceparent: parent, Tracestate: state}
	tracer.Ended(testBinding, made, end.Add(-time.Minute), end, OutcomeFailed, "BackoffLimitExceeded")
	spans := recorder.Ended()
	if len(spans) != 1 {
		t.Fatalf("%d spans, want that of the Job", len(spans))
	}
	span := spans[0]
	if got, _ := Inject(span.SpanContext()); got != parent {
		t.Errorf("the span is %s, want %s", got, parent)
	}
	if !span.StartTime().Equal(end.Add(-time.Minute)) || !span.EndTime().Equal(end) {
		t.Errorf("from %s to %s", span.StartTime(), span.EndTime())
	}
	if span.Parent().SpanID() != attempt(2).spanID(spanCreate) {
		t.Error("it is not the creation's child")
	}
	if links := span.Links(); len(links) != 1 || links[0].SpanContext.SpanID() != attempt(1).spanID(spanJob) || links[0].SpanContext.TraceID() != span.SpanContext().TraceID() {
		t.Errorf("links %v, want one to the attempt before", links)
	}
	for name, forged := range map[string]string{
		"none": "", "malformed": "no", "another's": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "long": strings.Repeat("0", 1<<18),
	} {
		tracer.Ended(testBinding, &Job{Attempt: attempt(2), Traceparent: forged}, end, end, OutcomeFailed, "")
		if n := len(recorder.Ended()); n != 1 {
			t.Errorf("%s: a span was recorded", name)
		}
	}
}

// A requeue is in the trace of the attempt before, linked to its Job, and hands the context on.
func TestARequeueIsLinkedToTheAttemptBefore(t *testing.T) {
	tracer, recorder := recorded()
	own := process(tracer, trace.SpanContext{}, 1).Job(attempt(1))
	parent, _ := Inject(own)
	made := &Job{Name: "a-job", Attempt: attempt(1), Traceparent: parent}
	requeue := tracer.Requeue(testBinding, made)
	requeue.End("")
	span := recorder.Ended()[0]
	if len(span.Links()) != 1 || !span.Links()[0].SpanContext.Equal(own.WithRemote(true)) {
		t.Errorf("links %v, want one to %v", span.Links(), own)
	}
	if got := Extract("", "", requeue.TraceHeader); got.TraceID() != own.TraceID() || got.SpanID() != span.SpanContext().SpanID() {
		t.Errorf("it hands on %q", requeue.TraceHeader)
	}
	var off *Tracer
	if got := Extract("", "", off.Requeue(testBinding, made).TraceHeader); got.SpanID() != own.SpanID() {
		t.Errorf("without a tracer it hands on %v, want what the Job bears", got)
	}
	if got := tracer.Requeue(testBinding, &Job{Attempt: attempt(1)}); got.TraceHeader != "" {
		t.Errorf("of a Job that nobody follows it hands on %q", got.TraceHeader)
	}
}

// A tracer that is off costs nothing.
func TestOffAllocatesNothing(t *testing.T) {
	var off *Tracer
	now := time.Now()
	message := &Message{}
	if n := testing.AllocsPerRun(100, func() {
		off.Received(testBinding, now, now, nil)
		off.ReceiveFailed(testBinding, now, now, "")
		p := off.Process(testBinding, message, trace.SpanContext{})
		p.Rendered(now, "")
		p.Created(now, "", Attempt{}, "")
		p.Acknowledging()
		p.End("", "", false)
		off.Ended(testBinding, nil, now, now, "", "")
		off.Shutdown()
	}); n != 0 {
		t.Errorf("it took %v allocations", n)
	}
}

var _ sdktrace.IDGenerator = generator{}

func TestDrawnIDsDiffer(t *testing.T) {
	one, span := generator{}.NewIDs(context.Background())
	other, another := generator{}.NewIDs(context.Background())
	if one == other || span == another || !one.IsValid() || !span.IsValid() {
		t.Errorf("%s %s, then %s %s", one, span, other, another)
	}
}
