package intake

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"github.com/queuebinding/queuebinding/internal/inflight"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/metrics"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// receipts see to the messages of Jobs under OnJobSucceeded: hidden while the Job runs, deleted when it has succeeded, given
// back when it has failed or is gone. All that they know comes from the Jobs, so that a new loop goes on where another one
// ended. The ledger calls them with its lock held, which guards them too.
type receipts struct {
	inFlight   *inflight.Messages
	ledger     *ledger.Ledger
	clock      clock.PassiveClock
	visibility func() time.Duration
	traces     *traces
	byName     map[string]*holder
}

// holder is a Job that answers for a message.
type holder struct {
	// receipt is the one that the Job bears, others those of more messages for the same attempt.
	receipt job.Receipt
	others  []job.Receipt
	// state is the Job's; empty where it was not seen yet.
	state job.State
	grace time.Duration
}

func newReceipts(inFlight *inflight.Messages, l *ledger.Ledger, c clock.PassiveClock, visibility func() time.Duration, t *traces) *receipts {
	return &receipts{inFlight: inFlight, ledger: l, clock: c, visibility: visibility, traces: t, byName: map[string]*holder{}}
}

// Saw implements ledger.Watcher.
func (r *receipts) Saw(record job.Record, newest bool) {
	known, seen := r.byName[record.Name]
	if !seen {
		known = &holder{receipt: record.Receipt}
		r.byName[record.Name] = known
	}
	known.grace = record.Grace
	replaced := r.replace(known, record.Receipt)
	if known.state == record.State && !replaced {
		return
	}
	known.state = record.State
	switch record.State {
	case job.Active:
		r.inFlight.Hide(known.receipt.Handle, known.receipt.Time)
	case job.Succeeded:
		if r.clock.Since(record.Finished) < queue.MaxVisibilityTimeout {
			// Not with the lock held, which the ledger holds now.
			r.inFlight.DeleteDone(known.receipt.Handle, both(r.traces.acknowledging(&record), func() { r.ledger.Acknowledged(record.Name, record.UID) }))
			for _, other := range known.others {
				r.inFlight.DeleteDone(other.Handle, nil)
			}
		} else {
			r.inFlight.Forget(known.receipt.Handle)
		}
	case job.Failed:
		r.failed(record, known, newest, seen)
	}
}

// replace takes over a receipt if it is of a later receive: an earlier operator, or a cache that is behind, may show an older
// one.
func (r *receipts) replace(known *holder, receipt job.Receipt) bool {
	if !receipt.Later(known.receipt) {
		return false
	}
	r.inFlight.Forget(known.receipt.Handle)
	known.receipt = receipt
	return true
}

// failed gives a message back for the next attempt.
func (r *receipts) failed(record job.Record, known *holder, newest, seen bool) {
	for _, other := range known.others {
		r.inFlight.Forget(other.Handle) // it comes back, and finds the next attempt
	}
	since := max(r.clock.Since(record.Finished), 0)
	if !newest || !seen && since > r.visibility() {
		// The next attempt has the message, or it has come back by itself.
		r.inFlight.Forget(known.receipt.Handle)
		return
	}
	delay := retryDelay(known.receipt.Count)
	r.inFlight.Return(known.receipt.Handle, max(delay-since, 0).Round(time.Second), metrics.GivenBackJobFailed)
}

// Gone implements ledger.Watcher.
func (r *receipts) Gone(name string) {
	known, ok := r.byName[name]
	if !ok {
		return
	}
	delete(r.byName, name)
	for _, other := range known.others {
		r.inFlight.Return(other.Handle, known.grace, metrics.GivenBackJobGone)
	}
	switch known.state {
	case job.Active:
		r.inFlight.Return(known.receipt.Handle, known.grace, metrics.GivenBackJobGone)
	case "":
		r.inFlight.Return(known.receipt.Handle, corev1.DefaultTerminationGracePeriodSeconds*time.Second, metrics.GivenBackJobGone)
	}
}

// Answers implements ledger.Watcher.
func (r *receipts) Answers(name string, receipt job.Receipt) {
	known, ok := r.byName[name]
	if !ok {
		known = &holder{receipt: receipt}
		r.byName[name] = known
	}
	if !known.receipt.SameMessage(receipt) {
		r.addOther(known, receipt)
		return
	}
	r.replace(known, receipt)
	if receipt.Handle != known.receipt.Handle {
		r.inFlight.Forget(receipt.Handle)
	}
	r.inFlight.Hide(known.receipt.Handle, known.receipt.Time)
}

// addOther takes in another message of the Job's attempt. Each keeps its own receipt, or they would take the Job from each
// other and be received until they are moved to the dead-letter queue.
func (r *receipts) addOther(known *holder, receipt job.Receipt) {
	r.inFlight.Hide(receipt.Handle, receipt.Time)
	for i, other := range known.others {
		if other.SameMessage(receipt) {
			if other.Handle != receipt.Handle {
				r.inFlight.Forget(other.Handle)
			}
			known.others[i] = receipt
			return
		}
	}
	known.others = append(known.others, receipt)
}
