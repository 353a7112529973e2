package controller

import (
	"cmp"
	"slices"
	"strings"
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
	// active and pending overlap; the others do not.
	active, pending, succeeded, failed, requeued []job.Record
	// superseded are failed Jobs that were requeued and whose next attempt exists. Those that kept their messages on the queue
	// stay, as the record of an attempt.
	superseded []job.Record
}

// historyOf sorts Jobs by what they are, each oldest first.
func historyOf(records []job.Record) history {
	newest := map[string]int{}
	for _, r := range records {
		newest[r.Lineage.Root] = max(newest[r.Lineage.Root], r.Lineage.Attempt)
	}
	var h history
	for _, r := range records {
		switch {
		case r.State == job.Active:
			h.active = append(h.active, r)
			if r.Pending {
				h.pending = append(h.pending, r)
			}
		case r.State == job.Succeeded:
			h.succeeded = append(h.succeeded, r)
		case !r.KeepsMessage() && r.Lineage.Root != "" && newest[r.Lineage.Root] > r.Lineage.Attempt:
			h.superseded = append(h.superseded, r)
		case r.Requeued:
			h.requeued = append(h.requeued, r)
		default:
			h.failed = append(h.failed, r)
		}
	}
	oldestFirst := func(a, b job.Record) int {
		return cmp.Or(a.Finished.Compare(b.Finished), a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name))
	}
	slices.SortFunc(h.succeeded, oldestFirst)
	slices.SortFunc(h.failed, oldestFirst)
	return h
}

// beyondLimits are the Jobs that the limits have no room for. later is whether there are more, which have to wait: a message
// that comes back finds by its succeeded Job that it is done with.
func (h history) beyondLimits(spec *v1alpha1.QueueBindingSpec, now time.Time) (spent []job.Record, later bool) {
	for _, r := range beyond(h.succeeded, spec.SuccessfulJobsHistoryLimit) {
		if r.KeepsMessage() && !r.Acknowledged && now.Sub(r.Finished) < redeliveryLasts {
			later = true
			continue
		}
		spent = append(spent, r)
	}
	switch spec.FailedJobsPolicy {
	case v1alpha1.DeleteOldestFailedJobs:
		spent = append(spent, beyond(h.failed, spec.FailedJobsHistoryLimit)...)
	case v1alpha1.PauseAtFailedJobsLimit:
	default:
		_, kept := h.failedByRule()
		spent = append(spent, beyond(kept, spec.FailedJobsHistoryLimit)...)
	}
	return spent, later
}

// failedByRule divides the failed Jobs into those that are the only record of their messages, and those that kept their
// messages on the queue.
func (h history) failedByRule() (records, kept []job.Record) {
	for _, r := range h.failed {
		if r.KeepsMessage() {
			kept = append(kept, r)
		} else {
			records = append(records, r)
		}
	}
	return records, kept
}

// beyond are the first ones of a list that is longer than its limit.
func beyond(records []job.Record, limit *int32) []job.Record {
	if limit == nil || len(records) <= int(*limit) {
		return nil
	}
	return records[:len(records)-int(*limit)]
}

// atFailedLimit is whether the failed Jobs keep the binding from receiving.
func (h history) atFailedLimit(spec *v1alpha1.QueueBindingSpec) bool {
	failed := h.failed
	switch spec.FailedJobsPolicy {
	case v1alpha1.DeleteOldestFailedJobs:
		return false
	case v1alpha1.PauseAtFailedJobsLimit:
	default:
		failed, _ = h.failedByRule()
	}
	return spec.FailedJobsHistoryLimit != nil && len(failed) >= int(*spec.FailedJobsHistoryLimit)
}
