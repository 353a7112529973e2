package intake

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientevents "k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	clientfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/creator"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/metrics"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/queue/fake"
)

// testKeys verify lineages.
var testKeys = job.Keys{Current: []byte("the key that only operators have")}

// bench runs one loop against an API server whose faults the test chooses.
type bench struct {
	t       *testing.T
	queue   *fake.Queue
	loop    *Loop
	ledgers *ledger.Set
	clock   clock.WithDelayedExecution
	binding *v1alpha1.QueueBinding
	client  client.WithWatch
	memory  *Memory
	// registry has the metrics of the loop.
	registry *prometheus.Registry
	metrics  *metrics.Metrics
	stop     context.CancelFunc
	done     chan struct{}

	mu sync.Mutex
	// blind has created Jobs not seen.
	blind bool
	// fault, where there is one, replaces the creation of an object. It may call create.
	fault   func(create func() error, object client.Object) error
	created map[string]int
}

func newTestBinding() *v1alpha1.QueueBinding {
	return &v1alpha1.QueueBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: "pings", UID: "the-binding"},
		Spec: v1alpha1.QueueBindingSpec{
			Queue:       v1alpha1.Queue{URL: "https://sqs.eu-west-1.amazonaws.com/123456789012/pings", VisibilityTimeoutSeconds: new(int32(30))},
			Concurrency: v1alpha1.Concurrency{MaxActiveJobs: new(int32(2))},
		},
	}
}

// run runs a test with a loop of its own in a time of its own. Jobs are seen as soon as they are created.
func run(t *testing.T, change func(*v1alpha1.QueueBinding), test func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, clock.RealClock{}, change)
		b.start(b.queue)
		test(b)
		b.end()
	})
}

func newBench(t *testing.T, c clock.WithDelayedExecution, change func(*v1alpha1.QueueBinding)) *bench {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	b := &bench{t: t, queue: &fake.Queue{}, created: map[string]int{}, clock: c, ledgers: ledger.NewSet(c), memory: NewMemory(), registry: prometheus.NewPedanticRegistry()}
	b.metrics = metrics.New(b.registry)
	b.client = clientfake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&batchv1.Job{}).WithInterceptorFuncs(interceptor.Funcs{Create: b.create}).Build()
	b.binding = newTestBinding()
	if change != nil {
		change(b.binding)
	}
	return b
}

// start starts the loop, and end ends it as an operator does that stops.
func (b *bench) start(from queue.Queue) {
	stopping, stop := context.WithCancel(b.t.Context())
	b.stop, b.done = stop, make(chan struct{})
	loop := newLoop(stopping, &Dependencies{
		Client: b.client, Reader: b.client, Recorder: events.NewRecorder(clientevents.NewFakeRecorder(1000)), Ledgers: b.ledgers,
		Metrics: b.metrics, Clock: b.clock, Limiter: creator.NewLimiter(32), Memory: b.memory, Keys: func() job.Keys { return testKeys },
	}, logr.Discard(), b.settings(), from, func() {})
	b.loop = loop
	go func(done chan<- struct{}) {
		loop.run()
		close(done)
	}(b.done)
}

func (b *bench) end() {
	b.stop()
	<-b.done
}

func (b *bench) settings() *Settings {
	return &Settings{Binding: b.binding.DeepCopy(), Variables: &job.Variables{}, Paused: b.binding.Spec.Suspend}
}

// edit changes the binding and gives the loop the new settings.
func (b *bench) edit(change func(*v1alpha1.QueueBinding)) {
	change(b.binding)
	b.loop.update(b.settings())
}

func (b *bench) setFault(fault func(create func() error, object client.Object) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = fault
}

func (b *bench) create(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
	b.mu.Lock()
	fault := b.fault
	b.mu.Unlock()
	create := func() error {
		object.SetUID("uid-of-" + object.GetUID() + "x")
		if err := c.Create(ctx, object, options...); err != nil {
			object.SetUID("")
			return err
		}
		if len((&client.CreateOptions{}).ApplyOptions(options).DryRun) > 0 {
			return nil
		}
		if made, ok := object.(*batchv1.Job); ok {
			b.mu.Lock()
			b.created[object.GetName()]++
			blind := b.blind
			b.mu.Unlock()
			if !blind {
				b.ledgers.Observe(b.binding.UID, job.Observe(made))
			}
		}
		return nil
	}
	if fault != nil {
		return fault(create, object)
	}
	return create()
}

// jobs are the Jobs that were created, and the most often that one was.
func (b *bench) jobs() (names []string, most int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, n := range b.created {
		names = append(names, name)
		most = max(most, n)
	}
	return names, most
}

// exists reports whether there is a Job of a name.
func (b *bench) exists(name string) bool {
	b.t.Helper()
	err := b.client.Get(b.t.Context(), client.ObjectKey{Namespace: "batch", Name: name}, &batchv1.Job{})
	if client.IgnoreNotFound(err) != nil {
		b.t.Fatal(err)
	}
	return err == nil
}

// job reads a Job.
func (b *bench) job(name string) *batchv1.Job {
	b.t.Helper()
	existing := &batchv1.Job{}
	if err := b.client.Get(b.t.Context(), client.ObjectKey{Namespace: "batch", Name: name}, existing); err != nil {
		b.t.Fatal(err)
	}
	return existing
}

// conclude ends a Job.
func (b *bench) conclude(name string, condition batchv1.JobConditionType) {
	b.t.Helper()
	existing := b.job(name)
	existing.Status.Conditions = []batchv1.JobCondition{{Type: condition, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	if err := b.client.Status().Update(b.t.Context(), existing); err != nil {
		b.t.Fatal(err)
	}
	b.ledgers.Observe(b.binding.UID, job.Observe(existing))
}

// attempt is the name of the Job of an attempt at the message of a body.
func (b *bench) attempt(body string, n int) string {
	return job.Lineage{Root: "message-" + body, Attempt: n}.JobName(b.binding.Name, b.binding.UID)
}

// finish deletes a Job as history does, so that its slot is free.
func (b *bench) finish(name string) {
	b.t.Helper()
	existing := b.job(name)
	if err := b.client.Delete(b.t.Context(), existing); err != nil {
		b.t.Fatal(err)
	}
	b.ledgers.Forget(b.binding.UID, name, existing.UID)
}
