package ledger

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/queuebinding/queuebinding/internal/job"
)

// Set is the ledgers of all bindings, by UID: never by name, as a binding that was created again under its old name owns
// none of the old one's Jobs.
type Set struct {
	clock clock.PassiveClock
	mu    sync.Mutex
	byUID map[types.UID]*Ledger
}

// NewSet makes an empty set.
func NewSet(c clock.PassiveClock) *Set {
	return &Set{clock: c, byUID: map[types.UID]*Ledger{}}
}

// Of returns the ledger of a binding; there is always one.
func (s *Set) Of(uid types.UID) *Ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of(uid)
}

func (s *Set) of(uid types.UID) *Ledger {
	ledger, ok := s.byUID[uid]
	if !ok {
		ledger = newLedger(s.clock)
		s.byUID[uid] = ledger
	}
	return ledger
}

// Observe takes in what a binding's Job is now.
func (s *Set) Observe(owner types.UID, record job.Record) { s.Of(owner).Observe(record) }

// Forget takes in that a binding's Job is gone.
func (s *Set) Forget(owner types.UID, name string, uid types.UID) {
	s.Of(owner).Forget(name, uid)
	s.tidy(owner)
}

// Attach gives a loop its binding's ledger and has changed called when slots may have become free.
func (s *Set) Attach(uid types.UID, changed func()) *Ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	ledger := s.of(uid)
	ledger.mu.Lock()
	defer ledger.mu.Unlock()
	ledger.used, ledger.changed = true, changed
	return ledger
}

// Detach takes the ledger back once the loop has ended. Slots for messages that it did not get are void then; those for Jobs
// stay, as the Jobs may exist.
func (s *Set) Detach(uid types.UID) {
	ledger := s.Of(uid)
	ledger.mu.Lock()
	ledger.used, ledger.changed, ledger.watcher, ledger.slots.open = false, func() {}, nil, 0
	ledger.mu.Unlock()
	s.tidy(uid)
}

// tidy drops a ledger in which nothing is left.
func (s *Set) tidy(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ledger, ok := s.byUID[uid]
	if !ok {
		return
	}
	ledger.mu.Lock()
	defer ledger.mu.Unlock()
	if !ledger.used && ledger.jobs.Len() == 0 && len(ledger.slots.expected) == 0 {
		delete(s.byUID, uid)
	}
}
