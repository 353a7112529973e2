package intake

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/queuebinding/queuebinding/internal/job"
)

// Limits are the bounds within which a binding may receive.
type Limits struct {
	// MaxActive is the highest number of active Jobs; 0 or more.
	MaxActive int
	// MaxPending is the highest number of pending Jobs, or -1 for no limit.
	MaxPending int
	// MaxFailed is the number of failed Jobs at which receiving stops, or -1 for none. Those that keep their messages count
	// only where CountAllFailed.
	MaxFailed      int
	CountAllFailed bool
}

// Ledger knows how much of its limits a binding uses: the Jobs that were seen plus the reservations for Jobs that were
// not. A slot is reserved before a message is received and stays reserved until the message's Job is seen, or it is
// certain that there will be none, so that the limits hold whatever is in flight.
type Ledger struct {
	clock clock.PassiveClock

	mu sync.Mutex
	// jobs are those that were seen.
	jobs *job.History
	// open is the number of reservations for messages that are not known yet.
	open int
	// expected are the reservations for Jobs that are known by name, and since when nobody works on them.
	expected map[string]time.Time
	// working are the Jobs that are being made, and whether one was seen meanwhile.
	working map[string]bool
	// changed is called, without the lock, when slots may have become free.
	changed func()
	// keeper, where there is one, is told what Jobs become of, with the lock held: it must be quick.
	keeper keeper
	// used is whether a loop works with the ledger.
	used bool
}

// keeper looks after the messages that Jobs keep.
type keeper interface {
	// saw is told what a Job is now. newest is whether there is no later attempt at its message.
	saw(record job.Record, newest bool)
	// lost is told that a Job is gone.
	lost(name string)
	// keep is told that a Job has a message's receipt, where that Job was not seen yet, or runs.
	keep(name string, receipt job.Receipt)
}

func newLedger(c clock.PassiveClock) *Ledger {
	return &Ledger{
		clock:    c,
		jobs:     job.NewHistory(),
		expected: map[string]time.Time{},
		working:  map[string]bool{},
		changed:  func() {},
	}
}

// Observe takes in what a Job is now.
func (l *Ledger) Observe(record job.Record) {
	l.mu.Lock()
	l.jobs.Put(record)
	delete(l.expected, record.Name)
	if _, ok := l.working[record.Name]; ok {
		l.working[record.Name] = true
	}
	l.tell(record)
	changed := l.changed
	l.mu.Unlock()
	changed()
}

// tell tells the keeper what a Job is.
func (l *Ledger) tell(record job.Record) {
	if l.keeper == nil || !record.KeepsMessage() {
		return
	}
	newest := true
	for other := range l.jobs.Attempts(record.Lineage.Root) {
		newest = newest && other.Lineage.Attempt <= record.Lineage.Attempt
	}
	l.keeper.saw(record, newest)
}

// Forget takes in that a Job is gone. UID guards against forgetting a Job by an event of another of the same name.
func (l *Ledger) Forget(name string, uid types.UID) {
	l.mu.Lock()
	if record, ok := l.jobs.Get(name); ok && record.UID == uid {
		l.jobs.Drop(name)
		l.lose(name)
	}
	delete(l.expected, name)
	changed := l.changed
	l.mu.Unlock()
	changed()
}

func (l *Ledger) lose(name string) {
	if l.keeper != nil {
		l.keeper.lost(name)
	}
}

// Reserve takes up to want slots and returns how many it got.
func (l *Ledger) Reserve(want int, limits Limits) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(want, l.free(limits))
	if n <= 0 {
		return 0
	}
	l.open += n
	return n
}

func (l *Ledger) free(limits Limits) int {
	if l.atFailedLimit(limits) {
		return 0
	}
	reserved := l.open + len(l.expected)
	free := limits.MaxActive - l.jobs.Active() - reserved
	if limits.MaxPending >= 0 {
		// A Job that was not seen yet has no ready Pod.
		free = min(free, limits.MaxPending-l.jobs.Pending()-reserved)
	}
	return free
}

func (l *Ledger) atFailedLimit(limits Limits) bool {
	failed := len(l.jobs.Failed())
	if !limits.CountAllFailed {
		failed -= len(l.jobs.Kept())
	}
	return limits.MaxFailed >= 0 && failed >= limits.MaxFailed
}

// Exceeds is whether a Job must not be created although its slot was reserved: limits were lowered since, or Jobs failed.
func (l *Ledger) Exceeds(limits Limits) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.atFailedLimit(limits) || l.jobs.Active()+l.open+len(l.expected) > limits.MaxActive
}

// Return gives back n slots for which there was no message.
func (l *Ledger) Return(n int) {
	if n == 0 {
		return
	}
	l.mu.Lock()
	l.open -= n
	changed := l.changed
	l.mu.Unlock()
	changed()
}

// Assign makes a reserved slot that of a Job, which is being made until Finish or Cancel. It is false, and the slot stays as
// it is, where the Job has one already.
func (l *Ledger) Assign(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, expected := l.expected[name]
	if _, working := l.working[name]; working || expected {
		return false
	}
	l.open--
	l.expected[name] = l.clock.Now()
	l.working[name] = false
	return true
}

// Reopen makes a Job's slot one for a message again, as its Job is not made after all.
func (l *Ledger) Reopen(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.expected, name)
	delete(l.working, name)
	l.open++
}

// Keep says that a Job has a message's receipt, and answers for the message from now on.
func (l *Ledger) Keep(name string, receipt job.Receipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keeper == nil {
		return
	}
	record, seen := l.jobs.Get(name)
	// One that was seen and is gone, or has finished, was told of.
	if seen && record.State == job.Active || !seen && !l.working[name] {
		l.keeper.keep(name, receipt)
	}
}

// Acknowledged says that the message which a Job kept is gone from the queue.
func (l *Ledger) Acknowledged(name string, uid types.UID) {
	l.mu.Lock()
	if record, ok := l.jobs.Get(name); ok && record.UID == uid {
		l.jobs.Acknowledge(name)
	}
	changed := l.changed
	l.mu.Unlock()
	changed()
}

// SeenMeanwhile is whether a Job was seen since its slot was assigned; it may be gone again.
func (l *Ledger) SeenMeanwhile(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.working[name]
}

// Finish says that a Job is made, or may be: its slot stays reserved until it is seen, or found missing.
func (l *Ledger) Finish(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.working, name)
	if _, ok := l.expected[name]; ok {
		l.expected[name] = l.clock.Now()
	}
}

// Expect reserves a slot for a Job that exists and was not seen yet, over any limit.
func (l *Ledger) Expect(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.jobs.Get(name); ok {
		return
	}
	if _, ok := l.expected[name]; !ok {
		l.expected[name] = l.clock.Now()
	}
}

// Free gives back the slot of a Job that needs none: it has finished, or was seen.
func (l *Ledger) Free(name string) {
	l.mu.Lock()
	delete(l.expected, name)
	changed := l.changed
	l.mu.Unlock()
	changed()
}

// Cancel gives back the slot of a Job that surely does not exist.
func (l *Ledger) Cancel(name string) {
	l.mu.Lock()
	delete(l.expected, name)
	delete(l.working, name)
	if _, seen := l.jobs.Get(name); !seen {
		l.lose(name)
	}
	changed := l.changed
	l.mu.Unlock()
	changed()
}

// Overdue are the names of the Jobs that are expected since before a time and that nobody is making. more is whether any Job
// is expected.
func (l *Ledger) Overdue(before time.Time) (names []string, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, since := range l.expected {
		if _, working := l.working[name]; !working && since.Before(before) {
			names = append(names, name)
		}
	}
	return names, len(l.expected) > 0
}

// Seen is whether a Job of that name was seen.
func (l *Ledger) Seen(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.jobs.Get(name)
	return ok
}

// Find is the newest Job seen of this attempt or a later one at the same message.
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

// View has somebody look at the Jobs seen, who must be quick and keep nothing of what it is shown.
func (l *Ledger) View(at func(*job.History)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at(l.jobs)
}

// Ledgers are the ledgers of all bindings, by UID: never by name, as a binding that was created again under its old
// name owns none of the old one's Jobs.
type Ledgers struct {
	clock clock.PassiveClock
	mu    sync.Mutex
	byUID map[types.UID]*Ledger
}

// NewLedgers makes an empty set of ledgers.
func NewLedgers(c clock.PassiveClock) *Ledgers {
	return &Ledgers{clock: c, byUID: map[types.UID]*Ledger{}}
}

// Of is the ledger of a binding; there is always one.
func (ls *Ledgers) Of(uid types.UID) *Ledger {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.of(uid)
}

func (ls *Ledgers) of(uid types.UID) *Ledger {
	ledger, ok := ls.byUID[uid]
	if !ok {
		ledger = newLedger(ls.clock)
		ls.byUID[uid] = ledger
	}
	return ledger
}

// Observe takes in what a binding's Job is now.
func (ls *Ledgers) Observe(owner types.UID, record job.Record) { ls.Of(owner).Observe(record) }

// Forget takes in that a binding's Job is gone.
func (ls *Ledgers) Forget(owner types.UID, name string, uid types.UID) {
	ls.Of(owner).Forget(name, uid)
	ls.tidy(owner)
}

// attach gives a loop its binding's ledger and has it told of changes.
func (ls *Ledgers) attach(uid types.UID, changed func()) *Ledger {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ledger := ls.of(uid)
	ledger.mu.Lock()
	defer ledger.mu.Unlock()
	ledger.used, ledger.changed = true, changed
	return ledger
}

// look has a keeper look after the messages that Jobs keep: those that are there, and all that come. nil ends that.
func (l *Ledger) look(k keeper) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keeper = k
	for record := range l.jobs.All() {
		l.tell(record)
	}
}

// detach takes the ledger back once the loop has ended. Reservations for messages that it did not get are void then;
// those for Jobs stay, as the Jobs may exist.
func (ls *Ledgers) detach(uid types.UID) {
	ledger := ls.Of(uid)
	ledger.mu.Lock()
	ledger.used, ledger.changed, ledger.keeper, ledger.open = false, func() {}, nil, 0
	ledger.mu.Unlock()
	ls.tidy(uid)
}

// tidy drops a ledger in which nothing is left.
func (ls *Ledgers) tidy(uid types.UID) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ledger, ok := ls.byUID[uid]
	if !ok {
		return
	}
	ledger.mu.Lock()
	defer ledger.mu.Unlock()
	if !ledger.used && ledger.jobs.Len() == 0 && len(ledger.expected) == 0 {
		delete(ls.byUID, uid)
	}
}
