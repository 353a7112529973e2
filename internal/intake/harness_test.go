package intake

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientevents "k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/creator"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// memory is a queue whose time is the test's. It is for faults and for time; what SQS does is tested with the emulator.
type memory struct {
	// distance is how long each receive takes, whatever there is.
	distance time.Duration

	mu       sync.Mutex
	messages []*stored
	// fault, where there is one, is the answer to changes of visibility and deletions.
	fault error
	// most is the most messages that a receive asked for, impossible how often a visibility was asked for that SQS never gives.
	most, impossible int
	// receiving are the receives under way, mostReceiving the most that ever were.
	receiving, mostReceiving int
	// requests are the receives, deletions and changes of visibility so far.
	requests int
}

type stored struct {
	queue.Message
	received  time.Time
	visibleAt time.Time
	deleted   bool
}

func (m *memory) send(bodies ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, body := range bodies {
		m.messages = append(m.messages, &stored{Message: queue.Message{ID: "message-" + body, Body: body}})
	}
}

func (m *memory) Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]queue.Message, error) {
	time.Sleep(m.begin(1))
	defer m.begin(-1)
	for deadline := time.Now().Add(wait); ; {
		if messages := m.take(limit, visibility); len(messages) > 0 || !time.Now().Before(deadline) {
			return messages, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (m *memory) setDistance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.distance = d
}

func (m *memory) sideBySide() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mostReceiving
}

// begin counts a receive and says how long it takes.
func (m *memory) begin(receives int) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.receiving += receives
	if receives > 0 {
		m.requests++
	}
	m.mostReceiving = max(m.mostReceiving, m.receiving)
	return m.distance
}

func (m *memory) take(limit int, visibility time.Duration) []queue.Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.most = max(m.most, limit)
	var taken []queue.Message
	for _, s := range m.messages {
		if len(taken) < limit && !s.deleted && !time.Now().Before(s.visibleAt) {
			s.ReceiveCount++
			s.ReceiptHandle = fmt.Sprintf("%s/%d", s.ID, s.ReceiveCount)
			s.received, s.visibleAt = time.Now(), time.Now().Add(visibility)
			taken = append(taken, s.Message)
		}
	}
	return taken
}

func (m *memory) Delete(_ context.Context, handles []string) []error {
	return m.each(handles, func(s *stored) error {
		s.deleted = true
		return nil
	})
}

// ChangeVisibility refuses what SQS does: a message that is visible, and more than 12 hours since the receive.
func (m *memory) ChangeVisibility(_ context.Context, handles []string, timeout time.Duration) []error {
	return m.each(handles, func(s *stored) error {
		until := time.Now().Add(timeout)
		if timeout < 0 || until.After(s.received.Add(queue.MaxVisibilityTimeout)) {
			m.impossible++
		}
		if s.deleted || !s.visibleAt.After(time.Now()) || until.After(s.received.Add(queue.MaxVisibilityTimeout)) {
			return queue.Errorf(queue.ReceiptHandleInvalid, "not in flight, or for too long")
		}
		s.visibleAt = until
		return nil
	})
}

func (m *memory) each(handles []string, do func(*stored) error) []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests += (len(handles) + queue.MaxBatch - 1) / queue.MaxBatch
	errs := make([]error, len(handles))
	for i, handle := range handles {
		if errs[i] = m.fault; errs[i] != nil {
			continue
		}
		errs[i] = queue.Errorf(queue.ReceiptHandleInvalid, "no such handle")
		for _, s := range m.messages {
			if s.ReceiptHandle == handle {
				errs[i] = do(s)
			}
		}
	}
	return errs
}

func (m *memory) setFault(fault error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fault
}

func (m *memory) Send(context.Context, queue.Outgoing) error { return nil }

func (m *memory) SendBatch(context.Context, []queue.Outgoing) []error { return nil }

func (m *memory) Redrive(context.Context) error { return nil }

func (m *memory) Stats(context.Context) (queue.Stats, error) { return queue.Stats{}, nil }

// allHidden is whether no message is visible.
func (m *memory) allHidden() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.messages {
		if !s.deleted && !s.visibleAt.After(time.Now()) {
			return false
		}
	}
	return true
}

// left are the messages that are not deleted, and the most often that one was received.
func (m *memory) left() (left, receives int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.messages {
		if !s.deleted {
			left++
		}
		receives = max(receives, s.ReceiveCount)
	}
	return left, receives
}

// bench runs one loop against an API server whose faults the test chooses.
type bench struct {
	t       *testing.T
	queue   *memory
	loop    *Loop
	ledgers *ledger.Set
	clock   clock.WithDelayedExecution
	binding *v1alpha1.QueueBinding
	client  client.WithWatch
	stop    context.CancelFunc
	done    chan struct{}

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
	b := &bench{t: t, queue: &memory{}, created: map[string]int{}, clock: c, ledgers: ledger.NewSet(c)}
	b.client = fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&batchv1.Job{}).WithInterceptorFuncs(interceptor.Funcs{Create: b.create}).Build()
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
		Clock: b.clock, Limiter: creator.NewLimiter(32),
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
