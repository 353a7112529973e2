package intake

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/trace"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/creator"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/inflight"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/metrics"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// handler decides what becomes of each message that was received, and has it done.
type handler struct {
	ctx      context.Context
	key      types.NamespacedName
	uid      types.UID
	fifo     bool
	settings *atomic.Pointer[Settings]
	keys     func() job.Keys
	clock    clock.PassiveClock
	log      logr.Logger

	ledger   *ledger.Ledger
	inFlight *inflight.Messages
	creator  *creator.Creator
	memory   *Memory
	// heavy lets one message at a time wait for room for an evaluation that takes much.
	heavy chan struct{}
	// created are the names of Jobs that were created last, and of messages that were to be deleted.
	created    *lru.Cache
	traces     traces
	rejections rejections
	report     *reporter
	metrics    *metrics.Binding
	recorder   *events.Recorder
}

// handleBatch handles the messages of a receive side by side; on a FIFO queue, those of a group one after the other. It calls done with
// each that it needs no more.
func (h *handler) handleBatch(messages []queue.Message, received trace.SpanContext, done func(*queue.Message)) {
	var groups sync.WaitGroup
	for _, group := range inGroups(messages, h.fifo) {
		groups.Go(func() {
			for i, message := range group {
				next := h.handle(message, received)
				done(message)
				if next {
					continue
				}
				// The order of a group holds only if what is behind goes back with it.
				for _, behind := range group[i+1:] {
					h.ledger.Return(1)
					h.inFlight.Return(behind.ReceiptHandle, 0, metrics.GivenBackGroupOrder)
					done(behind)
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

// handle finds the Job of a message, or makes it, and acknowledges the message as that Job's rule has it. next reports whether the
// next message of its group may follow: not where this one goes back to the queue, or stays there until its Job has succeeded.
func (h *handler) handle(message *queue.Message, received trace.SpanContext) (next bool) {
	lineage := h.keys().Lineage(h.settings.Load().Binding.Spec.Queue.URL, message)
	way := h.traces.process(message, lineage, received)
	for {
		record, found, err := h.find(message, lineage)
		if !found {
			record, err = h.create(message, lineage, way)
		}
		over := err == nil && record.IsFailedAttempt()
		if over {
			// The message is for the attempt after it, a later one each time, so that the search ends. Its slot is still reserved.
			lineage.Attempt = max(lineage.Attempt, record.Lineage.Attempt)
			if lineage, err = lineage.Next(); err == nil {
				continue
			}
		}
		if found || over {
			h.ledger.Return(1) // the Job that was found has a slot, if it needs one
		}
		if err != nil {
			h.giveBack(message, record, err)
			way.returned(err)
			return false
		}
		h.acknowledge(message, lineage, record, way)
		way.answered(record, found)
		return !record.MessageOnQueue() || record.State == job.Succeeded
	}
}

// find finds the Job that answers for a message that was received before, by what was seen of Jobs and what is remembered.
func (h *handler) find(message *queue.Message, lineage job.Lineage) (record job.Record, found bool, err error) {
	existing, seen := h.ledger.Find(lineage)
	switch {
	case seen && existing.MessageOnQueue() && existing.State != job.Active:
		return existing, true, nil
	case seen && (existing.MessageOnQueue() || existing.Files && existing.Lineage == lineage):
		// It runs and gets the new receipt. Or it may be there without its Secret, which only this message can tell.
		record, err := h.creator.Adopt(existing, message)
		return record, true, err
	case seen:
		return existing, true, nil
	}
	name := lineage.JobName(h.key.Name, h.uid)
	if _, remembered := h.created.Get(name); remembered {
		return job.Record{Name: name, Lineage: lineage}, true, nil
	}
	return job.Record{}, false, nil
}

// errInHand says that an earlier receive of the same message is being worked on.
var errInHand = errors.New("the message is being worked on")

// create makes the Job of an attempt at a message.
func (h *handler) create(message *queue.Message, lineage job.Lineage, way way) (job.Record, error) {
	settings := h.settings.Load()
	if settings.Variables == nil { // they no longer compile, since the receive
		h.ledger.Return(1)
		return job.Record{}, creator.ErrNotWanted
	}
	name := lineage.JobName(h.key.Name, h.uid)
	if !h.ledger.Assign(name) {
		h.ledger.Return(1)
		return job.Record{}, errInHand
	}
	began := h.clock.Now()
	rendered, err := h.render(settings, message, lineage, way.job(lineage))
	way.rendered(began, err)
	if err != nil {
		h.ledger.Cancel(name)
		return job.Record{}, err
	}
	secrets, err := job.Secrets(rendered, message)
	if err != nil {
		h.ledger.Cancel(name)
		return job.Record{}, err
	}
	began = h.clock.Now()
	record, err := h.creator.Create(rendered, secrets, lineage, message)
	way.created(began, name, lineage, err)
	return record, err
}

// render renders the Job of an attempt at a message, once there is room for what that takes. It fails with ErrNotWanted where there
// is none until the loop has ended.
func (h *handler) render(settings *Settings, message *queue.Message, lineage job.Lineage, trace job.Trace) (*batchv1.Job, error) {
	bytes := job.EvaluationBytes(settings.Binding, message)
	if bytes > heavyEvaluation {
		select {
		case h.heavy <- struct{}{}:
			defer func() { <-h.heavy }()
		case <-h.ctx.Done():
			return nil, creator.ErrNotWanted
		}
	}
	release, err := h.memory.evaluate(h.ctx, bytes)
	if err != nil {
		return nil, creator.ErrNotWanted
	}
	defer release()
	return job.Render(h.ctx, settings.Binding, settings.Variables, message, lineage, trace)
}

// acknowledge does with a message what the rule of its Job has for it.
func (h *handler) acknowledge(message *queue.Message, lineage job.Lineage, record job.Record, way way) {
	h.rejections.reset()
	switch {
	case !record.MessageOnQueue():
		h.created.Add(lineage.JobName(h.key.Name, h.uid), nil)
		h.inFlight.Delete(message.ReceiptHandle, way.acknowledging())
	case record.State == job.Succeeded:
		var acknowledged func()
		if record.Receipt.SameMessage(job.ReceiptOf(message)) {
			acknowledged = func() { h.ledger.Acknowledged(record.Name, record.UID) }
		}
		h.inFlight.DeleteDone(message.ReceiptHandle, both(way.acknowledging(), acknowledged))
	case record.Receipt.Handle == message.ReceiptHandle, !record.Receipt.SameMessage(job.ReceiptOf(message)):
		if !h.ledger.Answers(record.Name, job.ReceiptOf(message)) {
			h.inFlight.Return(message.ReceiptHandle, record.Grace, metrics.GivenBackJobEnded) // it ended before it could be told of this receipt
		}
	default: // the Job bears a later receipt
		h.inFlight.Forget(message.ReceiptHandle)
	}
}

// giveBack leaves a message to the queue. record is the Job's that was gone, with ErrGone.
func (h *handler) giveBack(message *queue.Message, record job.Record, cause error) {
	rejection, rejected := errors.AsType[*job.RejectionError](cause)
	switch {
	case rejected:
		h.reject(message, rejection)
	case errors.Is(cause, errInHand):
		h.inFlight.Forget(message.ReceiptHandle) // it comes back, and finds the Job
	case errors.Is(cause, creator.ErrGone) && record.MessageOnQueue():
		h.inFlight.Return(message.ReceiptHandle, record.Grace, metrics.GivenBackJobGone) // its Pods may still run
	case errors.Is(cause, creator.ErrGone):
		h.inFlight.Return(message.ReceiptHandle, 0, metrics.GivenBackJobGone)
	default:
		h.inFlight.Return(message.ReceiptHandle, 0, metrics.GivenBackNotWanted)
	}
}

// reject leaves a message to the queue and its redrive policy, and says why.
func (h *handler) reject(message *queue.Message, rejection *job.RejectionError) {
	delay := retryDelay(message.ReceiveCount)
	h.inFlight.Return(message.ReceiptHandle, delay, metrics.GivenBackRejected)
	now := h.clock.Now()
	h.report.rejected(v1alpha1.Rejection{
		MessageID: message.ID, Reason: rejection.Reason, Message: events.Truncate(rejection.Message), Time: metav1.NewTime(now.Truncate(time.Second)),
	}, h.rejections.add(now))
	h.metrics.Rejected(rejection.Reason)
	h.recorder.Record(h.key, h.uid, events.MessageRejected(message.ID, rejection.Reason, rejection.Message))
	h.log.Info("Rejected a message", "messageID", message.ID, "reason", rejection.Reason, "cause", rejection.Message, "hiddenFor", delay)
}
