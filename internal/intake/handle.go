package intake

import (
	"context"
	"errors"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// A message that was rejected, or whose Job failed, is hidden for firstRetryDelay, and twice as long at each further receive up
// to longestRetryDelay.
const (
	firstRetryDelay   = 30 * time.Second
	longestRetryDelay = 15 * time.Minute
)

// suspicious is how many rejections in a row have the template tried again.
const suspicious = 5

// handleBatch handles messages side by side; on a FIFO queue, those of a group one after the other.
func (l *Loop) handleBatch(messages []queue.Message) {
	var lanes sync.WaitGroup
	for _, lane := range inLanes(messages, l.fifo) {
		lanes.Go(func() {
			for i, message := range lane {
				if l.handle(message) {
					continue
				}
				// The order of a group holds only if what is behind goes back with it.
				for _, behind := range lane[i+1:] {
					l.ledger.Return(1)
					l.giveBack(behind.ReceiptHandle, 0)
				}
				return
			}
		})
	}
	lanes.Wait()
}

// inLanes puts the messages of a FIFO queue's group into one lane, in their order, and others into one each.
func inLanes(messages []queue.Message, fifo bool) [][]*queue.Message {
	var lanes [][]*queue.Message
	lane := map[string]int{}
	for i := range messages {
		message := &messages[i]
		n, ok := lane[message.GroupID]
		if !fifo || !ok {
			lane[message.GroupID] = len(lanes)
			lanes = append(lanes, []*queue.Message{message})
			continue
		}
		lanes[n] = append(lanes[n], message)
	}
	return lanes
}

// handle makes the Job of a message, or finds it, and acknowledges the message as that Job's rule has it. It is false where
// the message goes back to the queue.
func (l *Loop) handle(message *queue.Message) bool {
	lineage := job.LineageOf(message)
	for {
		existing, exists := l.ledger.Find(lineage)
		if exists && existing.KeepsMessage() && existing.State == job.Failed {
			// That attempt is over, and the message came back for the next.
			lineage, exists = existing.Lineage.Next(), false
		}
		result := create
		switch {
		case exists:
			result = l.adopt(existing, lineage, message)
		case l.recent.has(lineage.JobName(l.key.Name, l.uid)):
			result = l.acknowledgeAgain(message, lineage)
		}
		if result == create {
			result = l.createFor(message, lineage)
		}
		if result != nextAttempt {
			return result == handled
		}
		// The Job has failed, which the ledger does not show yet.
		lineage = lineage.Next()
	}
}

// result is what came of handling a message.
type result int

const (
	// handled: a Job answers for the message, or the message is to be deleted.
	handled result = iota
	// returned: the message goes back to the queue.
	returned
	// nextAttempt: the attempt's Job has failed; the message is for the next one. Its slot is free for that.
	nextAttempt
	// create: there is no Job yet.
	create
)

func (l *Loop) acknowledgeAgain(message *queue.Message, lineage job.Lineage) result {
	name := lineage.JobName(l.key.Name, l.uid)
	l.log.V(1).Info("Received a message again whose Job was created", "messageID", message.ID, "job", name)
	l.ledger.Return(1)
	l.recent.add(name)
	l.acknowledge(message)
	return handled
}

// adopt has a Job that was seen answer for a message that was received again. It has a slot, if it needs one, so that the one
// of the message is free.
func (l *Loop) adopt(existing job.Record, lineage job.Lineage, message *queue.Message) result {
	switch {
	case existing.KeepsMessage() && existing.State == job.Succeeded:
		l.ledger.Return(1)
		l.finished(existing, message.ReceiptHandle)
		return handled
	case !existing.KeepsMessage() && (!existing.Files || existing.Lineage != lineage):
		return l.acknowledgeAgain(message, lineage)
	}
	// It runs and gets the new receipt. Or it may be there without its Secret, which only this message can tell.
	attempt := func() Verdict { return l.complete(existing.Name, existing.Lineage, message) }
	d := delivery{name: existing.Name}
	if existing.KeepsMessage() {
		d.grace = existing.Grace
	}
	result := l.work(message, attempt, d)
	if result != nextAttempt {
		l.ledger.Return(1)
	}
	return result
}

// createFor makes the Job of an attempt at a message.
func (l *Loop) createFor(message *queue.Message, lineage job.Lineage) result {
	settings := l.settings.Load()
	name := lineage.JobName(l.key.Name, l.uid)
	if !l.ledger.Assign(name) {
		// An earlier receive of the same message is being worked on. This one comes back, and finds the Job.
		l.ledger.Return(1)
		l.held.drop(message.ReceiptHandle)
		return returned
	}
	rendered, err := job.Render(l.requests, settings.Binding, settings.Variables, message, lineage)
	d := delivery{name: name, assigned: true}
	if err == nil {
		d.secrets, err = job.Secrets(rendered, message)
	}
	if err != nil {
		l.ledger.Cancel(name)
		return l.reject(message, err)
	}
	return l.work(message, func() Verdict { return l.deliver(rendered, d.secrets, lineage, message) }, d)
}

// delivery is what work needs to know of a Job: its name, and whether it has a slot assigned, which it has unless it was
// seen before. secrets are those that it is to have.
type delivery struct {
	name     string
	assigned bool
	secrets  []*corev1.Secret
	// grace is how long the message stays hidden where the Job turns out to be gone: its Pods may still run.
	grace time.Duration
}

// work makes attempts at a message until one is final.
func (l *Loop) work(message *queue.Message, attempt func() Verdict, d delivery) result {
	attempted := false
	for {
		// A loop that ends finishes what it has, unless it would have to wait for the API server.
		entered := l.gate.enter(l.stop) == nil
		if !entered && l.gate.isClosed() || d.assigned && !l.mayCreate() {
			if entered {
				l.gate.abandon()
			}
			l.leave(d, attempted)
			l.giveBack(message.ReceiptHandle, 0)
			return returned
		}
		if d.assigned && l.ledger.SeenMeanwhile(d.name) {
			// An attempt was made whose answer was lost. The Job may be gone again, and must not be made anew.
			attempt = func() Verdict { return l.confirm(d, message) }
		}
		verdict := attempt()
		attempted = true
		switch verdict.Action {
		case Acknowledge:
			l.gate.pass()
			l.leave(d, attempted)
			l.recent.add(d.name)
			l.rejections.Store(0)
			l.acknowledge(message)
			return handled
		case Keep:
			l.gate.pass()
			l.ledger.Keep(d.name, job.ReceiptOf(message))
			l.leave(d, attempted)
			l.rejections.Store(0)
			return handled
		case Leave:
			l.gate.pass()
			l.leave(d, attempted)
			l.held.drop(message.ReceiptHandle)
			return handled
		case Next:
			l.gate.pass()
			if d.assigned {
				l.ledger.Reopen(d.name)
			}
			return nextAttempt
		case Reject:
			l.gate.pass()
			if d.assigned {
				l.ledger.Cancel(d.name)
			}
			return l.reject(message, &job.RejectionError{Reason: verdict.Reason, Message: verdict.Message})
		case Retry:
			l.gate.pass()
			if !d.assigned { // no slot is reserved for making the Job anew
				l.giveBack(message.ReceiptHandle, d.grace)
				return returned
			}
		case Hold:
			l.log.Info("Could not create a Job; the message is kept", "messageID", message.ID, "job", d.name, "reason", verdict.Reason, "cause", verdict.Message)
			l.gate.refuse(verdict.Reason, verdict.Message)
		}
	}
}

// leave ends the work on a Job. Where it was attempted the Job may exist, and keeps its slot until that is known.
func (l *Loop) leave(d delivery, attempted bool) {
	switch {
	case !d.assigned:
	case attempted:
		l.ledger.Finish(d.name)
	default:
		l.ledger.Cancel(d.name)
	}
}

// mayCreate is false where the binding has no use any more for a message that it reserved a slot for: the user took
// back what it was received for, or too many Jobs failed meanwhile.
func (l *Loop) mayCreate() bool {
	settings := l.settings.Load()
	return !l.bindingIsGone() && settings.receiving() && !l.ledger.Exceeds(settings.limits())
}

// deliver makes the Job of a message, or finds it. The Job's Secrets are there before it is.
func (l *Loop) deliver(rendered *batchv1.Job, secrets []*corev1.Secret, lineage job.Lineage, message *queue.Message) Verdict {
	verdict := l.store(secrets, rendered.Name)
	if verdict.Action == Acknowledge {
		created := rendered.DeepCopy()
		if verdict = l.create(created); verdict.Action == Acknowledge {
			l.deps.Metrics.Created(l.key)
			l.log.V(1).Info("Created a Job", "messageID", message.ID, "job", created.Name)
			return l.handOver(secrets, created)
		}
	}
	switch verdict.Action {
	case Verify:
		return l.complete(rendered.Name, lineage, message)
	case Reject:
		return l.refuse(rendered.Name, secrets, lineage, message, verdict)
	}
	return verdict
}

// refuse is called where the API server does not accept a Job. It may have accepted it at an attempt whose answer was lost.
func (l *Loop) refuse(name string, secrets []*corev1.Secret, lineage job.Lineage, message *queue.Message, verdict Verdict) Verdict {
	switch _, err := l.read(l.requests, name); {
	case apierrors.IsNotFound(err):
		l.discard(secrets)
		return verdict
	case err != nil:
		return unavailable(err)
	}
	return l.complete(name, lineage, message)
}

// request is the time for one request to the API server.
func (l *Loop) request() (context.Context, context.CancelFunc) {
	if l.stop.Err() != nil {
		return context.WithTimeout(l.requests, stoppingTimeout)
	}
	return context.WithTimeout(l.requests, requestTimeout)
}

// create creates an object, bounded over all bindings, and judges the answer.
func (l *Loop) create(object client.Object) Verdict {
	// The loop's own places come first: a namespace with a slow webhook must not take all that there are.
	l.creates <- struct{}{}
	defer func() { <-l.creates }()
	l.deps.Creates.take(l.uid)
	defer l.deps.Creates.give(l.uid)
	ctx, cancel := l.request()
	defer cancel()
	return Judge(l.deps.Client.Create(ctx, object))
}

// complete is called where a Job by the name exists: it verifies that it is this message's and has its Secrets.
func (l *Loop) complete(name string, lineage job.Lineage, message *queue.Message) Verdict {
	existing, err := l.read(l.requests, name)
	switch {
	case apierrors.IsNotFound(err):
		return Verdict{Action: Retry}
	case err != nil:
		return unavailable(err)
	case job.Owner(existing) != l.uid:
		return Verdict{Reject, v1alpha1.RejectedNameTaken, "a Job named " + name + " exists and belongs to something else"}
	}
	if recorded, ok := job.RecordedLineage(existing); ok && recorded != lineage {
		return Verdict{Reject, v1alpha1.RejectedNameTaken, "the Job named " + name + " is of another message"}
	}
	if l.ledger.Seen(name) || job.Observe(existing).State != job.Active {
		l.ledger.Free(name)
	}
	return l.answer(existing, message)
}

// confirm is called where a Job was seen after the answer to its creation was lost.
func (l *Loop) confirm(d delivery, message *queue.Message) Verdict {
	existing, err := l.read(l.requests, d.name)
	switch {
	case apierrors.IsNotFound(err):
		l.discard(d.secrets)
		if l.settings.Load().keeping() {
			return Verdict{Action: Leave} // whoever saw it go has given the message back
		}
		return Verdict{Action: Acknowledge} // it has run, and its time is over
	case err != nil:
		return unavailable(err)
	}
	return l.answer(existing, message)
}

// answer has a Job answer for a message, by the rule under which the Job was created.
func (l *Loop) answer(existing *batchv1.Job, message *queue.Message) Verdict {
	record := job.Observe(existing)
	switch {
	case !record.KeepsMessage():
		return l.deliverFiles(existing, message)
	case record.State == job.Succeeded:
		l.finished(record, message.ReceiptHandle)
		return Verdict{Action: Leave}
	case record.State == job.Failed:
		return Verdict{Action: Next}
	}
	if verdict := l.deliverFiles(existing, message); verdict.Action != Keep {
		return verdict
	}
	receipt := job.ReceiptOf(message)
	switch {
	case receipt.Handle == record.Receipt.Handle:
		return Verdict{Action: Keep}
	case !receipt.Later(record.Receipt):
		return Verdict{Action: Leave}
	}
	switch err := l.patchReceipt(existing, receipt); {
	case apierrors.IsConflict(err):
		return l.complete(existing.Name, record.Lineage, message) // the job controller is often at it too
	case apierrors.IsNotFound(err):
		return Verdict{Action: Leave}
	case err != nil:
		return unavailable(err)
	}
	l.log.V(1).Info("Received a message again whose Job runs", "messageID", message.ID, "job", existing.Name)
	return Verdict{Action: Keep}
}

// reject leaves a message to the queue and its redrive policy, and says why.
func (l *Loop) reject(message *queue.Message, cause error) result {
	var rejection *job.RejectionError
	if !errors.As(cause, &rejection) {
		l.giveBack(message.ReceiptHandle, 0)
		return returned
	}
	delay := retryDelay(message.ReceiveCount)
	l.giveBack(message.ReceiptHandle, delay)
	now := l.deps.Clock.Now()
	if l.fifo {
		l.careful.Store(now.Add(carefulFor).Unix())
	}
	l.report.rejected(v1alpha1.Rejection{MessageID: message.ID, Reason: rejection.Reason, Message: events.Truncate(rejection.Message), Time: metav1.NewTime(now.Truncate(time.Second))}, l.rejections.Add(1))
	l.deps.Metrics.Rejected(l.key, rejection.Reason)
	l.deps.Recorder.Record(l.key, l.uid, events.MessageRejected(message.ID, rejection.Reason, rejection.Message))
	l.log.Info("Rejected a message", "messageID", message.ID, "reason", rejection.Reason, "cause", rejection.Message, "hiddenFor", delay)
	return returned
}

// retryDelay is how long a message is hidden that could not become a Job, or whose Job failed, at its n-th receive.
func retryDelay(receives int) time.Duration {
	delay := firstRetryDelay
	for range receives - 1 {
		if delay *= 2; delay >= longestRetryDelay {
			return longestRetryDelay
		}
	}
	return delay
}
