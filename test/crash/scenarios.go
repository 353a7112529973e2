package crash

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/recorder"
	"github.com/queuebinding/queuebinding/test/rig"
)

// Scenarios are all scenarios.
var Scenarios = []*Scenario{
	{
		Name: "one message", Limit: 1,
		Bodies:     bodies(1, "127.0.0.1"),
		Missing:    settled(1, 0),
		Violations: once(1),
	},
	{
		Name: "one message, delivered twice", Limit: 2, Twice: true,
		Bodies:     bodies(1, "127.0.0.1"),
		Missing:    settled(1, 0),
		Violations: once(1),
	},
	{
		// The limit is less, so that slots are used again.
		Name: "a batch of ten", Limit: 5,
		Bodies:     append(bodies(8, "127.0.0.1"), bodies(2, "no.invalid")...),
		Missing:    settled(8, 2),
		Violations: once(1),
	},
	{
		Name: "a FIFO group of three", Limit: 2, FIFO: true,
		Bodies:  bodies(3, "127.0.0.1"),
		Missing: settled(3, 0),
		Violations: func(_ context.Context, c *Case) []string {
			return slices.Concat(exactlyOnce(c, 1), limitHeld(c), inOrder(c))
		},
	},
	{
		Name: "requeue of three", Limit: 5,
		Bodies: bodies(3, "no.invalid"),
		Prepare: func(ctx context.Context, c *Case) error {
			return rig.Await(ctx, "three failed Jobs", func() string { return unsettled(ctx, c, 0, 3) })
		},
		Act:     requeueAll,
		Missing: requeued,
		// The first attempts are gone when settled.
		Violations: once(2),
	},
	{
		// Four Jobs to a slice. The status tells of all, whichever of the operators sent them.
		Name: "requeue in slices", Limit: 5,
		Edits:  []rig.Edit{{File: sliceFile, Old: "	sliceJobs = 100\n", New: "	sliceJobs = 4\n"}},
		Bodies: bodies(9, "no.invalid"),
		Prepare: func(ctx context.Context, c *Case) error {
			return rig.Await(ctx, "nine failed Jobs", func() string { return unsettled(ctx, c, 0, 9) })
		},
		Act:     requeueAll,
		Missing: requeuedAndTold,
		Violations: func(ctx context.Context, c *Case) []string {
			return slices.Concat(exactlyOnce(c, 2), limitHeld(c), toldOf(ctx, c))
		},
	},
	{
		// Each of the forger's messages has a first attempt of its own, and the failed Job stays.
		Name: "forged lineage", Limit: 2,
		Bodies: bodies(1, "no.invalid"),
		Prepare: func(ctx context.Context, c *Case) error {
			return rig.Await(ctx, "a failed Job", func() string { return unsettled(ctx, c, 0, 1) })
		},
		Act:        forge,
		Missing:    settled(5, 1),
		Violations: once(1),
	},
	{
		Name: "File delivery", Limit: 1, Files: true,
		Bodies:  append(bodies(1, "127.0.0.1"), bodies(1, "no.invalid")...),
		Missing: settled(1, 1),
		Violations: func(ctx context.Context, c *Case) []string {
			return slices.Concat(exactlyOnce(c, 1), limitHeld(c), eachHasItsSecret(ctx, c))
		},
	},
	{
		Name: "binding deleted mid-flight", Limit: 3,
		Bodies:     bodies(6, "127.0.0.1"),
		Act:        deleteBinding,
		Missing:    everythingIsSomewhere,
		Linger:     3 * time.Second, // what is hidden has come back then
		Violations: onlyBefore,
	},
	{
		Name: "on success, three messages", Limit: 2, Keep: true,
		Bodies:     bodies(3, "127.0.0.1"),
		Missing:    settled(3, 0),
		Violations: once(1),
	},
	{
		// Each heartbeat is a step.
		Name: "on success, heartbeats", Limit: 1, Keep: true,
		Bodies:     []string{rig.Body(0, "127.0.0.1", 6)},
		Missing:    settled(1, 0),
		Violations: once(1),
	},
	{
		Name: "on success, File delivery", Limit: 1, Keep: true, Files: true,
		Bodies:  []string{rig.Body(0, "127.0.0.1", 10)},
		Missing: settled(1, 0),
		Violations: func(ctx context.Context, c *Case) []string {
			return slices.Concat(exactlyOnce(c, 1), limitHeld(c), eachHasItsSecret(ctx, c))
		},
	},
	{
		Name: "on success, a FIFO group of three", Limit: 2, Keep: true, FIFO: true,
		Bodies:  bodies(3, "127.0.0.1"),
		Missing: settled(3, 0),
		Violations: func(_ context.Context, c *Case) []string {
			return slices.Concat(exactlyOnce(c, 1), oneAfterTheOther(c), inOrder(c))
		},
	},
	{
		// The first attempt fails, the message comes back after its backoff, and the second attempt succeeds.
		Name: "on success, failure", Limit: 1, Keep: true, Slow: true, Timeout: 5 * time.Minute,
		Bodies:     []string{rig.Body(0, "127.0.0.1", 3)},
		Act:        failTheFirst,
		Missing:    settled(1, 1),
		Violations: once(2),
	},
	{
		Name: "on success, redrive", Limit: 1, Keep: true,
		Dead:    bodies(1, "127.0.0.1"),
		Act:     requeueAll,
		Missing: redriven,
		Violations: func(_ context.Context, c *Case) []string {
			switch n := len(c.Recorder.Jobs(c.Binding.Namespace)); n {
			case 0:
				return []string{lost + "a message of the dead-letter queue had no Job"}
			case 1:
				return nil
			default:
				return []string{fmt.Sprintf(doubled+"a message of the dead-letter queue had %d Jobs", n)}
			}
		},
	},
	{
		Name: "switched to on success", Limit: 1,
		Bodies:     bodies(1, "127.0.0.1"),
		Act:        switchTo(v1alpha1.AcknowledgeOnJobSucceeded),
		Missing:    settled(1, 0),
		Violations: once(1),
	},
	{
		Name: "switched from on success", Limit: 1, Keep: true,
		Bodies:     bodies(1, "127.0.0.1"),
		Act:        switchTo(v1alpha1.AcknowledgeOnJobCreated),
		Missing:    settled(1, 0),
		Violations: once(1),
	},
}

func bodies(n int, target string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = rig.Body(i, target, 0.1)
	}
	return all
}

func settled(succeeded, failed int) func(context.Context, *Case) string {
	return func(ctx context.Context, c *Case) string { return unsettled(ctx, c, succeeded, failed) }
}

func once(attempts int) func(context.Context, *Case) []string {
	return func(_ context.Context, c *Case) []string { return append(exactlyOnce(c, attempts), limitHeld(c)...) }
}

func requeueAll(ctx context.Context, c *Case) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"all"}}}`, v1alpha1.AnnotationRequeue)
	if err := c.Cluster.Client.Patch(ctx, c.Binding.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		return fmt.Errorf("asking for a requeue: %w", err)
	}
	return nil
}

// eachHasItsSecret is what is wrong with the Secrets of Jobs: each has its own, from before it was there, and there is no other.
func eachHasItsSecret(ctx context.Context, c *Case) []string {
	c.mu.Lock()
	wrong := slices.Clone(c.early)
	c.mu.Unlock()
	for _, job := range c.Recorder.Jobs(c.Binding.Namespace) {
		secret := &corev1.Secret{}
		err := c.Cluster.Client.Get(ctx, types.NamespacedName{Namespace: job.Namespace, Name: job.Name}, secret)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf(lost+"the body of message %s: %v", job.Root, err))
		} else if body := string(secret.Data["body"]); body != c.Sent[job.Root] {
			wrong = append(wrong, fmt.Sprintf("the Secret of Job %s has body %s, not %s", job.Name, body, c.Sent[job.Root]))
		} else if owner := metav1.GetControllerOf(secret); owner == nil || owner.UID != job.UID {
			wrong = append(wrong, fmt.Sprintf("the Secret of Job %s belongs to %v", job.Name, owner))
		}
	}
	all := &corev1.SecretList{}
	if err := c.Cluster.Client.List(ctx, all, client.InNamespace(c.Binding.Namespace)); err != nil {
		return append(wrong, err.Error())
	}
	if jobs := c.Recorder.Jobs(c.Binding.Namespace); len(all.Items) != len(jobs) {
		wrong = append(wrong, fmt.Sprintf("there are %d Secrets for %d Jobs", len(all.Items), len(jobs)))
	}
	return wrong
}

// requeued: the second attempts have failed too, and the first ones are gone.
func requeued(ctx context.Context, c *Case) string {
	if said := unsettled(ctx, c, 0, len(c.Bodies)); said != "" {
		return said
	}
	for _, job := range c.Recorder.Jobs(c.Binding.Namespace) {
		if job.Attempt == 1 && !job.Gone {
			return fmt.Sprintf("failed Job %s is still there", job.Name)
		}
	}
	return ""
}

// requeuedAndTold: the same, and the status says that the requeue is done.
func requeuedAndTold(ctx context.Context, c *Case) string {
	if said := requeued(ctx, c); said != "" {
		return said
	}
	last, err := lastRequeue(ctx, c)
	switch {
	case err != nil:
		return err.Error()
	case last == nil || last.InProgress:
		return fmt.Sprintf("status.lastRequeue is %+v", last)
	}
	return ""
}

// toldOf is what is wrong with what the status says of a requeue of all that is done.
func toldOf(ctx context.Context, c *Case) []string {
	last, err := lastRequeue(ctx, c)
	switch {
	case err != nil:
		return []string{err.Error()}
	case last == nil || last.InProgress || int(last.RequeuedJobs) == len(c.Bodies) && last.RefusedJobs == 0:
		return nil
	}
	return []string{fmt.Sprintf(miscounted+"%d Jobs were requeued, and the status says %+v", len(c.Bodies), *last)}
}

func lastRequeue(ctx context.Context, c *Case) (*v1alpha1.RequeueResult, error) {
	binding := &v1alpha1.QueueBinding{}
	err := c.Cluster.Client.Get(ctx, keyOf(c.Binding), binding)
	return binding.Status.LastRequeue, err
}

// awaitJob waits for the first Job.
func awaitJob(ctx context.Context, c *Case) error {
	return rig.Await(ctx, "the first Job", func() string {
		if len(c.Recorder.Jobs(c.Binding.Namespace)) == 0 {
			return "there is none"
		}
		return ""
	})
}

// switchTo changes when messages are acknowledged, as soon as the first Job is there.
func switchTo(rule v1alpha1.Acknowledge) func(context.Context, *Case) error {
	return func(ctx context.Context, c *Case) error {
		if err := awaitJob(ctx, c); err != nil {
			return err
		}
		patch := fmt.Sprintf(`{"spec":{"acknowledge":%q}}`, rule)
		if err := c.Cluster.Client.Patch(ctx, c.Binding.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
			return fmt.Errorf("switching to %s: %w", rule, err)
		}
		return nil
	}
}

// failTheFirst deletes the Pod of the first Job, which fails of that.
func failTheFirst(ctx context.Context, c *Case) error {
	if err := awaitJob(ctx, c); err != nil {
		return err
	}
	return rig.Await(ctx, "the first Job's failure", func() string {
		if job := c.Recorder.Jobs(c.Binding.Namespace)[0]; job.Finished {
			return ""
		}
		if err := c.Cluster.Client.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(c.Binding.Namespace)); err != nil {
			return err.Error()
		}
		return "it goes on"
	})
}

// redriven: the dead-letter queue is empty, and what it held has run.
func redriven(ctx context.Context, c *Case) string {
	if said := c.DeadLetters.Holds(ctx, 0); said != "" {
		return said
	}
	return unsettled(ctx, c, len(c.Dead), 0)
}

// deleteBinding deletes the binding as soon as its first Job is there.
func deleteBinding(ctx context.Context, c *Case) error {
	if err := awaitJob(ctx, c); err != nil {
		return err
	}
	if err := c.Cluster.Client.Delete(ctx, c.Binding.DeepCopy()); err != nil {
		return fmt.Errorf("deleting the binding: %w", err)
	}
	return nil
}

// everythingIsSomewhere: the binding and its Jobs are gone, and each message is on the queue or had a Job.
func everythingIsSomewhere(ctx context.Context, c *Case) string {
	if c.Recorder.Binding(c.Binding.UID).DeletedAt == 0 {
		return "the binding is still there"
	}
	had := map[string]bool{}
	for _, job := range c.Recorder.Jobs(c.Binding.Namespace) {
		if !job.Gone {
			return fmt.Sprintf("Job %s is still there", job.Name)
		}
		had[job.Root] = true
	}
	held, err := c.Queue.Contents(ctx)
	if err != nil {
		return err.Error()
	}
	for id := range c.Sent {
		if !had[id] && !slices.ContainsFunc(held, func(h rig.QueuedMessage) bool { return h.ID == id }) {
			return fmt.Sprintf(lost+"message %s is not on the queue and had no Job", id)
		}
	}
	return ""
}

// onlyBefore: a message that is not on the queue had its Job while the binding existed, and none had two.
func onlyBefore(ctx context.Context, c *Case) []string {
	held, err := c.Queue.Contents(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	deleted := c.Recorder.Binding(c.Binding.UID).DeletedAt
	wrong := limitHeld(c)
	jobs := map[string][]recorder.Job{}
	for _, job := range c.Recorder.Jobs(c.Binding.Namespace) {
		jobs[job.Root] = append(jobs[job.Root], job)
	}
	for id, body := range c.Sent {
		onQueue := slices.ContainsFunc(held, func(h rig.QueuedMessage) bool { return h.ID == id })
		switch {
		case len(jobs[id]) > 1:
			wrong = append(wrong, fmt.Sprintf(doubled+"message %s had %d Jobs", id, len(jobs[id])))
		case len(jobs[id]) == 1 && jobs[id][0].Body != body:
			wrong = append(wrong, fmt.Sprintf("Job %s has body %s, not %s", jobs[id][0].Name, jobs[id][0].Body, body))
		case onQueue:
		case len(jobs[id]) == 0:
			wrong = append(wrong, fmt.Sprintf(lost+"message %s is not on the queue and had no Job", id))
		case jobs[id][0].Revision > deleted:
			wrong = append(wrong, fmt.Sprintf(lost+"message %s is not on the queue and its Job was created %d changes after the binding's deletion",
				id, jobs[id][0].Revision-deleted))
		}
	}
	return wrong
}
