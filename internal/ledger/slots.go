package ledger

import (
	"time"

	"k8s.io/utils/clock"
)

// slots are reservations for Jobs that were not seen yet.
type slots struct {
	clock clock.PassiveClock
	// open is the number of those for messages that are not known yet.
	open int
	// expected are those for Jobs that are known by name, and since when nobody works on them.
	expected map[string]time.Time
	// working are the Jobs that are being made, and whether one was seen meanwhile.
	working map[string]bool
}

func newSlots(c clock.PassiveClock) slots {
	return slots{clock: c, expected: map[string]time.Time{}, working: map[string]bool{}}
}

func (s *slots) reserved() int { return s.open + len(s.expected) }

func (s *slots) seen(name string) {
	delete(s.expected, name)
	if _, ok := s.working[name]; ok {
		s.working[name] = true
	}
}

func (s *slots) free(name string) { delete(s.expected, name) }

// Reserve takes up to want slots and returns how many it got.
func (l *Ledger) Reserve(want int, limits Limits) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := max(min(want, l.free(limits)), 0)
	l.slots.open += n
	return n
}

// Reserved returns how many slots are reserved for Jobs that were not seen yet.
func (l *Ledger) Reserved() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slots.reserved()
}

// free returns how many Jobs there is room for, which is negative where there are too many.
func (l *Ledger) free(limits Limits) int {
	if limits.FailedReached(l.jobs) || limits.StoredReached(l.jobs) {
		return 0
	}
	reserved := l.slots.reserved()
	free := limits.MaxActive - l.jobs.Active() - reserved
	if limits.MaxPending != Unlimited {
		// A Job that was not seen yet has no ready Pod.
		free = min(free, limits.MaxPending-l.jobs.Pending()-reserved)
	}
	return free
}

// Exceeds reports whether a Job must not be created although its slot was reserved: limits were lowered since, or Jobs failed.
func (l *Ledger) Exceeds(limits Limits) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return limits.FailedReached(l.jobs) || limits.StoredReached(l.jobs) || l.jobs.Active()+l.slots.reserved() > limits.MaxActive
}

// Return gives back n slots for which there was no message.
func (l *Ledger) Return(n int) {
	if n == 0 {
		return
	}
	defer l.notify()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots.open -= n
}

// Assign makes a reserved slot that of a Job, which is being made until Finish, Cancel or Reopen. It returns false, and the
// slot stays as it is, where the Job has one already.
func (l *Ledger) Assign(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, expected := l.slots.expected[name]
	if _, working := l.slots.working[name]; working || expected {
		return false
	}
	l.slots.open--
	l.slots.expected[name] = l.slots.clock.Now()
	l.slots.working[name] = false
	return true
}

// SeenMeanwhile reports whether a Job was seen since its slot was assigned; it may be gone again.
func (l *Ledger) SeenMeanwhile(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slots.working[name]
}

// Finish says that a Job is made, or may be: its slot stays reserved until it is seen, or found missing.
func (l *Ledger) Finish(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.slots.working, name)
	if _, ok := l.slots.expected[name]; ok {
		l.slots.expected[name] = l.slots.clock.Now()
	}
}

// Cancel gives back the slot of a Job that surely does not exist, or has finished.
func (l *Ledger) Cancel(name string) {
	defer l.notify()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots.free(name)
	delete(l.slots.working, name)
	if _, seen := l.jobs.Get(name); !seen {
		l.tellGone(name)
	}
}

// Reopen makes a Job's slot one for a message again, as its Job is not made after all.
func (l *Ledger) Reopen(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots.free(name)
	delete(l.slots.working, name)
	l.slots.open++
}

// Expect reserves a slot for a Job that exists and was not seen yet, over any limit.
func (l *Ledger) Expect(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.jobs.Get(name); ok {
		return
	}
	if _, ok := l.slots.expected[name]; !ok {
		l.slots.expected[name] = l.slots.clock.Now()
	}
}

// Free gives back the slot of a Job that needs none: it has finished, or was seen.
func (l *Ledger) Free(name string) {
	defer l.notify()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots.free(name)
}

// Overdue returns the names of the Jobs that are expected since before a time and that nobody is making. more reports whether
// any Job is expected.
func (l *Ledger) Overdue(before time.Time) (names []string, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, since := range l.slots.expected {
		if _, working := l.slots.working[name]; !working && since.Before(before) {
			names = append(names, name)
		}
	}
	return names, len(l.slots.expected) > 0
}
