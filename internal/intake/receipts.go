package intake

import (
	"maps"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// receipts look after the messages that Jobs under OnJobSucceeded keep: hidden while the Job runs, deleted when it has
// succeeded, given back when it has failed or is gone. All that they know comes from the Jobs, so that a new loop goes on
// where another one ended. The ledger calls them with its lock held, which guards them too.
type receipts struct {
	loop   *Loop
	byName map[string]*kept
}

// kept is a message that a Job keeps.
type kept struct {
	receipt job.Receipt
	// state is the Job's; empty where it was not seen yet.
	state job.State
	grace time.Duration
}

func newReceipts(l *Loop) *receipts {
	return &receipts{loop: l, byName: map[string]*kept{}}
}

// saw implements keeper.
func (r *receipts) saw(record job.Record, newest bool) {
	known, seen := r.byName[record.Name]
	if !seen {
		known = &kept{receipt: record.Receipt, grace: record.Grace}
		r.byName[record.Name] = known
	}
	known.grace = record.Grace
	replaced := known.take(record.Receipt, r.loop.held)
	if known.state == record.State && !replaced {
		return
	}
	known.state = record.State
	switch record.State {
	case job.Active:
		r.loop.held.keep(known.receipt.Handle, known.receipt.Time)
	case job.Succeeded:
		if r.loop.deps.Clock.Since(record.Finished) < queue.MaxVisibilityTimeout {
			r.loop.finished(record, known.receipt.Handle)
		} else {
			r.loop.held.drop(known.receipt.Handle)
		}
	case job.Failed:
		r.failed(record, known, newest, seen)
	}
}

// take takes over a receipt if it is of a later receive: an earlier operator, or a cache that is behind, may show an older one.
func (k *kept) take(receipt job.Receipt, h *held) bool {
	if !receipt.Later(k.receipt) {
		return false
	}
	h.drop(k.receipt.Handle)
	k.receipt = receipt
	return true
}

// failed gives a message back for the next attempt.
func (r *receipts) failed(record job.Record, known *kept, newest, seen bool) {
	since := max(r.loop.deps.Clock.Since(record.Finished), 0)
	if !newest || !seen && since > r.loop.settings.Load().visibility() {
		// The next attempt has the message, or it has come back by itself.
		r.loop.held.drop(known.receipt.Handle)
		return
	}
	delay := retryDelay(known.receipt.Count)
	r.loop.giveBack(known.receipt.Handle, max(delay-since, 0).Round(time.Second))
}

// lost implements keeper.
func (r *receipts) lost(name string) {
	known, ok := r.byName[name]
	if !ok {
		return
	}
	delete(r.byName, name)
	switch known.state {
	case job.Active:
		r.loop.giveBack(known.receipt.Handle, known.grace)
	case "":
		r.loop.giveBack(known.receipt.Handle, corev1.DefaultTerminationGracePeriodSeconds*time.Second)
	}
}

// keep implements keeper.
func (r *receipts) keep(name string, receipt job.Receipt) {
	known, ok := r.byName[name]
	if !ok {
		known = &kept{receipt: receipt}
		r.byName[name] = known
	}
	known.take(receipt, r.loop.held)
	if receipt.Handle != known.receipt.Handle {
		r.loop.held.drop(receipt.Handle)
	}
	r.loop.held.keep(known.receipt.Handle, known.receipt.Time)
}

// finished has the message of a succeeded Job deleted.
func (l *Loop) finished(record job.Record, receiptHandle string) {
	l.disposals.add(disposal{
		receiptHandle: receiptHandle, visibleAfter: deletion, succeeded: true,
		deleted: func() { l.ledger.Acknowledged(record.Name, record.UID) },
	})
}

// patchReceipt writes a message's receipt onto the Job that answers for it, unless somebody else changed the Job since it was
// read: it may bear a later one by now.
func (l *Loop) patchReceipt(existing *batchv1.Job, receipt job.Receipt) error {
	ctx, cancel := l.request()
	defer cancel()
	changed := existing.DeepCopy()
	maps.Copy(changed.Annotations, receipt.Annotations())
	return l.deps.Client.Patch(ctx, changed, client.MergeFromWithOptions(existing, client.MergeFromWithOptimisticLock{}))
}
