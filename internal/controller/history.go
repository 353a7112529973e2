package controller

import (
	"slices"
	"time"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/requeue"
)

// redeliveryLasts is for how long after its Job's success a message may still come back that was not acknowledged, SQS's
// longest visibility timeout.
const redeliveryLasts = queue.MaxVisibilityTimeout

// history is what a binding's Jobs amount to, and which of them have had their time.
type history struct {
	// active and pending overlap; the others do not.
	active, pending, succeeded, failed, requeued int
	// failedCounted are those of the failed ones that count for the limit, failedReached reports whether they are as many.
	failedCounted int
	failedReached bool
	// stored is how many bytes all Jobs take, storedReached reports whether that is as many as they may.
	stored        int64
	storedReached bool
	// recent are the last ones that failed, newest first.
	recent      []record
	lastCreated time.Time
	// superseded are failed Jobs that were requeued and whose next attempt exists, spent those that the limits have no room
	// for. later is whether there are more of the latter, which have to wait: a message that comes back finds by its succeeded
	// Job that it is done with.
	superseded, spent []record
	later             bool
}

// historyOf looks at a binding's Jobs, and goes through none but those that it tells of.
func historyOf(jobs *job.History, limits ledger.Limits, now time.Time) history {
	h := history{
		active:        jobs.Active(),
		pending:       jobs.Pending(),
		succeeded:     len(jobs.Succeeded()),
		failed:        len(jobs.Failed()),
		requeued:      len(jobs.Requeued()),
		lastCreated:   jobs.LastCreated(),
		superseded:    copied(jobs.Superseded()),
		spent:         copied(limits.FailedBeyond(jobs)),
		failedCounted: limits.CountedFailed(jobs),
		failedReached: limits.FailedReached(jobs),
		stored:        jobs.StoredBytes(),
		storedReached: limits.StoredReached(jobs),
	}
	for _, r := range slices.Backward(jobs.Failed()) {
		if len(h.recent) == maxListed {
			break
		}
		h.recent = append(h.recent, *r)
	}
	for _, r := range limits.SucceededBeyond(jobs) {
		if r.MessageOnQueue() && !r.Acknowledged && now.Sub(r.Finished) < redeliveryLasts {
			h.later = true
			continue
		}
		h.spent = append(h.spent, *r)
	}
	return h
}

// keepUncounted has superseded Jobs stay until the status counts their requeue: an operator that comes after this one counts the rest by
// them.
func (h *history) keepUncounted(last *v1alpha1.RequeueResult, now time.Time) {
	h.superseded = slices.DeleteFunc(h.superseded, func(r record) bool { return requeue.AwaitsStatus(&r, last, now) })
}

func copied(records []*record) []record {
	var copies []record
	for _, r := range records {
		copies = append(copies, *r)
	}
	return copies
}
