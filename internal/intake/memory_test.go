package intake

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
)

func TestEvaluationsStayWithinTheirRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(1, 100)
		var taken, most atomic.Int64
		evaluate := func(bytes int64) {
			release, err := m.evaluate(t.Context(), bytes)
			if err != nil {
				t.Error(err)
				return
			}
			if now := taken.Add(min(bytes, 100)); now > most.Load() {
				most.Store(now)
			}
			time.Sleep(time.Second)
			taken.Add(-min(bytes, 100))
			release()
		}
		for _, bytes := range []int64{0, 10, 60, 60, 100, 1000, 10, 10, 10, 10} { // one of them takes more than there is
			go evaluate(bytes)
		}
		time.Sleep(time.Minute)
		if taken.Load() != 0 || most.Load() > 100 {
			t.Errorf("evaluations took %d bytes at a time and have %d left, want at most 100 and none", most.Load(), taken.Load())
		}
	})
}

func TestAnEvaluationWaitsNoLongerThanItsLoop(t *testing.T) {
	m := newMemory(1, 100)
	release, err := m.evaluate(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.evaluate(ctx, 1); err == nil {
		t.Error("got room that there is not")
	}
	release()
	if again, err := m.evaluate(t.Context(), 100); err != nil {
		t.Error(err)
	} else {
		again()
	}
}

// sharing runs a test with the loops of two bindings that have one memory.
func sharing(t *testing.T, memory *Memory, test func(stuck, quiet *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		many := func(uid string) func(*v1alpha1.QueueBinding) {
			return func(b *v1alpha1.QueueBinding) {
				b.UID = types.UID(uid)
				b.Spec.Message.Delivery = v1alpha1.DeliverFile
				b.Spec.Concurrency.MaxActiveJobs = new(int32(1000))
			}
		}
		stuck, quiet := newBench(t, clock.RealClock{}, many("stuck")), newBench(t, clock.RealClock{}, many("quiet"))
		stuck.memory, quiet.memory = memory, memory
		stuck.start(stuck.queue)
		quiet.start(quiet.queue)
		test(stuck, quiet)
		stuck.end()
		quiet.end()
		if !memory.held.TryAcquire(memory.mostHeld) || !memory.evaluated.TryAcquire(memory.mostEvaluated) {
			t.Error("something is held after the loops have ended")
		}
	})
}

// put puts messages of a size on a queue, each with an ID of its own.
func put(b *bench, n, size int) {
	var messages []queue.Message
	for i := range n {
		messages = append(messages, queue.Message{ID: fmt.Sprintf("message-%d", i), Body: strings.Repeat("x", size)})
	}
	b.queue.PutMessages(messages...)
}

func refuses(func() error, client.Object) error {
	return apierrors.NewInternalError(context.DeadlineExceeded)
}

// P1, P5: what waits for an API server that takes nothing is bounded over all bindings, and makes room for others.
func TestAClosedGateMakesRoom(t *testing.T) {
	const room = 32 << 20
	sharing(t, newMemory(room, room), func(stuck, quiet *bench) {
		stuck.setFault(refuses)
		put(stuck, 40, 1<<20)
		time.Sleep(5 * time.Minute)
		put(quiet, 20, 1<<20)
		time.Sleep(time.Minute)
		if names, most := quiet.jobs(); len(names) != 20 || most != 1 {
			t.Errorf("the messages of the other binding became %d Jobs, want 20, each once", len(names))
		}
		stuck.setFault(nil)
		time.Sleep(time.Hour)
		if names, most := stuck.jobs(); len(names) != 40 || most != 1 {
			t.Errorf("40 messages became %d Jobs, one of them %d times, once the API server took them", len(names), most)
		}
		if left, _ := stuck.queue.Left(); left != 0 {
			t.Errorf("%d messages were not deleted", left)
		}
	})
}

// P5: what is received is bounded while creates take their time, and so is what one binding takes of it.
func TestWhatIsInHandIsBounded(t *testing.T) {
	const room = 32 << 20
	sharing(t, newMemory(room, room), func(stuck, _ *bench) {
		stuck.setFault(func(create func() error, _ client.Object) error {
			time.Sleep(20 * time.Second)
			return create()
		})
		put(stuck, 60, 1<<20)
		for range 60 {
			time.Sleep(5 * time.Second)
			if hidden, most := stuck.hidden(), room/(2<<20); hidden > most {
				t.Fatalf("%d messages of 1 MiB are in hand, want at most %d", hidden, most)
			}
		}
		time.Sleep(time.Hour)
		names, most := stuck.jobs()
		if left, receives := stuck.queue.Left(); len(names) != 60 || most != 1 || left != 0 || receives != 1 {
			t.Errorf("60 messages became %d Jobs, %d are left, and one was received %d times", len(names), left, receives)
		}
	})
}

// Messages that nobody is short of room for are kept, as each receive counts for redrive policies.
func TestAClosedGateKeepsWhatThereIsRoomFor(t *testing.T) {
	sharing(t, NewMemory(), func(stuck, quiet *bench) {
		stuck.setFault(refuses)
		put(stuck, 20, 100<<10)
		put(quiet, 20, 100<<10)
		time.Sleep(5 * time.Minute)
		if hidden := stuck.hidden(); hidden < queue.MaxBatch {
			t.Errorf("%d messages are in hand, want the %d that were received", hidden, queue.MaxBatch)
		}
	})
}

// P1, P5: what there is no room to evaluate yet waits for it, for however long.
func TestHeavyEvaluationsWaitForRoom(t *testing.T) {
	const room = 16 << 20
	sharing(t, newMemory(64<<20, room), func(stuck, quiet *bench) {
		release, err := stuck.memory.evaluate(t.Context(), room)
		if err != nil {
			t.Fatal(err)
		}
		variables, err := job.CompileVariables([]v1alpha1.Variable{{Name: "v", Expression: "message.json.size()"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range []*bench{stuck, quiet} {
			b.binding.Spec.Message.Variables = []v1alpha1.Variable{{Name: "v", Expression: "message.json.size()"}}
			settings := b.settings()
			settings.Variables = variables
			b.loop.update(settings)
		}
		for i := range 20 {
			stuck.queue.PutMessages(queue.Message{ID: fmt.Sprintf("message-%d", i), Body: "[" + strings.Repeat("{},", 200<<10) + "{}]"})
		}
		time.Sleep(time.Minute)
		quiet.queue.Put("[1]")
		time.Sleep(time.Minute)
		release()
		synctest.Wait()
		time.Sleep(time.Minute)
		for b, want := range map[*bench]int{stuck: 20, quiet: 1} {
			if names, most := b.jobs(); len(names) != want || most != 1 {
				t.Errorf("got %d Jobs, want %d, each once", len(names), want)
			}
		}
	})
}

// hidden is how many messages are in hand.
func (b *bench) hidden() int {
	stats, err := b.queue.Stats(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return int(stats.InFlightMessages)
}
