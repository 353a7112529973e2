package ledger

import (
	"k8s.io/utils/ptr"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

// Unlimited stands for a limit that is not set.
const Unlimited = -1

// The schema's defaults, for bindings that did not pass through it.
const (
	defaultMaxActive         = 10
	defaultSuccessfulHistory = 100
	defaultFailedHistory     = 1000
)

// Limits are the bounds that a binding sets to its Jobs. They are the one place that tells what a spec means by them.
type Limits struct {
	// MaxActive is the highest number of active Jobs; 0 pauses.
	MaxActive int
	// MaxPending is the highest number of pending Jobs, or Unlimited.
	MaxPending int
	// KeepSucceeded and KeepFailed are how many Jobs are kept that have finished so.
	KeepSucceeded, KeepFailed int
	// MaxStoredBytes is how many bytes of the API server's storage Jobs may take before no more are created, or 0 for no limit.
	MaxStoredBytes int64
	// failedPolicy is what happens at KeepFailed. Where it is empty, each failed Job goes by its own rule: those that kept their
	// messages on the queue are deleted beyond it, the others, the only record of theirs, pause the binding at it.
	failedPolicy v1alpha1.FailedJobsPolicy
}

// LimitsOf returns the limits of a spec, and of the operator for each binding.
func LimitsOf(spec *v1alpha1.QueueBindingSpec, maxStoredBytes int64) Limits {
	return Limits{
		MaxStoredBytes: maxStoredBytes,
		MaxActive:      int(ptr.Deref(spec.Concurrency.MaxActiveJobs, defaultMaxActive)),
		MaxPending:     int(ptr.Deref(spec.Concurrency.MaxPendingJobs, Unlimited)),
		KeepSucceeded:  int(ptr.Deref(spec.SuccessfulJobsHistoryLimit, defaultSuccessfulHistory)),
		KeepFailed:     int(ptr.Deref(spec.FailedJobsHistoryLimit, defaultFailedHistory)),
		failedPolicy:   spec.FailedJobsPolicy,
	}
}

// MaxFailed returns how many failed Jobs, of messages taken off the queue as a spec has it now, pause the binding, or Unlimited where
// they do not.
func MaxFailed(spec *v1alpha1.QueueBindingSpec) int {
	pauses := spec.FailedJobsPolicy == v1alpha1.PauseAtFailedJobsLimit ||
		spec.FailedJobsPolicy == "" && spec.Acknowledge != v1alpha1.AcknowledgeOnJobSucceeded
	if !pauses {
		return Unlimited
	}
	return LimitsOf(spec, 0).KeepFailed
}

// StoredReached reports whether Jobs take so many bytes that no more are created.
func (l Limits) StoredReached(jobs *job.History) bool {
	return l.MaxStoredBytes > 0 && jobs.StoredBytes() >= l.MaxStoredBytes
}

// FailedReached reports whether failed Jobs keep the binding from receiving.
func (l Limits) FailedReached(jobs *job.History) bool {
	if l.failedPolicy == v1alpha1.DeleteOldestFailedJobs {
		return false
	}
	return l.CountedFailed(jobs) >= l.KeepFailed
}

// CountedFailed returns how many failed Jobs count when receiving is to pause at KeepFailed.
func (l Limits) CountedFailed(jobs *job.History) int {
	failed := len(jobs.Failed())
	if l.failedPolicy != v1alpha1.PauseAtFailedJobsLimit {
		failed -= len(jobs.FailedOnQueue())
	}
	return failed
}

// SucceededBeyond returns the succeeded Jobs that there are too many, the oldest first.
func (l Limits) SucceededBeyond(jobs *job.History) []*job.Record {
	return beyond(jobs.Succeeded(), l.KeepSucceeded)
}

// FailedBeyond returns the failed Jobs that there are too many and that are deleted for it, the oldest first.
func (l Limits) FailedBeyond(jobs *job.History) []*job.Record {
	switch l.failedPolicy {
	case v1alpha1.DeleteOldestFailedJobs:
		return beyond(jobs.Failed(), l.KeepFailed)
	case v1alpha1.PauseAtFailedJobsLimit:
		return nil
	}
	return beyond(jobs.FailedOnQueue(), l.KeepFailed)
}

// beyond returns the first ones of a list that is longer than its limit.
func beyond(records []*job.Record, limit int) []*job.Record {
	return records[:max(len(records)-limit, 0)]
}
