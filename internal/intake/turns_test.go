package intake

import (
	"slices"
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/types"
)

// A binding with one message must not wait for all that another has.
func TestTurnsGoToWhoHasTheLeastUnderWay(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		turns := NewTurns(3)
		for range 3 {
			turns.take("busy")
		}
		var order []types.UID
		wait := func(binding types.UID) {
			go func() {
				turns.take(binding)
				order = append(order, binding)
			}()
			synctest.Wait()
		}
		wait("busy")
		wait("busy")
		wait("quiet")
		wait("other")
		give := func(binding types.UID) {
			turns.give(binding)
			synctest.Wait()
		}
		give("busy") // leaves it two under way, the others none
		give("busy") // leaves it one
		give("quiet")
		give("other")
		if want := []types.UID{"quiet", "other", "busy", "busy"}; !slices.Equal(order, want) {
			t.Errorf("got turns in the order %v, want %v", order, want)
		}
	})
}

// A turn that nobody waits for must not be lost, or the operator creates ever fewer Jobs at a time.
func TestTurnsComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(3)
		for range 100 {
			for _, binding := range []types.UID{"a", "b", "c", "d", "e", "f"} {
				go func() {
					turns.take(binding)
					turns.give(binding)
				}()
			}
		}
		synctest.Wait()
		if turns.free != 3 || len(turns.lines) != 0 || len(turns.underWay) != 0 {
			t.Errorf("after all is done: got %d free, %d lines, under way %v; want 3, 0, none", turns.free, len(turns.lines), turns.underWay)
		}
	})
}
