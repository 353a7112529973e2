package creator

import (
	"slices"
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/types"
)

// A binding with one message must not wait for all that another has.
func TestTheNextCreateGoesToTheBindingWithTheFewest(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		limiter := NewLimiter(3)
		for range 3 {
			limiter.acquire("busy")
		}
		var order []types.UID
		wait := func(binding types.UID) {
			go func() {
				limiter.acquire(binding)
				order = append(order, binding)
			}()
			synctest.Wait()
		}
		wait("busy")
		wait("busy")
		wait("quiet")
		wait("other")
		give := func(binding types.UID) {
			limiter.release(binding)
			synctest.Wait()
		}
		give("busy") // leaves it two under way, the others none
		give("busy") // leaves it one
		give("quiet")
		give("other")
		if want := []types.UID{"quiet", "other", "busy", "busy"}; !slices.Equal(order, want) {
			t.Errorf("got limiter in the order %v, want %v", order, want)
		}
	})
}

// A turn that nobody waits for must not be lost, or the operator creates ever fewer Jobs at a time.
func TestTurnsComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := NewLimiter(3)
		for range 100 {
			for _, binding := range []types.UID{"a", "b", "c", "d", "e", "f"} {
				go func() {
					limiter.acquire(binding)
					limiter.release(binding)
				}()
			}
		}
		synctest.Wait()
		if limiter.free != 3 || len(limiter.queues) != 0 || len(limiter.underWay) != 0 {
			t.Errorf("after all is done: got %d free, %d lines, under way %v; want 3, 0, none", limiter.free, len(limiter.queues), limiter.underWay)
		}
	})
}
