package intake

import "sync"

// recentNames is how many names of created Jobs a loop remembers.
const recentNames = 10_000

// recent remembers the Jobs that were created last, so that a message which could not be deleted is not run again when
// its Job is gone by the time it comes back.
type recent struct {
	mu    sync.Mutex
	names map[string]struct{}
	order []string
	next  int
}

func newRecent() *recent { return &recent{names: map[string]struct{}{}} }

func (r *recent) add(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.names[name]; ok {
		return
	}
	r.names[name] = struct{}{}
	if len(r.order) < recentNames {
		r.order = append(r.order, name)
		return
	}
	delete(r.names, r.order[r.next])
	r.order[r.next] = name
	r.next = (r.next + 1) % recentNames
}

func (r *recent) has(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.names[name]
	return ok
}
