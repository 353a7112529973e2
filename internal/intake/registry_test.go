package intake

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"

	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/queue/fake"
)

// only opens one queue, and counts.
type only struct {
	queue  *fake.Queue
	opened int
}

func (o *only) Open(context.Context, queue.Address) (queue.Queue, error) {
	o.opened++
	return o.queue, nil
}

// registered has a registry, in place of the bench's own loop, run the bench's binding.
func registered(t *testing.T, test func(*bench, *Registry, *only, types.NamespacedName)) {
	t.Helper()
	run(t, nil, func(b *bench) {
		b.stop()
		<-b.done
		opener := &only{queue: b.queue}
		registry := NewRegistry(b.loop.deps, opener, logr.Discard(), func(types.NamespacedName) {})
		ctx, cancel := context.WithCancel(b.t.Context())
		ended := make(chan error)
		go func() { ended <- registry.Start(ctx) }()
		test(b, registry, opener, types.NamespacedName{Namespace: "batch", Name: "pings"})
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A binding that is created again under its name, seen as one update, gets a loop only when the old one has ended, and no
// Job is created for the dead owner.
func TestABindingThatIsCreatedAgainGetsALoopOfItsOwn(t *testing.T) {
	registered(t, func(b *bench, registry *Registry, opener *only, _ types.NamespacedName) {
		registry.Ensure(b.t.Context(), b.settings())
		time.Sleep(time.Second) // the poll is open
		again := b.settings()
		again.Binding.UID = "another"
		registry.Ensure(b.t.Context(), again)
		b.queue.Put("a")
		time.Sleep(time.Second)
		if opener.opened != 1 {
			t.Fatal("the new loop began while the old one ran")
		}
		if names, _ := b.jobs(); len(names) != 0 {
			t.Fatalf("%d Jobs of the dead owner", len(names))
		}
		time.Sleep(queue.MaxWait)
		b.binding.UID = "another" // whose Jobs are seen from here on
		registry.Ensure(b.t.Context(), again)
		time.Sleep(time.Second)
		if names, _ := b.jobs(); opener.opened != 2 || len(names) != 1 {
			t.Errorf("%d loops began, and there are %d Jobs; want 2 and 1", opener.opened, len(names))
		}
	})
}

func TestGoneIsOfOneBindingNotOfItsName(t *testing.T) {
	registered(t, func(b *bench, registry *Registry, _ *only, key types.NamespacedName) {
		registry.Ensure(b.t.Context(), b.settings())
		time.Sleep(time.Second)
		registry.Gone(key, "an earlier one")
		b.queue.Put("a")
		time.Sleep(time.Second)
		if names, _ := b.jobs(); len(names) != 1 {
			t.Errorf("%d Jobs, want 1", len(names))
		}
		registry.Gone(key, b.binding.UID)
		b.queue.Put("b")
		time.Sleep(time.Minute)
		if names, _ := b.jobs(); len(names) != 1 {
			t.Errorf("%d Jobs, want 1", len(names))
		}
		if left, _ := b.queue.Left(); left != 1 {
			t.Errorf("%d messages left, want 1", left)
		}
	})
}

// The slots of a binding that was handed over are the next operator's: no Job may be created any more, and no message may
// stay hidden from it.
func TestABindingThatIsHandedOverIsLeftAlone(t *testing.T) {
	registered(t, func(b *bench, registry *Registry, opener *only, key types.NamespacedName) {
		registry.Ensure(b.t.Context(), b.settings())
		time.Sleep(time.Second) // the poll is open
		registry.HandOver(key)
		b.queue.Put("a")
		time.Sleep(time.Second)
		if b.queue.AllHidden() {
			t.Error("the message that arrived in the open poll is hidden")
		}
		time.Sleep(time.Minute)
		if names, _ := b.jobs(); len(names) != 0 {
			t.Errorf("%d Jobs were created, want none", len(names))
		}
		if left, _ := b.queue.Left(); left != 1 {
			t.Errorf("%d messages are left, want 1", left)
		}
		registry.Ensure(b.t.Context(), b.settings()) // and back
		time.Sleep(time.Second)
		if names, _ := b.jobs(); len(names) != 1 || opener.opened != 2 {
			t.Errorf("back again: %d Jobs and %d loops, want 1 and 2", len(names), opener.opened)
		}
	})
}

func TestARegistryThatHasStoppedStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := NewRegistry(nil, &only{}, logr.Discard(), func(types.NamespacedName) {})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := registry.Start(ctx); err != nil {
			t.Fatal(err)
		}
		b := &bench{t: t, binding: newTestBinding()}
		if _, opened := registry.Ensure(b.t.Context(), b.settings()); opened != nil {
			t.Error("a loop was started")
		}
	})
}

// P2: what was created is remembered by the next loop, and what is known of the queue is not unknown meanwhile.
func TestOtherCredentialsForgetNothing(t *testing.T) {
	registered(t, func(b *bench, registry *Registry, opener *only, _ types.NamespacedName) {
		registry.Ensure(b.t.Context(), b.settings())
		b.queue.Put("a")
		time.Sleep(time.Minute)
		names, _ := b.jobs()
		b.finish(names[0])
		rotated := b.settings()
		rotated.Credentials.AccessKeyID = "another"
		for range 60 {
			if report, _ := registry.Ensure(b.t.Context(), rotated); !report.QueueHeard {
				t.Fatal("the queue was not heard of after a rotation")
			}
			time.Sleep(time.Second)
		}
		if opener.opened != 2 {
			t.Fatalf("opened %d times", opener.opened)
		}
		b.queue.Change(func(m []*fake.Message) { m[0].Deleted, m[0].VisibleAt = false, time.Time{} }) // as if SQS had forgotten the delete
		time.Sleep(time.Minute)
		if _, most := b.jobs(); most != 1 {
			t.Errorf("the Job was made %d times", most)
		}
	})
}
