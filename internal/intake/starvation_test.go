package intake

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// alongside starts the loop of a binding of its own, with files, that shares a Memory.
func alongside(t *testing.T, m *Memory, uid string, change func(*v1alpha1.QueueBinding)) *bench {
	t.Helper()
	b := newBench(t, clock.RealClock{}, func(binding *v1alpha1.QueueBinding) {
		binding.UID = types.UID(uid)
		binding.Spec.Message.Delivery = v1alpha1.DeliverFile
		binding.Spec.Concurrency.MaxActiveJobs = new(int32(1000))
		if change != nil {
			change(binding)
		}
	})
	b.memory = m
	b.start(b.queue)
	return b
}

// P5: bindings that can make no Jobs, as their quota is exhausted, keep others from no message, however much they hold.
func TestBindingsAtTheirQuotaStarveNobody(t *testing.T) {
	for name, test := range map[string]struct {
		bindings, messages int
		fifo               bool
	}{
		"one large message each":       {bindings: 19, messages: 1},
		"a group of large ones each":   {bindings: 3, messages: 10, fifo: true},
		"ten large messages each":      {bindings: 19, messages: 10},
		"ten groups of one in a queue": {bindings: 1, messages: 10, fifo: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMemory()
				var stuck []*bench
				for i := range test.bindings {
					b := alongside(t, m, fmt.Sprintf("stuck-%d", i), func(binding *v1alpha1.QueueBinding) {
						if test.fifo {
							binding.Spec.Queue.URL += ".fifo"
						}
					})
					b.setFault(refused)
					for n := range test.messages {
						b.queue.PutMessages(queue.Message{ID: fmt.Sprintf("message-%d", n), GroupID: "g", Body: strings.Repeat("x", 1<<20)})
					}
					stuck = append(stuck, b)
				}
				healthy, small := alongside(t, m, "healthy", nil), alongside(t, m, "small", nil)
				time.Sleep(5 * time.Minute)
				put(healthy, 10, 1<<20)
				time.Sleep(time.Minute)
				small.queue.Put("a", "b")
				time.Sleep(time.Hour)
				if names, _ := healthy.jobs(); len(names) != 10 {
					t.Errorf("%d of 10 large messages became Jobs", len(names))
				}
				if names, _ := small.jobs(); len(names) != 2 {
					t.Errorf("%d of 2 small messages became Jobs", len(names))
				}
				for _, b := range stuck {
					b.setFault(nil)
				}
				time.Sleep(time.Hour)
				for i, b := range stuck {
					if names, _ := b.jobs(); len(names) != test.messages {
						t.Errorf("binding %d: %d of %d messages became Jobs once it had room", i, len(names), test.messages)
					}
				}
				for _, b := range append(stuck, healthy, small) {
					b.end()
				}
			})
		})
	}
}

// A message that went back to make room finds its slot free when it comes again, and is not hidden for a whole visibility timeout.
func TestWhatMadeRoomIsRunWhenItComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(32<<20, 32<<20)
		stuck := alongside(t, m, "stuck", func(binding *v1alpha1.QueueBinding) {
			binding.Spec.Queue.VisibilityTimeoutSeconds = new(int32(43200))
		})
		healthy := alongside(t, m, "healthy", nil)
		stuck.setFault(refused)
		put(stuck, 10, 1<<20)
		time.Sleep(5 * time.Minute)
		put(healthy, 20, 1<<20)
		time.Sleep(5 * time.Minute)
		stuck.setFault(nil)
		time.Sleep(2 * time.Minute)
		if names, _ := stuck.jobs(); len(names) != 10 {
			t.Errorf("%d of 10 messages became Jobs once the API server took them", len(names))
		}
		stuck.end()
		healthy.end()
	})
}
