// Package creator makes the Job of a message exist, and the Secrets that hold it, exactly once: whatever the API server
// answers, whichever answer is lost, whoever is at it too. It creates, and patches who owns a Secret and which receipt a Job
// bears; it never changes a Job's spec and never deletes a Job. What becomes of the message is the intake's to decide.
package creator

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/go-logr/logr"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// Options are what a Creator needs.
type Options struct {
	// Client writes; Reader reads from the API server itself.
	Client client.Client
	Reader client.Reader
	Clock  clock.WithDelayedExecution
	Log    logr.Logger
	// Limiter bounds the objects that are created at a time, over all bindings.
	Limiter *Limiter
	// Ledger holds the slots of the Jobs.
	Ledger *ledger.Ledger
	// Binding and UID name the binding whose Jobs are created.
	Binding types.NamespacedName
	UID     types.UID
	// Wanted reports whether Jobs may still be created for messages that were received.
	Wanted func() bool
	// Crowded reports whether messages that wait for the API server are to go back: the first, which tries for all, or the others.
	Crowded func(first bool) bool
	// Created, where it is set, is called for each Job that was created, with its message.
	Created func(*queue.Message, *batchv1.Job)
	// Failed, where it is set, is called for each attempt that failed through no fault of the message, with one of the reasons of Ready.
	Failed func(reason string)
	// Sample returns objects like those of any message. Where the API server takes them and fails for a message's own again and
	// again, the message is at fault.
	Sample func() ([]client.Object, error)
	// Blocked is called when the API server takes no Jobs, with one of the reasons of Ready and with words, and with two empty
	// strings when it takes them again.
	Blocked func(reason, message string)
}

// Creator makes the Jobs of one binding. Its methods may be called from several goroutines.
type Creator struct {
	stopped  context.Context
	requests *requests
	secrets  *secrets
	gate     *gate
	ledger   *ledger.Ledger
	log      logr.Logger
	uid      types.UID
	wanted   func() bool
	created  func(*queue.Message, *batchv1.Job)
	failed   func(reason string)
	sample   func() ([]client.Object, error)
	// creates counts the Jobs that were created.
	creates atomic.Int64
}

// New makes a Creator. Once stopped ends it waits for the API server no more, but finishes what it does until ctx ends.
func New(ctx, stopped context.Context, o Options) *Creator {
	gate := newGate(o.Clock, o.Blocked, o.Crowded)
	requests := &requests{
		ctx: ctx, client: o.Client, reader: o.Reader, limiter: o.Limiter, gate: gate, places: make(chan struct{}, parallelCreates),
		namespace: o.Binding.Namespace, uid: o.UID,
	}
	return &Creator{
		stopped:  stopped,
		requests: requests,
		secrets:  &secrets{requests: requests, log: o.Log, uid: o.UID},
		gate:     gate,
		ledger:   o.Ledger,
		log:      o.Log,
		uid:      o.UID,
		wanted:   o.Wanted,
		created:  o.Created,
		failed:   o.Failed,
		sample:   o.Sample,
	}
}

// IsBlocked reports whether the API server took no Job when it was last asked.
func (c *Creator) IsBlocked() bool { return c.gate.isClosed() }

// Reconsider has messages that wait for the API server look at Crowded.
func (c *Creator) Reconsider() { c.gate.reconsider() }

// delivery is a message on its way into a Job.
type delivery struct {
	name    string
	lineage job.Lineage
	message *queue.Message
	// rendered is the Job to create, with its Secrets. It is nil where the Job was seen before; else the Job's name has a slot.
	rendered *batchv1.Job
	secrets  []*corev1.Secret
	// probe reports whether this attempt tries for all that wait.
	probe bool
	// unanswered reports whether the last attempt was not answered in time, so that the Job may still be made.
	unanswered bool
	// mayExist reports whether the Job may exist by the answers to all attempts.
	mayExist bool
	// refusals is how often the API server failed at this one, overtaken how often another was created in between, and creates how
	// many had been at the last refusal.
	refusals, overtaken int
	creates             int64
}

// Create makes a Job that was rendered for a message exist, and returns what answers for the message: that Job, or the one
// that had been created for it before. The Job's name must have a slot assigned, which Create sees to. Its errors are those
// of deliver.
func (c *Creator) Create(rendered *batchv1.Job, secrets []*corev1.Secret, lineage job.Lineage, message *queue.Message) (job.Record, error) {
	return c.deliver(&delivery{name: rendered.Name, lineage: lineage, message: message, rendered: rendered, secrets: secrets})
}

// Adopt has a Job that was seen answer for a message that was received again: it gets the Secrets that it misses, and under
// OnJobSucceeded the new receipt. It returns what became of the Job. Its errors are those of deliver.
func (c *Creator) Adopt(existing job.Record, message *queue.Message) (job.Record, error) {
	record, err := c.deliver(&delivery{name: existing.Name, lineage: existing.Lineage, message: message})
	if errors.Is(err, ErrGone) {
		return existing, err
	}
	return record, err
}

// deliver makes attempts until one is final. It returns ErrNotWanted where the message is not to become a Job any more,
// ErrGone with the record of a Job that was there and is gone, a *job.RejectionError where this Job will never be accepted.
// A record that bears an earlier or later receipt than the message's has another receive of it.
func (c *Creator) deliver(d *delivery) (job.Record, error) {
	for {
		if !c.enter(d) {
			c.settle(d, job.Record{}, ErrNotWanted)
			return job.Record{}, ErrNotWanted
		}
		record, err := c.attempt(d)
		if fault := c.faultOf(d, err); fault != nil {
			record, err = c.refused(d, fault)
		}
		if blocked, ok := errors.AsType[*BlockedError](err); ok {
			c.log.Info("Could not create a Job; the message is kept", "messageID", d.message.ID, "job", d.name, "reason", blocked.Reason, "cause", blocked.Error())
			if c.failed != nil {
				c.failed(blocked.Reason)
			}
			c.gate.refuse(blocked.Reason, blocked.Error())
			continue
		}
		if errors.Is(err, errGateClosed) {
			continue
		}
		c.gate.pass()
		if apierrors.IsNotFound(err) {
			continue // the Job existed a moment ago, and does not any more
		}
		c.settle(d, record, err)
		return record, err
	}
}

// enter waits until an attempt may be made. It returns false where none is to be made any more: what would have to wait for the
// API server ends with stopped, or for want of room, and the binding may have no use for the message any more.
func (c *Creator) enter(d *delivery) bool {
	probe, entered := c.gate.enter(c.stopped)
	d.probe = probe
	if !entered || d.rendered != nil && !c.wanted() {
		if entered {
			c.gate.abandon()
		}
		return false
	}
	return true
}

// settle sees to the slot of a Job that was to be created. Where the Job may exist, it stays reserved until that is known.
func (c *Creator) settle(d *delivery, record job.Record, err error) {
	_, rejected := errors.AsType[*job.RejectionError](err)
	switch {
	case d.rendered == nil:
	case err == nil && record.IsFailedAttempt():
		c.ledger.Reopen(d.name)
	case rejected && !d.unanswered, errors.Is(err, ErrNotWanted) && !d.mayExist:
		c.ledger.Cancel(d.name)
	default:
		c.ledger.Finish(d.name)
	}
}

// attempt makes one attempt. A NotFound error says that the Job was there and is to be created anew.
func (c *Creator) attempt(d *delivery) (job.Record, error) {
	switch {
	case d.rendered == nil:
		record, err := c.complete(d)
		if apierrors.IsNotFound(err) {
			return job.Record{}, ErrGone
		}
		return record, err
	case c.ledger.SeenMeanwhile(d.name):
		// An attempt was made whose answer was lost. The Job may be gone again, and must not be made anew.
		return c.confirm(d)
	}
	return c.create(d)
}

// create creates the Job, with its Secrets before it, or finds it.
func (c *Creator) create(d *delivery) (job.Record, error) {
	err := c.secrets.store(d.secrets, d.name, d.probe)
	if err == nil {
		created := d.rendered.DeepCopy()
		err = c.requests.create(created, d.probe)
		d.mayExist = d.mayExist || !wasNotDone(err)
		if err == nil {
			c.creates.Add(1)
			c.log.V(1).Info("Created a Job", "messageID", d.message.ID, "job", created.Name)
			if c.created != nil {
				c.created(d.message, created)
			}
			return job.Observe(created), c.secrets.handOver(d.secrets, created)
		}
	}
	if apierrors.IsAlreadyExists(err) {
		return c.complete(d)
	}
	if _, rejected := errors.AsType[*job.RejectionError](err); rejected {
		return c.refused(d, err)
	}
	return job.Record{}, err
}

// refused is called where the API server does not accept a Job. It may have accepted it at an attempt whose answer was lost.
func (c *Creator) refused(d *delivery, rejection error) (job.Record, error) {
	switch _, err := c.requests.readJob(d.name); {
	case apierrors.IsNotFound(err):
		c.secrets.discard(d.secrets)
		return job.Record{}, rejection
	case err != nil:
		return job.Record{}, err
	}
	return c.complete(d)
}

// complete is called where a Job by the name exists: it verifies that it is this message's and has its Secrets.
func (c *Creator) complete(d *delivery) (job.Record, error) {
	existing, err := c.requests.readJob(d.name)
	if err != nil {
		return job.Record{}, err
	}
	if job.Owner(existing) != c.uid {
		return job.Record{}, nameTaken("a Job named %s exists and belongs to something else", d.name)
	}
	if recorded, ok := job.RecordedLineage(existing); ok && recorded != d.lineage {
		return job.Record{}, nameTaken("the Job named %s is of another message", d.name)
	}
	if c.ledger.Seen(d.name) || job.Observe(existing).State != job.Active {
		c.ledger.Free(d.name)
	}
	return c.answer(existing, d)
}

// confirm is called where a Job was seen after the answer to its creation was lost.
func (c *Creator) confirm(d *delivery) (job.Record, error) {
	existing, err := c.requests.readJob(d.name)
	switch {
	case apierrors.IsNotFound(err):
		c.secrets.discard(d.secrets)
		record := job.Observe(d.rendered)
		if record.MessageOnQueue() {
			return record, ErrGone
		}
		return record, nil // it has run, and its time is over
	case err != nil:
		return job.Record{}, err
	}
	return c.answer(existing, d)
}

// answer has a Job answer for a message, by the rule under which the Job was created.
func (c *Creator) answer(existing *batchv1.Job, d *delivery) (job.Record, error) {
	record := job.Observe(existing)
	record.Lineage = d.lineage
	if record.MessageOnQueue() && record.State != job.Active {
		return record, nil
	}
	secrets, err := job.Secrets(existing, d.message)
	if err == nil {
		err = c.secrets.handOver(secrets, existing)
	}
	if err != nil || !record.MessageOnQueue() {
		return record, err
	}
	receipt := job.ReceiptOf(d.message)
	if !receipt.Later(record.Receipt) {
		return record, nil
	}
	err = c.requests.patchReceipt(existing, receipt)
	switch {
	case isBlocked(err): // before all else, as it may be a denial that calls itself a conflict
		return record, err
	case apierrors.IsConflict(err): // the job controller is often at it too
		return c.complete(d)
	case apierrors.IsNotFound(err):
		return record, ErrGone
	}
	c.log.V(1).Info("Received a message again whose Job runs", "messageID", d.message.ID, "job", existing.Name)
	record.Receipt = receipt
	return record, nil
}
