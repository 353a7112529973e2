package job

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// State is how far a Job is.
type State string

const (
	// Active Jobs have not finished: they hold a slot, suspended and terminating ones included.
	Active State = "Active"
	// Succeeded Jobs have Complete=True.
	Succeeded State = "Succeeded"
	// Failed Jobs have Failed=True.
	Failed State = "Failed"
)

// Record is what the operator needs to know of a Job, small enough to keep for every Job.
type Record struct {
	Name string
	UID  types.UID
	// ResourceVersion tells whether the record is of the Job as it is by now.
	ResourceVersion string
	Lineage         Lineage
	State           State
	// Pending reports whether the Job is active, not suspended, and without a ready Pod.
	Pending bool
	// Files reports whether the Job's message is in Secrets of its own.
	Files bool
	// Receipt ties the Job to its message under OnJobSucceeded; it is zero under OnJobCreated. The rule is the Job's own: the
	// binding may have changed to the other one since.
	Receipt Receipt
	// Trace is the trace context that the Job gave its containers.
	Trace Trace
	// StoredBytes is how many bytes of the API server's storage the Job takes, with its Pod and its Secrets.
	StoredBytes int64
	// Grace is how long the Pods may go on after they were told to end.
	Grace time.Duration
	// Acknowledged reports whether the message of a succeeded Job with a Receipt is surely gone from the queue. Observe leaves it
	// out: no Job tells it.
	Acknowledged bool
	// Deleting reports whether the Job is being deleted.
	Deleting bool
	// Sent reports whether the Job failed and its message was sent again. Requeued is whether its successor will be known
	// too, so that the Job goes when that is there.
	Sent, Requeued bool
	// SentAt is when the message was sent again. It is zero where it was not, or the Job does not say in RFC 3339.
	SentAt  time.Time
	Created time.Time
	// Finished, Reason and Message are those of the final condition.
	Finished time.Time
	Reason   string
	Message  string
}

// Observe makes the record of a Job. It is well served by a trimmed one.
func Observe(job *batchv1.Job) Record {
	record := Record{
		Name:  job.Name,
		UID:   job.UID,
		State: Active,

		ResourceVersion: job.ResourceVersion,

		Files:   HasFiles(job),
		Receipt: RecordedReceipt(job),
		Trace:   RecordedTrace(job),
		Grace:   gracePeriod(job),

		StoredBytes: storedBytes(job),
		Deleting:    job.DeletionTimestamp != nil,
		Created:     job.CreationTimestamp.Time,
	}
	record.Lineage, _ = RecordedLineage(job)
	for _, c := range job.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		// FailureTarget and SuccessCriteriaMet come first and are not final: Pods may still be running.
		switch c.Type {
		case batchv1.JobComplete:
			record.State = Succeeded
		case batchv1.JobFailed:
			record.State = Failed
		default:
			continue
		}
		record.Finished, record.Reason, record.Message = c.LastTransitionTime.Time, c.Reason, c.Message
	}
	switch record.State {
	case Active:
		suspended := job.Spec.Suspend != nil && *job.Spec.Suspend
		ready := job.Status.Ready != nil && *job.Status.Ready > 0
		record.Pending = !suspended && !ready
	case Failed:
		record.SentAt, record.Sent = SentAt(job)
		record.Requeued = record.Sent && job.Annotations[v1alpha1.AnnotationUntied] == ""
	}
	return record
}

// SentAt returns when the message of a Job was sent again, and whether it was. The time is zero where the Job does not say in
// RFC 3339. A Job's metadata is enough.
func SentAt(job metav1.Object) (at time.Time, sent bool) {
	text, sent := job.GetAnnotations()[v1alpha1.AnnotationRequeuedAt]
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, sent
	}
	return at, sent
}

// MessageOnQueue reports whether the Job is under OnJobSucceeded: its message stays on the queue until the Job has succeeded.
func (r Record) MessageOnQueue() bool { return !r.Receipt.IsZero() }

// IsFailedAttempt reports whether the Job has failed and its message, which stayed on the queue, is for the next attempt.
func (r Record) IsFailedAttempt() bool { return r.MessageOnQueue() && r.State == Failed }

func gracePeriod(job *batchv1.Job) time.Duration {
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if own := job.Spec.Template.Spec.TerminationGracePeriodSeconds; own != nil {
		seconds = *own
	}
	return time.Duration(seconds) * time.Second
}

// Owner is the UID of the binding that owns an object, or empty. The label only selects; this decides.
func Owner(object metav1.Object) types.UID {
	owner := metav1.GetControllerOf(object)
	if owner == nil || owner.Kind != "QueueBinding" || owner.APIVersion != v1alpha1.GroupVersion.String() {
		return ""
	}
	return owner.UID
}

// keptAnnotations are those that Observe and ObserveEnd read.
var keptAnnotations = []string{
	v1alpha1.AnnotationMessageID, v1alpha1.AnnotationAttempt, v1alpha1.AnnotationDelivery, v1alpha1.AnnotationRequeuedAt, v1alpha1.AnnotationUntied, v1alpha1.AnnotationStoredBytes,
	v1alpha1.AnnotationMessageSentAt, v1alpha1.AnnotationReceiptHandle, v1alpha1.AnnotationReceiptMessageID, v1alpha1.AnnotationReceiveCount, v1alpha1.AnnotationReceivedAt,
	v1alpha1.AnnotationTraceparent, v1alpha1.AnnotationTracestate,
}

// Trim drops from a Job what Observe, ObserveEnd and Owner do not need, so that a cache of many Jobs stays small. What it leaves
// may be patched or deleted, and must never be sent as an update.
func Trim(object any) (any, error) {
	job, ok := object.(*batchv1.Job)
	if !ok {
		return object, nil
	}
	kept := map[string]string{}
	for _, key := range keptAnnotations {
		if value, ok := job.Annotations[key]; ok {
			kept[key] = value
		}
	}
	job.Annotations = kept
	job.ManagedFields = nil
	spec := batchv1.JobSpec{Suspend: job.Spec.Suspend}
	spec.Template.Spec.TerminationGracePeriodSeconds = job.Spec.Template.Spec.TerminationGracePeriodSeconds
	job.Spec = spec
	job.Status.UncountedTerminatedPods = nil
	return job, nil
}
