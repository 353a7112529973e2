package intake

import (
	"errors"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/creator"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// handleBatch handles messages side by side; on a FIFO queue, those of a group one after the other.
func (l *Loop) handleBatch(messages []queue.Message) {
	var groups sync.WaitGroup
	for _, group := range inGroups(messages, l.fifo) {
		groups.Go(func() {
			for i, message := range group {
				if l.handle(message) {
					continue
				}
				// The order of a group holds only if what is behind goes back with it.
				for _, behind := range group[i+1:] {
					l.ledger.Return(1)
					l.inFlight.Return(behind.ReceiptHandle, 0)
				}
				return
			}
		})
	}
	groups.Wait()
}

// inGroups puts the messages of a FIFO queue's group together, in their order, and others each by itself.
func inGroups(messages []queue.Message, fifo bool) [][]*queue.Message {
	var groups [][]*queue.Message
	byID := map[string]int{}
	for i := range messages {
		message := &messages[i]
		n, ok := byID[message.GroupID]
		if !fifo || !ok {
			byID[message.GroupID] = len(groups)
			groups = append(groups, []*queue.Message{message})
			continue
		}
		groups[n] = append(groups[n], message)
	}
	return groups
}

// handle finds the Job of a message, or makes it, and acknowledges the message as that Job's rule has it. It returns false where
// the message goes back to the queue.
func (l *Loop) handle(message *queue.Message) bool {
	lineage := job.LineageOf(message)
	for {
		record, found, err := l.find(message, lineage)
		if !found {
			record, err = l.create(message, lineage)
		}
		if err == nil && record.IsFailedAttempt() {
			lineage = record.Lineage.Next() // that attempt is over, and the message is for the next; its slot is still reserved
			continue
		}
		if found {
			l.ledger.Return(1) // the Job that was found has a slot, if it needs one
		}
		if err != nil {
			l.giveBack(message, record, err)
			return false
		}
		l.acknowledge(message, lineage, record)
		return true
	}
}

// find finds the Job that answers for a message that was received before, by what was seen of Jobs and what is remembered.
func (l *Loop) find(message *queue.Message, lineage job.Lineage) (record job.Record, found bool, err error) {
	existing, seen := l.ledger.Find(lineage)
	switch {
	case seen && existing.MessageOnQueue() && existing.State != job.Active:
		return existing, true, nil
	case seen && (existing.MessageOnQueue() || existing.Files && existing.Lineage == lineage):
		// It runs and gets the new receipt. Or it may be there without its Secret, which only this message can tell.
		record, err := l.creator.Adopt(existing, message)
		return record, true, err
	case seen:
		return existing, true, nil
	}
	name := lineage.JobName(l.key.Name, l.uid)
	if _, remembered := l.created.Get(name); remembered {
		return job.Record{Name: name, Lineage: lineage}, true, nil
	}
	return job.Record{}, false, nil
}

// errInHand says that an earlier receive of the same message is being worked on.
var errInHand = errors.New("the message is being worked on")

// create makes the Job of an attempt at a message.
func (l *Loop) create(message *queue.Message, lineage job.Lineage) (job.Record, error) {
	settings := l.settings.Load()
	name := lineage.JobName(l.key.Name, l.uid)
	if !l.ledger.Assign(name) {
		l.ledger.Return(1)
		return job.Record{}, errInHand
	}
	rendered, err := job.Render(l.requests, settings.Binding, settings.Variables, message, lineage)
	if err != nil {
		l.ledger.Cancel(name)
		return job.Record{}, err
	}
	secrets, err := job.Secrets(rendered, message)
	if err != nil {
		l.ledger.Cancel(name)
		return job.Record{}, err
	}
	return l.creator.Create(rendered, secrets, lineage, message)
}

// acknowledge does with a message what the rule of its Job has for it.
func (l *Loop) acknowledge(message *queue.Message, lineage job.Lineage, record job.Record) {
	l.rejections.reset()
	switch {
	case !record.MessageOnQueue():
		l.created.Add(lineage.JobName(l.key.Name, l.uid), nil)
		l.inFlight.Delete(message.ReceiptHandle)
	case record.State == job.Succeeded:
		l.inFlight.DeleteDone(message.ReceiptHandle, func() { l.ledger.Acknowledged(record.Name, record.UID) })
	case record.Receipt.Handle == message.ReceiptHandle:
		l.ledger.Created(record.Name, record.Receipt)
	default: // the Job bears a later receipt
		l.inFlight.Forget(message.ReceiptHandle)
	}
}

// giveBack leaves a message to the queue. record is the Job's that was gone, with ErrGone.
func (l *Loop) giveBack(message *queue.Message, record job.Record, cause error) {
	rejection, rejected := errors.AsType[*job.RejectionError](cause)
	switch {
	case rejected:
		l.reject(message, rejection)
	case errors.Is(cause, errInHand):
		l.inFlight.Forget(message.ReceiptHandle) // it comes back, and finds the Job
	case errors.Is(cause, creator.ErrGone) && record.MessageOnQueue():
		l.inFlight.Return(message.ReceiptHandle, record.Grace) // its Pods may still run
	default:
		l.inFlight.Return(message.ReceiptHandle, 0)
	}
}

// reject leaves a message to the queue and its redrive policy, and says why.
func (l *Loop) reject(message *queue.Message, rejection *job.RejectionError) {
	delay := retryDelay(message.ReceiveCount)
	l.inFlight.Return(message.ReceiptHandle, delay)
	now := l.deps.Clock.Now()
	l.report.rejected(v1alpha1.Rejection{
		MessageID: message.ID, Reason: rejection.Reason, Message: events.Truncate(rejection.Message), Time: metav1.NewTime(now.Truncate(time.Second)),
	}, l.rejections.add(now))
	l.deps.Metrics.Rejected(l.key, rejection.Reason)
	l.deps.Recorder.Record(l.key, l.uid, events.MessageRejected(message.ID, rejection.Reason, rejection.Message))
	l.log.Info("Rejected a message", "messageID", message.ID, "reason", rejection.Reason, "cause", rejection.Message, "hiddenFor", delay)
}
