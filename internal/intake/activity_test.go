package intake

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/queue/fake"
)

// deaf is a queue whose receives never end, whatever their context says: a fault of ours, as the adapter bounds them.
type deaf struct {
	fake.Queue
	release chan struct{}
}

func (d *deaf) Receive(context.Context, int, time.Duration, time.Duration) ([]queue.Message, error) {
	<-d.release
	return nil, nil
}

// ofLoop returns a registry in which the loop of a bench runs.
func (b *bench) ofLoop() *Registry {
	r := NewRegistry(b.loop.deps, nil, logr.Discard(), func(types.NamespacedName) {})
	r.running[b.loop.key] = &running{loop: b.loop}
	return r
}

func TestALoopWhoseReceiveNeverEndsFailsTheLivenessCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, clock.RealClock{}, nil)
		stuck := &deaf{release: make(chan struct{})}
		b.start(stuck)
		time.Sleep(stuckAfter - time.Second)
		if err := b.ofLoop().CheckLive(nil); err != nil {
			t.Errorf("before its time: %v", err)
		}
		time.Sleep(2 * time.Second)
		if b.ofLoop().CheckLive(nil) == nil {
			t.Error("it is alive, want it started again")
		}
		if state := b.ofLoop().States()[0]; !state.Stuck || state.WaitsFor != "receiving" {
			t.Errorf("it tells %+v", state)
		}
		close(stuck.release)
		b.end()
	})
}

// Only what ends by itself can be stuck: a loop that holds its ledger's lock for ever is not waiting for anybody.
func TestOnlyStepsThatEndByThemselvesCanBeStuck(t *testing.T) {
	for at, want := range map[step]bool{
		stepWorking: true, stepReceiving: true,
		stepExistingJobs: false, stepMessages: false, stepSlots: false, stepRoom: false, stepBackoff: false, stepEnding: false,
	} {
		passing := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
		a := newActivity(passing)
		a.set(at)
		passing.Step(stuckAfter)
		if a.isStuck() {
			t.Errorf("%s: stuck before its time", at)
		}
		passing.Step(time.Second)
		if a.isStuck() != want {
			t.Errorf("%s: stuck is %v, want %v", at, !want, want)
		}
	}
}

// Whatever a loop waits for on others, for however long, the operator is not started again for it: that would help nobody.
func TestALoopThatWaitsForOthersIsAlive(t *testing.T) {
	const hours = 24 * time.Hour
	for name, tc := range map[string]struct {
		change func(*v1alpha1.QueueBinding)
		happen func(*bench)
		want   step
	}{
		"an empty queue": {want: stepReceiving},
		"slots":          {happen: func(b *bench) { b.queue.Put("a", "b", "c") }, want: stepSlots},
		"its user":       {change: func(b *v1alpha1.QueueBinding) { b.Spec.Suspend = true }, want: stepSlots},
		"an API server that refuses": {happen: func(b *bench) {
			b.setFault(refused)
			b.queue.Put("a", "b", "c")
		}, want: stepSlots},
		"memory": {happen: func(b *bench) {
			if err := b.memory.held.Acquire(context.Background(), b.memory.mostHeld); err != nil {
				b.t.Fatal(err)
			}
			b.queue.Put("a")
		}, want: stepRoom},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, tc.change, func(b *bench) {
				if tc.happen != nil {
					tc.happen(b)
				}
				registry := b.ofLoop()
				for waited := time.Duration(0); waited < hours; waited += 10 * time.Minute {
					time.Sleep(10 * time.Minute)
					if err := registry.CheckLive(nil); err != nil {
						t.Fatalf("after %s: %v", waited, err)
					}
				}
				if state := registry.States()[0]; state.WaitsFor != string(tc.want) || state.Stuck {
					t.Errorf("it tells %+v, want that it waits for %s", state, tc.want)
				}
				if tc.want == stepRoom {
					b.memory.held.Release(b.memory.mostHeld)
				}
			})
		})
	}
}

func TestStatuszTellsWhatEachLoopWaitsFor(t *testing.T) {
	run(t, nil, func(b *bench) {
		b.queue.Put("secret-1", "secret-2", "secret-3")
		time.Sleep(time.Minute)
		answer := httptest.NewRecorder()
		b.ofLoop().ServeHTTP(answer, nil)
		text := answer.Body.String()
		for _, want := range []string{"batch/pings", "free slots", "1 bindings"} {
			if !strings.Contains(text, want) {
				t.Errorf("it does not tell %q: %s", want, text)
			}
		}
		if strings.Contains(text, "secret") {
			t.Errorf("it tells of messages: %s", text)
		}
	})
}
