package intake

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/queuebinding/queuebinding/internal/job"
)

// step is what a loop does, or waits for.
type step string

const (
	// stepWorking is between two waits: it takes no time.
	stepWorking step = "working"
	// stepReceiving is a receive. The queue answers within queue.MaxWait and some seconds, or the receive fails.
	stepReceiving step = "receiving"
	// All others take as long as the queue, the API server or Jobs do.
	stepExistingJobs step = "reading the Jobs that exist"
	stepMessages     step = "messages received before to become Jobs"
	stepSlots        step = "free slots"
	stepRoom         step = "memory for what was received"
	stepBackoff      step = "the next try to receive"
	stepEnding       step = "its last messages"
)

// stuckAfter is how long a loop may be at a step that takes no time, or that is bounded, before it is taken to be stuck. A receive ends
// after 35 seconds at most.
const stuckAfter = 5 * time.Minute

// bounded reports whether a step ends by itself, whatever others do.
func (s step) bounded() bool { return s == stepWorking || s == stepReceiving }

// activity is what a loop is at, and since when.
type activity struct {
	clock clock.PassiveClock

	mu    sync.Mutex
	step  step
	since time.Time
}

func newActivity(c clock.PassiveClock) *activity {
	return &activity{clock: c, step: stepWorking, since: c.Now()}
}

// set says that the loop is at a step from now on, and returns the one before.
func (a *activity) set(next step) (before step) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before = a.step
	a.step, a.since = next, a.clock.Now()
	return before
}

// during says that the loop is at a step while it does something that may wait.
func (a *activity) during(next step, do func()) {
	before := a.set(next)
	defer a.set(before)
	do()
}

func (a *activity) now() (step, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.step, a.clock.Since(a.since)
}

func (a *activity) isStuck() bool {
	step, since := a.now()
	return step.bounded() && since > stuckAfter
}

// LoopState is what a loop does now, for whoever looks into the operator. It holds nothing of messages.
type LoopState struct {
	Binding types.NamespacedName
	// WaitsFor is what the loop waits for or does, For since when.
	WaitsFor string
	For      time.Duration
	Stuck    bool
	// Active, Pending and Failed are the Jobs that were seen, Reserved the slots for Jobs that were not.
	Active, Pending, Failed, Reserved int
	// QueueReason and BlockedReason say why the queue cannot be used, and why no Jobs can be created.
	QueueReason, BlockedReason string
}

func (l *Loop) state() LoopState {
	step, since := l.activity.now()
	report := l.report.snapshot()
	state := LoopState{
		Binding: l.key, WaitsFor: string(step), For: since, Stuck: l.activity.isStuck(),
		Reserved: l.ledger.Reserved(), QueueReason: report.QueueReason, BlockedReason: report.BlockedReason,
	}
	l.ledger.View(func(jobs *job.History) {
		state.Active, state.Pending, state.Failed = jobs.Active(), jobs.Pending(), len(jobs.Failed())
	})
	return state
}

func (r *Registry) loops() []*Loop {
	r.mu.Lock()
	defer r.mu.Unlock()
	loops := make([]*Loop, 0, len(r.running))
	for _, each := range r.running {
		loops = append(loops, each.loop)
	}
	return loops
}

// States are what the loops do now, by the names of their bindings.
func (r *Registry) States() []LoopState {
	var states []LoopState
	for _, loop := range r.loops() {
		states = append(states, loop.state())
	}
	slices.SortFunc(states, func(a, b LoopState) int { return cmp.Compare(a.Binding.String(), b.Binding.String()) })
	return states
}

var errStuck = errors.New("a loop is stuck")

// CheckLive fails where a loop is stuck, so that the operator is started again. It is a healthz.Checker. A loop is not stuck because it
// waits for slots, for its queue or for the API server, however long that takes.
func (r *Registry) CheckLive(*http.Request) error {
	var err error
	for _, loop := range r.loops() {
		if loop.activity.isStuck() {
			step, since := loop.activity.now()
			loop.log.Error(errStuck, "Failed the liveness check", "step", step, "since", since)
			err = errStuck
		}
	}
	return err
}
