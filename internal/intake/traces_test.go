package intake

import (
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/tracing"
)

const ofProducer = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func traced(body, traceparent string) queue.Message {
	return queue.Message{ID: "message-" + body, Body: body, Attributes: queue.Attributes{v1alpha1.AttributeTraceparent: {DataType: "String", StringValue: traceparent}}}
}

// Whoever makes the Job of a message, before a crash or after it, makes it with the same context.
func TestAJobMadeAgainHasTheSameContext(t *testing.T) {
	for name, tc := range map[string]struct {
		message queue.Message
		off     bool
		want    bool
	}{
		"with a context":               {message: traced("a", ofProducer), want: true},
		"with X-Ray's":                 {message: queue.Message{ID: "a", TraceHeader: "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"}, want: true},
		"without one":                  {message: queue.Message{ID: "a"}, want: true},
		"with one, off":                {message: traced("a", ofProducer), off: true, want: true},
		"without one, off":             {message: queue.Message{ID: "a"}, off: true},
		"with one that is none, off":   {message: traced("a", "not a context"), off: true},
		"with a binary attribute, off": {message: queue.Message{ID: "a", Attributes: queue.Attributes{v1alpha1.AttributeTraceparent: {DataType: "Binary", BinaryValue: []byte(ofProducer)}}}, off: true},
	} {
		t.Run(name, func(t *testing.T) {
			lineage := job.Lineage{Root: tc.message.ID, Attempt: 1}
			made := map[job.Trace]bool{}
			for receives := range 3 {
				tracer := tracing.NewWith() // as of another process
				if tc.off {
					tracer = nil
				}
				received, again := newTraces(tracer, newTestBinding()), tc.message
				again.ReceiveCount = receives + 1
				way := received.process(&again, lineage, received.received(time.Now(), time.Now(), []queue.Message{again}))
				made[way.job(lineage)] = true
			}
			if len(made) != 1 || made[job.Trace{}] == tc.want {
				t.Errorf("the Job gets %v", made)
			}
			if tc.off && tc.want && !made[job.Trace{Parent: ofProducer}] {
				t.Errorf("the Job gets %v, want what the message has", made)
			}
		})
	}
}

// What becomes of a message is told by its span, with reasons and never with words.
func TestTheSpanOfAMessageTellsWhatBecameOfIt(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	tracer := tracing.NewWith(sdktrace.WithSpanProcessor(recorder))
	run(t, nil, func(b *bench) {
		b.loop.handler.traces = newTraces(tracer, b.binding)
		b.queue.Put("a", "bad\x00body")
		time.Sleep(time.Second)
	})
	results := map[string]string{}
	for _, span := range recorder.Ended() {
		id, result := "", ""
		for _, a := range span.Attributes() {
			switch a.Key {
			case "messaging.message.id":
				id = a.Value.AsString()
			case "queuebinding.result":
				result = a.Value.AsString()
			}
		}
		if result != "" {
			results[id] = result + " " + span.Status().Code.String()
		}
	}
	for id, want := range map[string]string{"message-a": "created Unset", "message-bad\x00body": v1alpha1.RejectedUnusableValue + " Error"} {
		if results[id] != want {
			t.Errorf("%q: %q, want %q", id, results[id], want)
		}
	}
}

// A tracer that is off adds nothing to what a message takes, and one that is on not much: see docs/tracing.md.
func TestTracingOffAllocatesNothing(t *testing.T) {
	off := newTraces(nil, newTestBinding())
	message, lineage := &queue.Message{ID: "a", Body: "b"}, job.Lineage{Root: "a", Attempt: 1}
	now := time.Now()
	if n := testing.AllocsPerRun(100, func() {
		way := off.process(message, lineage, off.received(now, now, nil))
		way.job(lineage)
		way.rendered(now, nil)
		way.created(now, "a-job", lineage, nil)
		way.acknowledging()
		way.answered(job.Record{}, false)
		off.receiveFailed(now, now, nil)
	}); n != 0 {
		t.Errorf("it took %v allocations", n)
	}
}
