package intake

import (
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// alarm has something done at a time, in a goroutine that is there for just that: of a loop with nothing to do, nothing runs
// and nothing waits but for the queue.
type alarm struct {
	clock clock.WithDelayedExecution
	// ring does what there is to do, and returns when to ring again; a zero time is not before by is called.
	ring func() time.Time

	mu sync.Mutex
	// at is when timer rings, zero where it does not.
	at      time.Time
	timer   clock.Timer
	ringing bool
	stopped bool
	under   sync.WaitGroup
}

func newAlarm(c clock.WithDelayedExecution, ring func() time.Time) *alarm {
	return &alarm{clock: c, ring: ring}
}

// by has the alarm ring at a time, unless it rings sooner anyway.
func (a *alarm) by(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped || !a.at.IsZero() && !at.Before(a.at) {
		return
	}
	a.at = at
	if !a.ringing { // else it is set once that is over
		a.set()
	}
}

// set starts the timer, with the lock held.
func (a *alarm) set() {
	if a.timer != nil {
		a.timer.Stop()
	}
	at := a.at
	// A clock may call within its own lock.
	a.timer = a.clock.AfterFunc(max(at.Sub(a.clock.Now()), 0), func() { go a.sound(at) })
}

// sound rings, unless the alarm was set anew or stopped meanwhile.
func (a *alarm) sound(at time.Time) {
	a.mu.Lock()
	if a.stopped || a.ringing || !a.at.Equal(at) {
		a.mu.Unlock()
		return
	}
	a.at, a.ringing = time.Time{}, true
	a.under.Add(1)
	a.mu.Unlock()
	defer a.under.Done()

	again := a.ring()

	a.mu.Lock()
	defer a.mu.Unlock()
	a.ringing = false
	if !again.IsZero() && (a.at.IsZero() || again.Before(a.at)) {
		a.at = again
	}
	if !a.stopped && !a.at.IsZero() {
		a.set()
	}
}

// stop has the alarm not ring any more, and waits for what it does.
func (a *alarm) stop() {
	a.mu.Lock()
	a.stopped = true
	if a.timer != nil {
		a.timer.Stop()
	}
	a.mu.Unlock()
	a.under.Wait()
}
