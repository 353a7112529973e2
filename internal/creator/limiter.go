package creator

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Limiter bounds how many objects are created at a time over all bindings, and is fair: whichever binding has the fewest
// creates under way is next. One with a single message is not kept waiting by those that have thousands.
type Limiter struct {
	mu   sync.Mutex
	free int
	// underWay are the creates that each binding has under way.
	underWay map[types.UID]int
	// queues are those of the bindings that wait, in the order in which they have come to wait.
	queues []*waiters
}

// waiters are what waits for one binding, the first first.
type waiters struct {
	binding types.UID
	waiting []chan struct{}
}

// NewLimiter makes a limiter for n creates at a time.
func NewLimiter(n int) *Limiter { return &Limiter{free: n, underWay: map[types.UID]int{}} }

// acquire waits until a binding may create. It must be followed by release.
func (l *Limiter) acquire(binding types.UID) {
	l.mu.Lock()
	if l.free > 0 {
		l.free--
		l.underWay[binding]++
		l.mu.Unlock()
		return
	}
	i := slices.IndexFunc(l.queues, func(q *waiters) bool { return q.binding == binding })
	if i < 0 {
		i = len(l.queues)
		l.queues = append(l.queues, &waiters{binding: binding})
	}
	granted := make(chan struct{})
	l.queues[i].waiting = append(l.queues[i].waiting, granted)
	l.mu.Unlock()
	<-granted
}

// release lets the next one create.
func (l *Limiter) release(binding types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.underWay[binding]--; l.underWay[binding] == 0 {
		delete(l.underWay, binding)
	}
	if len(l.queues) == 0 {
		l.free++
		return
	}
	next := 0
	for i, q := range l.queues {
		if l.underWay[q.binding] < l.underWay[l.queues[next].binding] {
			next = i
		}
	}
	chosen := l.queues[next]
	l.underWay[chosen.binding]++
	close(chosen.waiting[0])
	chosen.waiting = chosen.waiting[1:]
	l.queues = slices.Delete(l.queues, next, next+1)
	if len(chosen.waiting) > 0 { // behind the others that have as many under way
		l.queues = append(l.queues, chosen)
	}
}
