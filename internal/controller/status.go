package controller

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/intake"
)

// maxListed is how many failures and refusals the status names.
const maxListed = 10

// observed is all that a status is made of.
type observed struct {
	history     history
	report      intake.Report
	template    templateCheck
	lastRequeue *v1alpha1.RequeueResult
	starting    metav1.Condition
	// ends are how the containers of Jobs ended, by the Jobs' names.
	ends map[string]*v1alpha1.ContainerEnd
}

// statusOf is the status of a binding. Times and what was last seen are carried over from the status before.
func statusOf(binding *v1alpha1.QueueBinding, o observed, now metav1.Time) v1alpha1.QueueBindingStatus {
	before := &binding.Status
	count := func(n int) *int32 { return new(int32(n)) }
	status := v1alpha1.QueueBindingStatus{
		ObservedGeneration:  binding.Generation,
		Selector:            v1alpha1.LabelBinding + "=" + binding.Name,
		ActiveJobs:          count(o.history.active),
		PendingJobs:         count(o.history.pending),
		SucceededJobs:       count(o.history.succeeded),
		FailedJobs:          count(o.history.failed),
		RequeuedJobs:        count(o.history.requeued),
		Queue:               before.Queue,
		LastRejection:       before.LastRejection,
		LastRequeue:         before.LastRequeue,
		LastJobCreationTime: before.LastJobCreationTime,
		RecentFailures:      recentFailures(o.history, o.ends),
	}
	if s := o.report.Stats; s != nil {
		status.Queue = &v1alpha1.QueueStatus{
			VisibleMessages:    s.VisibleMessages,
			InFlightMessages:   s.InFlightMessages,
			DelayedMessages:    s.DelayedMessages,
			FIFO:               s.FIFO,
			DeadLetterQueueARN: s.DeadLetterQueueARN,
			DeadLetterMessages: s.DeadLetterMessages,
		}
	}
	if o.report.LastRejection != nil {
		status.LastRejection = o.report.LastRejection
	}
	if o.lastRequeue != nil {
		status.LastRequeue = o.lastRequeue
	}
	if last := o.history.lastCreated; !last.IsZero() && (status.LastJobCreationTime == nil || last.After(status.LastJobCreationTime.Time)) {
		status.LastJobCreationTime = new(metav1.NewTime(last))
	}

	reachable := queueReachable(binding, o.report)
	valid := o.template.condition()
	for _, condition := range []metav1.Condition{ready(binding, o, reachable, valid), reachable, valid, o.starting} {
		condition.ObservedGeneration = binding.Generation
		condition.LastTransitionTime = now
		if old := meta.FindStatusCondition(before.Conditions, condition.Type); old != nil && old.Status == condition.Status {
			condition.LastTransitionTime = old.LastTransitionTime
		}
		status.Conditions = append(status.Conditions, condition)
	}
	return status
}

func recentFailures(h history, ends map[string]*v1alpha1.ContainerEnd) []v1alpha1.Failure {
	var failures []v1alpha1.Failure
	for _, r := range h.recent {
		failures = append(failures, v1alpha1.Failure{
			JobName: r.Name, MessageID: r.Lineage.Root, Reason: r.Reason, Message: r.Message, FinishTime: metav1.NewTime(r.Finished),
			Container: ends[r.Name],
		})
	}
	return failures
}

func queueReachable(binding *v1alpha1.QueueBinding, report intake.Report) metav1.Condition {
	condition := metav1.Condition{Type: v1alpha1.ConditionQueueReachable}
	switch {
	case !report.QueueHeard:
		condition.Status, condition.Reason = metav1.ConditionUnknown, v1alpha1.ReasonStarting
		condition.Message = "The queue has not answered yet"
	case report.QueueReason != "":
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, report.QueueReason, report.QueueMessage
	default:
		condition.Status, condition.Reason = metav1.ConditionTrue, v1alpha1.ReasonReachable
		condition.Message = "The queue answers"
		if report.Stats != nil && report.Stats.DeadLetterQueueARN == "" {
			what := "which cannot become a Job"
			if binding.Spec.Acknowledge == v1alpha1.AcknowledgeOnJobSucceeded {
				what = "whose Jobs fail"
			}
			condition.Message += "; it has no redrive policy, so that a message " + what + " is tried again until its retention period ends"
		}
	}
	return condition
}

// ready sums up: what the user chose comes before what is broken, unless the template is.
func ready(binding *v1alpha1.QueueBinding, o observed, reachable, valid metav1.Condition) metav1.Condition {
	condition := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse}
	switch maxActive := binding.Spec.Concurrency.MaxActiveJobs; {
	case valid.Status == metav1.ConditionFalse:
		condition.Reason, condition.Message = valid.Reason, valid.Message
	case binding.Spec.Suspend:
		condition.Status, condition.Reason = metav1.ConditionTrue, v1alpha1.ReasonSuspended
		condition.Message = "No messages are received while suspend is true"
	case maxActive != nil && *maxActive == 0:
		condition.Status, condition.Reason = metav1.ConditionTrue, v1alpha1.ReasonSuspended
		condition.Message = "No messages are received while maxActiveJobs is 0"
	case reachable.Status != metav1.ConditionTrue:
		condition.Status, condition.Reason, condition.Message = reachable.Status, reachable.Reason, reachable.Message
	case o.report.BlockedReason != "":
		condition.Reason, condition.Message = o.report.BlockedReason, o.report.BlockedMessage
	case o.history.storedReached:
		condition.Reason = v1alpha1.ReasonStoredBytesLimitReached
		condition.Message = fmt.Sprintf("The Jobs of this binding take %d MiB of the API server's storage, as much as the operator allows: requeue or delete failed Jobs, lower the history limits, or send smaller messages", o.history.stored>>20)
	case o.history.failedReached:
		condition.Reason = v1alpha1.ReasonFailedJobsLimitReached
		condition.Message = fmt.Sprintf("%d failed Jobs are kept, the most that failedJobsHistoryLimit allows: requeue or delete some, or raise the limit", o.history.failedCounted)
	default:
		condition.Status, condition.Reason = metav1.ConditionTrue, v1alpha1.ReasonRunning
		condition.Message = "Messages become Jobs"
	}
	return condition
}
