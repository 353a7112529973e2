// Package timer has things done at a time, by a clock that a test can hold: timers, waits and backoffs. Of a loop with
// nothing to do, nothing runs and nothing waits but for the queue.
package timer

import (
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Timer calls a function at a time, in a goroutine that exists for just that. It may be used by several goroutines.
type Timer struct {
	clock clock.WithDelayedExecution
	fire  func() time.Time

	mu sync.Mutex
	// at is when timer fires, zero where it does not.
	at      time.Time
	timer   clock.Timer
	firing  bool
	stopped bool
	calls   sync.WaitGroup
}

// New makes a timer that is not set. It calls fire, never twice at once, which returns when to be called again; a zero time
// means not before FireBy is called.
func New(c clock.WithDelayedExecution, fire func() time.Time) *Timer {
	return &Timer{clock: c, fire: fire}
}

// FireBy has the timer fire at a time, unless it fires sooner anyway. A time that is past means now.
func (t *Timer) FireBy(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped || !t.at.IsZero() && !at.Before(t.at) {
		return
	}
	t.at = at
	if !t.firing { // else it is set once that is over
		t.set()
	}
}

// set starts the clock's timer, with the lock held.
func (t *Timer) set() {
	if t.timer != nil {
		t.timer.Stop()
	}
	at := t.at
	// A clock may call within its own lock.
	t.timer = t.clock.AfterFunc(max(at.Sub(t.clock.Now()), 0), func() { go t.run(at) })
}

// run fires, unless the timer was set anew or stopped meanwhile.
func (t *Timer) run(at time.Time) {
	t.mu.Lock()
	if t.stopped || t.firing || !t.at.Equal(at) {
		t.mu.Unlock()
		return
	}
	t.at, t.firing = time.Time{}, true
	t.calls.Add(1)
	t.mu.Unlock()
	defer t.calls.Done()

	again := t.fire()

	t.mu.Lock()
	defer t.mu.Unlock()
	t.firing = false
	if !again.IsZero() && (t.at.IsZero() || again.Before(t.at)) {
		t.at = again
	}
	if !t.stopped && !t.at.IsZero() {
		t.set()
	}
}

// Stop keeps the timer from firing any more, and waits for a call that is under way.
func (t *Timer) Stop() {
	t.mu.Lock()
	t.stopped = true
	if t.timer != nil {
		t.timer.Stop()
	}
	t.mu.Unlock()
	t.calls.Wait()
}
