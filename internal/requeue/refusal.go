package requeue

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

// Refusal returns why a Job cannot be requeued for a binding, or nil if it can. A trimmed Job is enough.
func Refusal(binding *v1alpha1.QueueBinding, candidate *batchv1.Job) *v1alpha1.RequeueRefusal {
	refuse := func(reason, message string) *v1alpha1.RequeueRefusal {
		return &v1alpha1.RequeueRefusal{JobName: candidate.Name, Reason: reason, Message: message}
	}
	if job.Owner(candidate) != binding.UID {
		return new(notOwned(candidate.Name, binding))
	}
	record := job.Observe(candidate)
	switch {
	case record.State == job.Active:
		return refuse(v1alpha1.RefusedNotFailed, "the Job has not finished; only failed Jobs can be requeued")
	case record.State == job.Succeeded:
		return refuse(v1alpha1.RefusedNotFailed, "the Job succeeded; only failed Jobs can be requeued")
	case record.MessageOnQueue():
		return refuse(v1alpha1.RefusedMessageOnQueue,
			"the Job was created under acknowledge: OnJobSucceeded, so that its message is still on the queue and will be tried again, or is in the dead-letter queue: "+
				"ask for `all` to have the dead-letter queue's messages moved back")
	}
	return nil
}

// notOwned refuses a Job that is not the binding's.
func notOwned(name string, binding *v1alpha1.QueueBinding) v1alpha1.RequeueRefusal {
	return v1alpha1.RequeueRefusal{
		JobName: name, Reason: v1alpha1.RefusedNotOwned, Message: fmt.Sprintf("the Job does not belong to QueueBinding %s", binding.Name),
	}
}

// notFound refuses a name that no Job has.
func notFound(name string) v1alpha1.RequeueRefusal {
	return v1alpha1.RequeueRefusal{JobName: name, Reason: v1alpha1.RefusedNotFound, Message: "the binding has no Job of this name"}
}

// limitReached refuses a name that an intent has no room for.
func limitReached(name string) v1alpha1.RequeueRefusal {
	return v1alpha1.RequeueRefusal{
		JobName: name, Reason: v1alpha1.RefusedLimitReached,
		Message: fmt.Sprintf("at most %d Jobs can be asked for by name at a time: ask again once these are on the queue, or ask for all", MaxNames),
	}
}

// notSendable refuses a Job whose message cannot be sent.
func notSendable(name string, cause error) *v1alpha1.RequeueRefusal {
	return &v1alpha1.RequeueRefusal{JobName: name, Reason: v1alpha1.RefusedNotSendable, Message: cause.Error()}
}

// refusedAll refuses `all`.
func refusedAll(reason, message string) Outcome {
	return Outcome{Refused: []v1alpha1.RequeueRefusal{{JobName: all, Reason: reason, Message: message}}}
}
