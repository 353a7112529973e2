package intake

import (
	"sync"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// templateSuspect is how many rejections in a row have the template checked again.
const templateSuspect = 5

// Report is what a loop has to tell about itself.
type Report struct {
	// QueueHeard reports whether the queue answered or failed yet.
	QueueHeard bool
	// QueueReason and QueueMessage say why the queue cannot be used; they are empty where it can.
	QueueReason, QueueMessage string
	// Stats is what the queue last said of itself, nil at first.
	Stats *queue.Stats
	// BlockedReason and BlockedMessage say why no Jobs can be created; they are empty where they can.
	BlockedReason, BlockedMessage string
	// Suspicions is how often several messages in a row were rejected, which may be the template's fault.
	Suspicions int
	// LastRejection is the last message that was rejected.
	LastRejection *v1alpha1.Rejection
}

// reporter keeps a loop's report and tells when it has changed.
type reporter struct {
	changed func()

	mu     sync.Mutex
	report Report
	// receives is what receives say of the queue. It outweighs what the question for statistics says, as an identity may
	// be allowed the one and not the other.
	receives receives
}

type receives int

const (
	notTried receives = iota
	answered
	failing
)

func newReporter(changed func()) *reporter { return &reporter{changed: changed} }

func (r *reporter) snapshot() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.report
}

// set applies a change and tells of it if change says that there is one.
func (r *reporter) set(change func(*Report) bool) {
	r.mu.Lock()
	changed := change(&r.report)
	r.mu.Unlock()
	if changed {
		r.changed()
	}
}

// received takes in a receive that was answered.
func (r *reporter) received() {
	r.set(func(report *Report) bool {
		r.receives = answered
		return report.queueAnswered()
	})
}

// receiveFailed takes in a receive that failed.
func (r *reporter) receiveFailed(err error) {
	r.set(func(report *Report) bool {
		r.receives = failing
		return report.queueFailed(err)
	})
}

// polled takes in the answer to the question for the queue's statistics. receiving reports whether receives are being tried.
func (r *reporter) polled(stats queue.Stats, err error, receiving bool) {
	r.set(func(report *Report) bool {
		changed := false
		if err == nil && (report.Stats == nil || !equalStats(*report.Stats, stats)) {
			report.Stats = &stats
			changed = true
		}
		switch {
		case receiving && r.receives == failing, receiving && r.receives == answered && err != nil:
		case r.receives == answered && queue.ReasonOf(err) == queue.AccessDenied: // for the statistics, not for the messages
		case err != nil:
			changed = report.queueFailed(err) || changed
		default:
			changed = report.queueAnswered() || changed
		}
		return changed
	})
}

func (r *Report) queueFailed(err error) bool {
	reason, message := string(queue.ReasonOf(err)), events.Truncate(err.Error())
	if r.QueueHeard && r.QueueReason == reason && r.QueueMessage == message {
		return false
	}
	r.QueueHeard, r.QueueReason, r.QueueMessage = true, reason, message
	return true
}

func (r *Report) queueAnswered() bool {
	if r.QueueHeard && r.QueueReason == "" {
		return false
	}
	r.QueueHeard, r.QueueReason, r.QueueMessage = true, "", ""
	return true
}

func equalStats(a, b queue.Stats) bool {
	aDead, bDead := a.DeadLetterMessages, b.DeadLetterMessages
	a.DeadLetterMessages, b.DeadLetterMessages = nil, nil
	return a == b && (aDead == nil) == (bDead == nil) && (aDead == nil || *aDead == *bDead)
}

func (r *reporter) blocked(reason, message string) {
	r.set(func(report *Report) bool {
		message = events.Truncate(message)
		if report.BlockedReason == reason && report.BlockedMessage == message {
			return false
		}
		report.BlockedReason, report.BlockedMessage = reason, message
		return true
	})
}

// rejected takes in a rejection, the n-th in a row.
func (r *reporter) rejected(rejection v1alpha1.Rejection, n int64) {
	r.set(func(report *Report) bool {
		report.LastRejection = &rejection
		if n%templateSuspect == 0 {
			report.Suspicions++
		}
		return true
	})
}
