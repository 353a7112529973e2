package job

import (
	"cmp"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// Receipt is what ties a Job under OnJobSucceeded to its message, which is on the queue, hidden. Jobs under OnJobCreated have
// none: the zero value.
type Receipt struct {
	// MessageID is the ID of the message that was received; empty on Jobs of an operator before version 0.2.
	MessageID string
	// Handle is SQS's receipt handle.
	Handle string
	// Count is how often the message had been received by then, and Time when it was.
	Count int
	Time  time.Time
}

// ReceiptOf is the receipt that a message gives with this receive.
func ReceiptOf(message *queue.Message) Receipt {
	return Receipt{MessageID: message.ID, Handle: message.ReceiptHandle, Count: message.ReceiveCount, Time: message.ReceivedTime}
}

// IsZero reports whether there is no receipt.
func (r Receipt) IsZero() bool { return r.Handle == "" }

// SameMessage reports whether two receipts are of one message, as far as they tell.
func (r Receipt) SameMessage(other Receipt) bool {
	return r.MessageID == other.MessageID || r.MessageID == "" || other.MessageID == ""
}

// Later reports whether the receipt is of a later receive than another one of the same message. The count decides, as operators'
// clocks differ; SQS calls it approximate, hence the time beside it.
func (r Receipt) Later(than Receipt) bool {
	if !r.SameMessage(than) {
		return false
	}
	return cmp.Or(cmp.Compare(r.Count, than.Count), r.Time.Compare(than.Time)) > 0
}

// Annotations are the receipt as a Job bears it.
func (r Receipt) Annotations() map[string]string {
	return map[string]string{
		v1alpha1.AnnotationReceiptHandle:    r.Handle,
		v1alpha1.AnnotationReceiptMessageID: r.MessageID,
		v1alpha1.AnnotationReceiveCount:     strconv.Itoa(r.Count),
		v1alpha1.AnnotationReceivedAt:       r.Time.UTC().Format(time.RFC3339Nano),
	}
}

// RecordedReceipt is the receipt that a Job bears. Where its time cannot be read it is the Job's creation, and where its count
// cannot, 0: any receive is a later one then.
func RecordedReceipt(job *batchv1.Job) Receipt {
	receipt := Receipt{Handle: job.Annotations[v1alpha1.AnnotationReceiptHandle]}
	if receipt.IsZero() {
		return Receipt{}
	}
	receipt.MessageID = job.Annotations[v1alpha1.AnnotationReceiptMessageID]
	receipt.Count, _ = strconv.Atoi(job.Annotations[v1alpha1.AnnotationReceiveCount])
	var err error
	if receipt.Time, err = time.Parse(time.RFC3339Nano, job.Annotations[v1alpha1.AnnotationReceivedAt]); err != nil {
		receipt.Count, receipt.Time = 0, job.CreationTimestamp.Time
	}
	return receipt
}
