// Package crash is the crash matrix. It plays scenarios over and over and kills the operator each time at another
// request, before the request got through or after, starts the operator again, and sees from the outside whether all
// promises held. A new scenario is one more entry of Scenarios.
package crash

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/faultproxy"
	"github.com/queuebinding/queuebinding/test/recorder"
	"github.com/queuebinding/queuebinding/test/rig"
	"github.com/queuebinding/queuebinding/test/webhook"
)

// Scenario is what happens while the operator is killed. It has a namespace and a queue of its own.
type Scenario struct {
	Name string
	// Limit is the binding's maxActiveJobs.
	Limit int32
	// Bodies are sent before all else.
	Bodies []string
	// FIFO has them sent to a FIFO queue, as one group.
	FIFO bool
	// Keep has them stay on the queue until their Jobs have succeeded.
	Keep bool
	// Dead are messages that are in the queue's dead-letter queue at first. There is one only if there are some.
	Dead []string
	// Files has them delivered in files.
	Files bool
	// Twice has the queue deliver messages twice, as it may.
	Twice bool
	// Edits are of the operator's sources, so that few steps show what else takes many.
	Edits []rig.Edit
	// Webhook, where it is set, is asked by the API server whether a Job may be created.
	Webhook func(*batchv1.Job) webhook.Answer
	// Broken is what happens to requests of a name until the case mends them.
	Broken map[string]faultproxy.Fault
	// Prepare, where it is set, is called with the binding there and the operator running, and ends when what the
	// scenario begins with is reached. What the operator does for it is not broken.
	Prepare func(context.Context, *Case) error
	// Act, where it is set, is what a user does once things may break. It returns when it is done.
	Act func(context.Context, *Case) error
	// Missing says what is not yet as it is to be at last, or nothing.
	Missing func(context.Context, *Case) string
	// Slow scenarios wait for a message's backoff: they have a Timeout of their own, and CI plays fewer of their cases.
	Slow    bool
	Timeout time.Duration
	// Linger is how long things are left to themselves after that, where nothing tells whether the operator is done.
	Linger time.Duration
	// Violations says what is not as promised, when nothing is missing.
	Violations func(context.Context, *Case) []string
}

// Case is one play of a scenario.
type Case struct {
	*Scenario
	Cluster  *rig.Cluster
	Recorder *recorder.Recorder
	Queue    *rig.Queue
	// DeadLetters is the dead-letter queue, or nil.
	DeadLetters *rig.Queue
	Binding     *v1alpha1.QueueBinding
	// Sent are the messages of Bodies: their bodies by their IDs, which Order has in the order of sending.
	Sent  map[string]string
	Order []string

	script *script
	// webhook is asked about the Jobs, or nil.
	webhook *webhook.Server
	// asked is closed when the webhook was asked first.
	asked chan struct{}
	tried sync.Once
	// mended is true once the webhook allows everything.
	mended atomic.Bool

	mu sync.Mutex
	// seen are violations that were seen on the way.
	seen []string
}

// violate notes a violation.
func (c *Case) violate(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, fmt.Sprintf(format, args...))
}

// onTheWay are the violations that were seen before the end.
func (c *Case) onTheWay() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.seen)
}

// script counts the steps of a case and breaks one of them.
type script struct {
	// at is the step that is broken, from 1, or 0 for none; fault is how.
	at    int
	fault Fault
	twice bool
	// broken is what else happens to requests of a name.
	broken map[string]faultproxy.Fault
	// kill ends the operator.
	kill func()

	mu    sync.Mutex
	armed bool
	names []string
	cut   string
	done  chan struct{}
	// met counts all requests by name, also those that are no steps.
	met map[string]int
}

// Fault is how a step is broken.
type Fault struct {
	// After reports whether the request got through before the connection was cut.
	After bool
	// Survive reports whether the operator lives on, and only does not know.
	Survive bool
}

func (f Fault) String() string {
	side, what := "before", "killed"
	if f.After {
		side = "after"
	}
	if f.Survive {
		what = "cut"
	}
	return what + " " + side
}

// How violations begin.
const (
	lost        = "LOST: "
	doubled     = "DOUBLED: "
	limitPassed = "LIMIT: "
	stuck       = "STUCK: "
	miscounted  = "MISCOUNTED: "
)

// exactlyOnce is what is wrong with the Jobs of the messages that were sent: each must have had one Job for each of
// attempts, with its body, and there must have been no other Job.
func exactlyOnce(c *Case, attempts int) []string {
	var wrong []string
	type lineage struct {
		root    string
		attempt int
	}
	had := map[lineage]int{}
	for _, job := range c.Recorder.Jobs(c.Binding.Namespace) {
		had[lineage{job.Root, job.Attempt}]++
		body, ours := c.Sent[job.Root]
		switch {
		case !ours || job.Attempt < 1 || job.Attempt > attempts:
			wrong = append(wrong, fmt.Sprintf("Job %s is of attempt %d at message %s, which should not be", job.Name, job.Attempt, job.Root))
		case job.Body != body && !c.Files:
			wrong = append(wrong, fmt.Sprintf("Job %s has body %s, not %s", job.Name, job.Body, body))
		}
	}
	for id := range c.Sent {
		for attempt := 1; attempt <= attempts; attempt++ {
			switch n := had[lineage{id, attempt}]; n {
			case 1:
			case 0:
				wrong = append(wrong, fmt.Sprintf(lost+"message %s had no Job of attempt %d", id, attempt))
			default:
				wrong = append(wrong, fmt.Sprintf(doubled+"message %s had %d Jobs of attempt %d", id, n, attempt))
			}
		}
	}
	return wrong
}

// limitHeld is what is wrong with the number of Jobs that were active at a time.
func limitHeld(c *Case) []string {
	if peak := c.Recorder.Peak(c.Binding.UID); peak > int(c.Limit) {
		return []string{fmt.Sprintf(limitPassed+"%d Jobs were active at a time, and %d may be", peak, c.Limit)}
	}
	return nil
}

// inOrder is what is wrong with the order in which the first attempts were created.
func inOrder(c *Case) []string {
	var got []string
	for _, job := range c.Recorder.Jobs(c.Binding.Namespace) {
		if job.Attempt == 1 {
			got = append(got, job.Root)
		}
	}
	if !slices.Equal(got, c.Order) {
		return []string{fmt.Sprintf("ORDER: Jobs were created of messages %v, which were sent as %v", got, c.Order)}
	}
	return nil
}

// oneAfterTheOther is what is wrong where a group's Jobs must not run side by side.
func oneAfterTheOther(c *Case) []string {
	if peak := c.Recorder.Peak(c.Binding.UID); peak > 1 {
		return []string{fmt.Sprintf("ORDER: %d Jobs of one message group ran side by side", peak)}
	}
	return nil
}

// unsettled says what keeps a case from being settled: messages, active Jobs, or a status that does not count what is.
func unsettled(ctx context.Context, c *Case, succeeded, failed int) string {
	if said := c.Queue.Holds(ctx, 0); said != "" {
		return said
	}
	binding := &v1alpha1.QueueBinding{}
	if err := c.Cluster.Client.Get(ctx, keyOf(c.Binding), binding); err != nil {
		return err.Error()
	}
	s := &binding.Status
	got := [4]int32{number(s.ActiveJobs), number(s.SucceededJobs), number(s.FailedJobs), number(s.RequeuedJobs)}
	if want := [4]int32{0, int32(succeeded), int32(failed), 0}; got != want {
		return fmt.Sprintf("status counts %v Jobs as active, succeeded, failed and requeued, not %v", got, want)
	}
	if text := binding.Annotations[v1alpha1.AnnotationRequeue]; text != "" {
		return fmt.Sprintf("a requeue of %s is not done", text)
	}
	there := 0
	for _, job := range c.Recorder.Jobs(c.Binding.Namespace) {
		if !job.Gone {
			there++
		}
	}
	if there != succeeded+failed {
		return fmt.Sprintf("%d Jobs are there, not %d", there, succeeded+failed)
	}
	return ""
}

func number(n *int32) int32 {
	if n == nil {
		return -1
	}
	return *n
}
