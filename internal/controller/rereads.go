package controller

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/queuebinding/queuebinding/internal/queue"
)

// What is not watched is read again after readLasts, or after readAgain where it was of no use: to watch Secrets or Namespaces would
// take the right to list all of them.
const (
	readLasts = 30 * time.Second
	readAgain = 5 * time.Second
)

// rereads remember for a while what was read of an object, for whom. It may be used by several goroutines.
type rereads[V any] struct {
	now func() time.Time

	mu    sync.Mutex
	known map[types.NamespacedName]reread[V]
}

// reread is what was last read of an object.
type reread[V any] struct {
	object string
	read   time.Time
	value  V
	err    error
}

func (r reread[V]) lasts() time.Duration {
	if r.err != nil {
		return readAgain
	}
	return readLasts
}

func newRereads[V any](now func() time.Time) rereads[V] {
	return rereads[V]{now: now, known: map[types.NamespacedName]reread[V]{}}
}

// of returns what is known of an object, and after how long to ask again. It calls read where that is due. While the API server is in
// trouble, which is an error of reason Unreachable, the object may well be as it was.
func (s *rereads[V]) of(key types.NamespacedName, object string, read func() (V, error)) (V, time.Duration, error) {
	s.mu.Lock()
	found, ok := s.known[key]
	s.mu.Unlock()
	if !ok || found.object != object || s.now().Sub(found.read) >= found.lasts() {
		before := found
		found = reread[V]{object: object, read: s.now()}
		found.value, found.err = read()
		if ok && found.err != nil && before.object == object && before.err == nil && queue.ReasonOf(found.err) == queue.Unreachable {
			found.value, found.err = before.value, nil
		}
		s.mu.Lock()
		s.known[key] = found
		s.mu.Unlock()
	}
	return found.value, found.lasts(), found.err
}

func (s *rereads[V]) forget(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, key)
}
