package intake

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Turns bounds what is done at a time over all bindings, and shares it out: whichever binding has the least under way is
// next. One with a single message is not kept waiting by those that have thousands.
type Turns struct {
	mu   sync.Mutex
	free int
	// underWay are the turns that each binding has taken.
	underWay map[types.UID]int
	// lines are those of the bindings that wait, in the order in which they have come to wait.
	lines []*line
}

// line is what waits for one binding, the first first.
type line struct {
	binding types.UID
	waiting []chan struct{}
}

// NewTurns makes so many turns.
func NewTurns(n int) *Turns { return &Turns{free: n, underWay: map[types.UID]int{}} }

// take waits for a turn of a binding.
func (t *Turns) take(binding types.UID) {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.underWay[binding]++
		t.mu.Unlock()
		return
	}
	i := slices.IndexFunc(t.lines, func(l *line) bool { return l.binding == binding })
	if i < 0 {
		i = len(t.lines)
		t.lines = append(t.lines, &line{binding: binding})
	}
	granted := make(chan struct{})
	t.lines[i].waiting = append(t.lines[i].waiting, granted)
	t.mu.Unlock()
	<-granted
}

// give gives a turn back, to the next.
func (t *Turns) give(binding types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.underWay[binding]--; t.underWay[binding] == 0 {
		delete(t.underWay, binding)
	}
	if len(t.lines) == 0 {
		t.free++
		return
	}
	next := 0
	for i, l := range t.lines {
		if t.underWay[l.binding] < t.underWay[t.lines[next].binding] {
			next = i
		}
	}
	chosen := t.lines[next]
	t.underWay[chosen.binding]++
	close(chosen.waiting[0])
	chosen.waiting = chosen.waiting[1:]
	t.lines = slices.Delete(t.lines, next, next+1)
	if len(chosen.waiting) > 0 { // behind the others that have as many under way
		t.lines = append(t.lines, chosen)
	}
}
