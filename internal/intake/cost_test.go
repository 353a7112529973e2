package intake

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	clientevents "k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/creator"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/metrics"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/queue/fake"
	"github.com/queuebinding/queuebinding/internal/tracing"
)

// What a message costs, in requests: one create, and its share of two requests to SQS that ten share.
func TestRequestsPerMessage(t *testing.T) {
	for name, acknowledge := range map[string]v1alpha1.Acknowledge{
		"on creation": v1alpha1.AcknowledgeOnJobCreated,
		"on success":  v1alpha1.AcknowledgeOnJobSucceeded,
	} {
		t.Run(name, func(t *testing.T) {
			const messages = 400
			run(t, func(b *v1alpha1.QueueBinding) {
				b.Spec.Acknowledge = acknowledge
				b.Spec.Concurrency.MaxActiveJobs = new(int32(messages)) // so that nothing is received in the end
			}, func(b *bench) {
				writes := atomic.Int64{}
				b.setFault(func(create func() error, _ client.Object) error {
					writes.Add(1)
					return create()
				})
				for i := range messages {
					b.queue.Put(fmt.Sprint(i))
				}
				time.Sleep(3 * time.Second) // before anything is extended
				if names, _ := b.jobs(); len(names) != messages || writes.Load() != messages {
					t.Errorf("%d messages became %d Jobs by %d creates", messages, len(names), writes.Load())
				}
				if most := messages / 4; b.queue.Counts().Requests > most {
					t.Errorf("%d messages took %d requests to SQS, want at most %d", messages, b.queue.Counts().Requests, most)
				}
			})
		})
	}
}

// mostAllocations is how many allocations a message may take on its way through the intake, clients aside. It took 141 when
// this was written: raise it if what you add is worth that.
const mostAllocations = 175

func TestAllocationsPerMessage(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates too")
	}
	if got := testing.Benchmark(BenchmarkMessage).AllocsPerOp(); got > mostAllocations {
		t.Errorf("a message takes %d allocations, want at most %d", got, mostAllocations)
	}
}

// accepting is an API server that has created whatever it is asked to.
type accepting struct{ client.Client }

func (accepting) Create(context.Context, client.Object, ...client.CreateOption) error { return nil }

// BenchmarkMessage takes messages through the intake: from the receive to the request for their deletion.
func BenchmarkMessage(b *testing.B) { benchmarkMessage(b, nil) }

// BenchmarkTracedMessage is the same with all spans recorded, for an exporter that cannot keep up.
func BenchmarkTracedMessage(b *testing.B) {
	benchmarkMessage(b, tracing.NewWith(sdktrace.WithBatcher(tracetest.NewNoopExporter())))
}

func benchmarkMessage(b *testing.B, tracer *tracing.Tracer) {
	binding := newTestBinding()
	binding.Spec.Concurrency.MaxActiveJobs = new(int32(1 << 30))
	binding.Spec.Message.Variables = []v1alpha1.Variable{{Name: "target", Expression: "message.json.target"}, {Name: "duration", Expression: "message.json.duration"}}
	binding.Spec.JobTemplate.Spec = batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Containers:    []corev1.Container{{Name: "ping", Image: "alpine", Command: []string{"ping", "-w", "$(duration)", "$(target)"}}},
	}}}
	variables, err := job.CompileVariables(binding.Spec.Message.Variables)
	if err != nil {
		b.Fatal(err)
	}
	loop := newLoop(b.Context(), &Dependencies{
		Client: accepting{}, Recorder: events.NewRecorder(&clientevents.FakeRecorder{}), Ledgers: ledger.NewSet(clock.RealClock{}), Clock: clock.RealClock{}, Limiter: creator.NewLimiter(32), Memory: NewMemory(),
		Keys: func() job.Keys { return testKeys }, Metrics: metrics.New(prometheus.NewRegistry()), Tracer: tracer,
	}, logr.Discard(), &Settings{Binding: binding, Variables: variables}, &fake.Queue{}, func() {})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		message := &queue.Message{ID: fmt.Sprint(i), ReceiptHandle: fmt.Sprint(i), Body: `{"target": "localhost", "duration": 1}`, ReceiveCount: 1, SentTime: time.Now(), ArrivedTime: time.Now()}
		loop.ledger.Reserve(1, loop.settings.Load().limits())
		if !loop.handler.handle(message, trace.SpanContext{}) {
			b.Fatal("the message was given back")
		}
	}
	loop.inFlight.Close()
}
