package controller

import (
	"cmp"
	"slices"
	"strings"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

// history is what a binding's Jobs amount to, and which of them have had their time.
type history struct {
	// active and pending overlap; the others do not.
	active, pending, succeeded, failed, requeued []job.Record
	// superseded are failed Jobs whose next attempt exists.
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
		case r.Lineage.Root != "" && newest[r.Lineage.Root] > r.Lineage.Attempt:
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

// beyondLimits are the Jobs that the limits have no room for.
func (h history) beyondLimits(spec *v1alpha1.QueueBindingSpec) []job.Record {
	spent := slices.Clone(beyond(h.succeeded, spec.SuccessfulJobsHistoryLimit))
	if spec.FailedJobsPolicy == v1alpha1.DeleteOldestFailedJobs {
		spent = append(spent, beyond(h.failed, spec.FailedJobsHistoryLimit)...)
	}
	return spent
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
	return spec.FailedJobsPolicy != v1alpha1.DeleteOldestFailedJobs &&
		spec.FailedJobsHistoryLimit != nil && len(h.failed) >= int(*spec.FailedJobsHistoryLimit)
}
