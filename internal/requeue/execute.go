package requeue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/creator"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/tracing"
)

const (
	// parallel is how many Jobs are read at a time for the answer to a Requeue.
	parallel = 16
	// maxInHand is how many bytes the Jobs take at most that are read at a time, unless one alone takes more. Their messages fill two
	// batches then.
	maxInHand = 2 * queue.MaxMessageBytes
	// enoughFailures is after how many failures in a row it is believed that the next Job would fail, too: those of a whole batch.
	enoughFailures = queue.MaxBatch
)

// Executor executes intents, a slice at a time: it sends the messages of failed Jobs again and marks the Jobs.
type Executor struct {
	// Reader reads Jobs whole, from the API server itself: a cache leaves out their messages.
	Reader client.Reader
	// Client marks Jobs.
	Client client.Client
	Clock  clock.PassiveClock
	// Keys returns the keys by which lineages are signed.
	Keys func() job.Keys
	// Tracer records what is sent again; nil records nothing.
	Tracer *tracing.Tracer
}

// Slice bounds what is done of an intent at a time.
type Slice struct {
	// Before is the time of an intent that asks for all.
	Before time.Time
	// At is the time that Jobs are marked with. It has whole seconds.
	At time.Time
	// Deadline is when to come to an end. Ten Jobs are requeued at least.
	Deadline time.Time
}

// Outcome is what was done of an intent.
type Outcome struct {
	// Done are the names of the Jobs that the intent need not ask for any more.
	Done []string
	// Requeued are the names of the Jobs whose message was sent again.
	Requeued []string
	// Refused are the Jobs that cannot be requeued, in order of their names.
	Refused []v1alpha1.RequeueRefusal
	// Redriven reports whether the messages of the dead-letter queue are being moved back.
	Redriven bool
	// Untied are the names of those in Requeued whose message had no room for the lineage: sent twice, they run twice.
	Untied []string
	// Unsure are the names of those whose message was sent, and of which it is not known whether they are marked.
	Unsure []string
}

// IsEmpty reports whether nothing was done that is to be told of.
func (o *Outcome) IsEmpty() bool {
	return len(o.Requeued)+len(o.Refused)+len(o.Unsure) == 0 && !o.Redriven
}

// Do requeues Jobs in their order, ten at a time, until the slice ends. If it returns an error the outcome still says what was done.
// Jobs that are not in Outcome.Done are to be asked for again. On a FIFO queue the messages of a group are sent one after the other, and
// none before the one ahead of it was.
func (e *Executor) Do(ctx context.Context, binding *v1alpha1.QueueBinding, q queue.Queue, items []Item, slice Slice) (Outcome, error) {
	x := &execution{
		Executor: e, binding: binding, queue: q, slice: slice,
		fifo: strings.HasSuffix(binding.Spec.Queue.URL, ".fifo"), blocked: map[string]bool{},
	}
	for len(items) > 0 && x.failures < enoughFailures {
		var chunk []Item
		chunk, items = inHand(items)
		x.requeue(ctx, chunk)
		if !e.Clock.Now().Before(slice.Deadline) {
			break
		}
	}
	slices.Sort(x.outcome.Requeued)
	slices.SortFunc(x.outcome.Refused, func(a, b v1alpha1.RequeueRefusal) int { return strings.Compare(a.JobName, b.JobName) })
	return x.outcome, x.err
}

// inHand divides Jobs into those that are read next, one at least, and the rest.
func inHand(items []Item) (chunk, rest []Item) {
	bytes, n := int64(0), 0
	for n < min(len(items), queue.MaxBatch) && (n == 0 || bytes+items[n].Bytes <= maxInHand) {
		bytes += items[n].Bytes
		n++
	}
	return items[:n], items[n:]
}

// execution is one call of Do.
type execution struct {
	*Executor
	binding *v1alpha1.QueueBinding
	queue   queue.Queue
	slice   Slice
	fifo    bool

	// blocked are the message groups of a FIFO queue of which a message could not be sent.
	blocked map[string]bool
	// err is the first error, failures how many there were since something succeeded.
	err      error
	failures int
	outcome  Outcome
}

// attempt is a Job whose message is to be sent.
type attempt struct {
	failed  *batchv1.Job
	message queue.Outgoing
	// tied reports whether the message has its lineage.
	tied bool
}

// requeue sends the messages of a few Jobs again and marks the Jobs. They stay until their successors are seen.
func (x *execution) requeue(ctx context.Context, chunk []Item) {
	answers := make([]answer, len(chunk))
	group := errgroup.Group{}
	for i := range chunk {
		group.Go(func() error {
			answers[i] = x.read(ctx, &chunk[i])
			return nil
		})
	}
	_ = group.Wait() // each has its own error
	var attempts []*attempt
	for i := range answers {
		switch a := &answers[i]; {
		case a.err != nil:
			x.fail(a.err)
		case a.attempt != nil:
			attempts = append(attempts, a.attempt)
		default:
			x.outcome.Done = append(x.outcome.Done, chunk[i].Name)
			if a.refusal != nil {
				x.outcome.Refused = append(x.outcome.Refused, *a.refusal)
			}
			if a.sent {
				x.outcome.Requeued = append(x.outcome.Requeued, chunk[i].Name)
			}
		}
	}
	for len(attempts) > 0 {
		var next []*attempt
		next, attempts = x.batch(attempts)
		x.send(ctx, next)
	}
}

// fail notes an error.
func (x *execution) fail(err error) {
	if x.err == nil {
		x.err = err
	}
	x.failures++
}

// answer is what is to be done with a Job: attempt it, refuse it, or, if all are zero, nothing.
type answer struct {
	attempt *attempt
	refusal *v1alpha1.RequeueRefusal
	// sent reports whether its message was sent already, by this very requeue.
	sent bool
	err  error
}

// read reads a Job, and what it takes to send its message.
func (x *execution) read(ctx context.Context, item *Item) answer {
	failed := &batchv1.Job{}
	err := x.Reader.Get(ctx, types.NamespacedName{Namespace: x.binding.Namespace, Name: item.Name}, failed)
	if apierrors.IsNotFound(err) {
		if refusal := notFound(item.Name); item.Named && !item.Unsure {
			return answer{refusal: &refusal}
		}
		return answer{sent: item.Unsure} // its successor was seen
	}
	if err != nil {
		return answer{err: fmt.Errorf("read Job %s: %w", item.Name, err)}
	}
	record := job.Observe(failed)
	if item.Unsure && record.Sent {
		return answer{sent: true}
	}
	// One that the user names is sent again even if it was sent before, as that message may be lost.
	if !item.Named && (job.Owner(failed) != x.binding.UID || !meant(&record, x.slice.Before)) {
		return answer{}
	}
	if refusal := Refusal(x.binding, failed); refusal != nil {
		return answer{refusal: refusal}
	}
	secrets, err := Secrets(ctx, x.Reader, failed)
	if apierrors.IsForbidden(err) {
		return answer{refusal: notSendable(failed.Name, errNoRightToSecrets)}
	}
	if err != nil {
		return answer{err: err}
	}
	message, tied, err := job.NextAttempt(x.Keys(), x.binding.Spec.Queue.URL, failed, secrets, x.fifo)
	if err != nil {
		return answer{refusal: notSendable(failed.Name, err)}
	}
	return answer{attempt: &attempt{failed: failed, message: message, tied: tied}}
}

// batch divides attempts into those that are sent next and those that are sent after them. On a FIFO queue there is one of each
// message group: only then is the order of a group the same when a part of a batch fails.
func (x *execution) batch(attempts []*attempt) (next, later []*attempt) {
	if !x.fifo {
		return attempts, nil
	}
	groups := map[string]bool{}
	for _, a := range attempts {
		switch group := a.message.GroupID; {
		case x.blocked[group]: // it stays asked for
		case groups[group]:
			later = append(later, a)
		default:
			groups[group] = true
			next = append(next, a)
		}
	}
	return next, later
}

// send sends messages and marks the Jobs of those that were sent.
func (x *execution) send(ctx context.Context, attempts []*attempt) {
	messages, spans := make([]queue.Outgoing, len(attempts)), make([]tracing.Requeue, len(attempts))
	for i, a := range attempts {
		spans[i] = x.follow(a)
		messages[i] = a.message
	}
	errs := x.queue.SendBatch(ctx, messages)
	for i, err := range errs {
		failed := ""
		if err != nil {
			failed = string(queue.ReasonOf(err))
		}
		spans[i].End(failed)
	}
	var sent []*attempt
	for i, a := range attempts {
		switch err := errs[i]; {
		case err == nil:
			sent = append(sent, a)
		case queue.ReasonOf(err) == queue.InvalidMessage:
			x.outcome.Done = append(x.outcome.Done, a.failed.Name)
			x.outcome.Refused = append(x.outcome.Refused, *notSendable(a.failed.Name, err))
		default:
			x.blocked[a.message.GroupID] = true
			x.fail(fmt.Errorf("send the message of Job %s: %w", a.failed.Name, err))
		}
	}
	x.markAll(ctx, sent)
}

// follow begins the span of sending a message, and gives the message its context, unless it has one by the attributes that its
// producer gave it.
func (x *execution) follow(a *attempt) tracing.Requeue {
	lineage, _ := job.RecordedLineage(a.failed)
	given := job.RecordedTrace(a.failed)
	span := x.Tracer.Requeue(&tracing.Binding{
		Namespace: x.binding.Namespace, Name: x.binding.Name, UID: string(x.binding.UID), QueueURL: x.binding.Spec.Queue.URL,
	}, &tracing.Job{
		Name: a.failed.Name, UID: string(a.failed.UID), Traceparent: given.Parent, Tracestate: given.State,
		Attempt: tracing.Attempt{BindingUID: string(x.binding.UID), Root: lineage.Root, Number: lineage.Attempt},
	})
	attributes := a.message.Attributes
	if !tracing.Extract(attributes[v1alpha1.AttributeTraceparent].StringValue, "", "").IsValid() {
		a.message.TraceHeader = span.TraceHeader
	}
	return span
}

// markAll marks Jobs whose messages were sent.
func (x *execution) markAll(ctx context.Context, sent []*attempt) {
	errs := make([]error, len(sent))
	group := errgroup.Group{}
	for i, a := range sent {
		group.Go(func() error {
			errs[i] = x.mark(ctx, a)
			return nil
		})
	}
	_ = group.Wait() // each has its own error
	for i, a := range sent {
		name := a.failed.Name
		if errs[i] != nil {
			x.outcome.Unsure = append(x.outcome.Unsure, name)
			x.fail(fmt.Errorf("mark Job %s: %w", name, creator.WithoutValues(errs[i])))
			continue
		}
		x.failures = 0
		x.outcome.Done = append(x.outcome.Done, name)
		x.outcome.Requeued = append(x.outcome.Requeued, name)
		if !a.tied {
			x.outcome.Untied = append(x.outcome.Untied, name)
		}
	}
}

// Redrive starts the move of the dead-letter queue's messages back to the queue.
func (e *Executor) Redrive(ctx context.Context, q queue.Queue) (Outcome, error) {
	err := q.Redrive(ctx)
	switch reason := queue.ReasonOf(err); {
	case err == nil:
		return Outcome{Redriven: true}, nil
	case reason == queue.NoDeadLetterQueue:
		return refusedAll(v1alpha1.RefusedNoDeadLetterQueue, err.Error()), nil
	case reason == queue.DeadLetterQueueShared:
		return refusedAll(v1alpha1.RefusedDeadLetterQueueShared, err.Error()), nil
	default:
		return Outcome{}, fmt.Errorf("move the messages of the dead-letter queue back: %w", err)
	}
}
