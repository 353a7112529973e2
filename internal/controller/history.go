package controller

import (
	"slices"
	"time"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// redeliveryLasts is for how long after its Job's success a message may still come back that was not acknowledged, SQS's
// longest visibility timeout.
const redeliveryLasts = queue.MaxVisibilityTimeout

// history is what a binding's Jobs amount to, and which of them have had their time.
type history struct {
	// active and pending overlap; the others do not. keeping are those of the failed ones that kept their messages on the
	// queue; the others are the only record of theirs.
	active, pending, succeeded, failed, keeping, requeued int
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
func historyOf(jobs *job.History, spec *v1alpha1.QueueBindingSpec, now time.Time) history {
	h := history{
		active:      jobs.Active(),
		pending:     jobs.Pending(),
		succeeded:   len(jobs.Succeeded()),
		failed:      len(jobs.Failed()),
		keeping:     len(jobs.Kept()),
		requeued:    len(jobs.Requeued()),
		lastCreated: jobs.LastCreated(),
		superseded:  copied(jobs.Superseded()),
	}
	for _, r := range slices.Backward(jobs.Failed()) {
		if len(h.recent) == mostListed {
			break
		}
		h.recent = append(h.recent, *r)
	}
	for _, r := range beyond(jobs.Succeeded(), spec.SuccessfulJobsHistoryLimit) {
		if r.KeepsMessage() && !r.Acknowledged && now.Sub(r.Finished) < redeliveryLasts {
			h.later = true
			continue
		}
		h.spent = append(h.spent, *r)
	}
	switch spec.FailedJobsPolicy {
	case v1alpha1.DeleteOldestFailedJobs:
		h.spent = append(h.spent, copied(beyond(jobs.Failed(), spec.FailedJobsHistoryLimit))...)
	case v1alpha1.PauseAtFailedJobsLimit:
	default:
		h.spent = append(h.spent, copied(beyond(jobs.Kept(), spec.FailedJobsHistoryLimit))...)
	}
	return h
}

// beyond are the first ones of a list that is longer than its limit.
func beyond(records []*record, limit *int32) []*record {
	if limit == nil || len(records) <= int(*limit) {
		return nil
	}
	return records[:len(records)-int(*limit)]
}

func copied(records []*record) []record {
	var copies []record
	for _, r := range records {
		copies = append(copies, *r)
	}
	return copies
}

// atFailedLimit is whether the failed Jobs keep the binding from receiving.
func (h history) atFailedLimit(spec *v1alpha1.QueueBindingSpec) bool {
	failed := h.failed
	switch spec.FailedJobsPolicy {
	case v1alpha1.DeleteOldestFailedJobs:
		return false
	case v1alpha1.PauseAtFailedJobsLimit:
	default:
		failed -= h.keeping
	}
	return spec.FailedJobsHistoryLimit != nil && failed >= int(*spec.FailedJobsHistoryLimit)
}
