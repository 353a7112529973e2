package job

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// End is how a Job ended.
type End struct {
	// State is Succeeded or Failed, Finished and Reason are those of the final condition.
	State    State
	Finished time.Time
	Reason   string
	// Took is the time from the Job's start to its end. Both have whole seconds.
	Took time.Duration
	// SinceSent is the time from when the Job's message was sent to the Job's end, or 0 where the Job does not say when that was.
	SinceSent time.Duration
}

// ObserveEnd returns how a Job ended between two looks at it, if it did. It is well served by trimmed ones.
func ObserveEnd(before, after *batchv1.Job) (End, bool) {
	if before.UID != after.UID || Observe(before).State != Active {
		return End{}, false
	}
	record := Observe(after)
	if record.State == Active {
		return End{}, false
	}
	started := record.Created
	if after.Status.StartTime != nil {
		started = after.Status.StartTime.Time
	}
	end := End{State: record.State, Finished: record.Finished, Reason: record.Reason, Took: record.Finished.Sub(started)}
	if sent, err := time.Parse(time.RFC3339, after.Annotations[v1alpha1.AnnotationMessageSentAt]); err == nil {
		end.SinceSent = record.Finished.Sub(sent)
	}
	return end, true
}
