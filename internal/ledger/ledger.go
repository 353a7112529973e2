// Package ledger counts how much of its limits a binding uses: the Jobs that the cache has shown, and the slots that are
// reserved for Jobs which it has not. It does no I/O and waits for nothing.
package ledger

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/queuebinding/queuebinding/internal/job"
)

// Ledger knows a binding's Jobs and reserves slots for more. A slot is reserved before a message is received and stays
// reserved until the message's Job is seen, or it is certain that there will be none, so that the limits hold whatever is in
// flight. Methods about Jobs stand in this file, those about slots in slots.go.
type Ledger struct {
	mu sync.Mutex
	// jobs are those that were seen.
	jobs  *job.History
	slots slots
	// changed is called, without the lock, when slots may have become free.
	changed func()
	// watcher, where there is one, is told what becomes of Jobs, with the lock held: it must be quick.
	watcher Watcher
	// used reports whether a loop works with the ledger.
	used bool
}

// Watcher is told what becomes of the Jobs under OnJobSucceeded.
type Watcher interface {
	// Saw is told what a Job is now. newest reports whether there is no later attempt at its message.
	Saw(record job.Record, newest bool)
	// Gone is told that a Job is gone, or that one which was to be created never was.
	Gone(name string)
	// Answers is told that a Job answers for a message, where that Job was not seen yet, or runs.
	Answers(name string, receipt job.Receipt)
}

func newLedger(c clock.PassiveClock) *Ledger {
	return &Ledger{jobs: job.NewHistory(), slots: newSlots(c), changed: func() {}}
}

// Watch has a watcher told of the Jobs that are there, and of all that come. nil ends that.
func (l *Ledger) Watch(w Watcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watcher = w
	for record := range l.jobs.All() {
		l.tell(record)
	}
}

// Observe takes in what a Job is now.
func (l *Ledger) Observe(record job.Record) {
	defer l.notify()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs.Put(record)
	l.slots.seen(record.Name)
	l.tell(record)
}

// tell tells the watcher what a Job is.
func (l *Ledger) tell(record job.Record) {
	if l.watcher == nil || !record.MessageOnQueue() {
		return
	}
	newest := true
	for other := range l.jobs.Attempts(record.Lineage.Root) {
		newest = newest && other.Lineage.Attempt <= record.Lineage.Attempt
	}
	l.watcher.Saw(record, newest)
}

// Forget takes in that a Job is gone. UID guards against forgetting a Job by an event of another of the same name.
func (l *Ledger) Forget(name string, uid types.UID) {
	defer l.notify()
	l.mu.Lock()
	defer l.mu.Unlock()
	if record, ok := l.jobs.Get(name); ok && record.UID == uid {
		l.jobs.Drop(name)
		l.tellGone(name)
	}
	l.slots.free(name)
}

func (l *Ledger) tellGone(name string) {
	if l.watcher != nil {
		l.watcher.Gone(name)
	}
}

// Answers says that a Job answers for a message, by its receipt, from now on. It returns false where the Job has finished or is
// gone by what was seen.
func (l *Ledger) Answers(name string, receipt job.Receipt) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	record, seen := l.jobs.Get(name)
	_, expected := l.slots.expected[name]
	if seen && record.State != job.Active || !seen && !expected {
		return false
	}
	if l.watcher != nil {
		l.watcher.Answers(name, receipt)
	}
	return true
}

// Acknowledged says that the message of a succeeded Job is gone from the queue.
func (l *Ledger) Acknowledged(name string, uid types.UID) {
	defer l.notify()
	l.mu.Lock()
	defer l.mu.Unlock()
	if record, ok := l.jobs.Get(name); ok && record.UID == uid {
		l.jobs.Acknowledge(name)
	}
}

// Seen reports whether a Job of that name was seen and is not gone.
func (l *Ledger) Seen(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.jobs.Get(name)
	return ok
}

// Find returns the newest Job seen of this attempt or a later one at the same message.
func (l *Ledger) Find(lineage job.Lineage) (found job.Record, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for record := range l.jobs.Attempts(lineage.Root) {
		if record.Lineage.Attempt >= max(lineage.Attempt, found.Lineage.Attempt) {
			found, ok = record, true
		}
	}
	return found, ok
}

// View shows the Jobs seen to a function, which must be quick and keep nothing of what it is shown.
func (l *Ledger) View(at func(*job.History)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at(l.jobs)
}

// notify says that slots may have become free. It is called without the lock.
func (l *Ledger) notify() {
	l.mu.Lock()
	changed := l.changed
	l.mu.Unlock()
	changed()
}
