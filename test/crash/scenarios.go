package crash

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/test/faultproxy"
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
		Missing:    settled(len(ForgedLineages("", "")), 1),
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
	{
		// The only slot is that of the message that the webhook fails at, until that one goes back to the queue for its backoff.
		Name: "webhook fails for one message", Limit: 1, Slow: true, Timeout: 5 * time.Minute,
		Bodies:  append(bodies(1, unwelcome), bodies(3, "127.0.0.1")...),
		Webhook: failsAtUnwelcome,
		Act:     othersPass(3),
		Missing: settled(4, 0),
		Violations: func(_ context.Context, c *Case) []string {
			return slices.Concat(c.onTheWay(), exactlyOnce(c, 1), limitHeld(c))
		},
	},
	{
		// The poll asks for several messages under the old rule, and is answered under the new one. The emulator hands out one message
		// of a group at a time, SQS several: TestTheRestOfAGroupGoesBackAfterASwitch has that.
		Name: "switched to on success, a FIFO poll open", Limit: 3, FIFO: true,
		Broken:  map[string]faultproxy.Fault{receiveMessage: {Delay: 4 * time.Second}},
		Act:     switchUnderAnOpenPoll,
		Missing: settled(3, 0),
		Violations: func(_ context.Context, c *Case) []string {
			return slices.Concat(exactlyOnce(c, 1), oneAfterTheOther(c), inOrder(c))
		},
	},
	{
		Name: "credentials changed mid-flight", Limit: 2,
		Bodies:     bodies(6, "127.0.0.1"),
		Act:        changeCredentials,
		Missing:    settled(6, 0),
		Violations: once(1),
	},
	{
		Name: "on success, credentials changed mid-flight", Limit: 2, Keep: true,
		Bodies:     bodies(4, "127.0.0.1"),
		Act:        changeCredentials,
		Missing:    settled(4, 0),
		Violations: once(1),
	},
	{
		// Whoever asks whether the Job was made learns it after the switch.
		Name: "switched to on success, create not answered", Limit: 2,
		Bodies:     bodies(2, "127.0.0.1"),
		Broken:     map[string]faultproxy.Fault{createJobs: {Kind: faultproxy.CutAfter}},
		Act:        switchUnanswered(v1alpha1.AcknowledgeOnJobSucceeded),
		Missing:    settled(2, 0),
		Violations: once(1),
	},
	{
		// The Job goes by the rule that it was made under: its message stays on the queue while it runs.
		Name: "switched from on success, create not answered", Limit: 1, Keep: true,
		Bodies: []string{rig.Body(0, "127.0.0.1", 8)},
		Broken: map[string]faultproxy.Fault{createJobs: {Kind: faultproxy.CutAfter}},
		Act: func(ctx context.Context, c *Case) error {
			if err := switchUnanswered(v1alpha1.AcknowledgeOnJobCreated)(ctx, c); err != nil {
				return err
			}
			return keptWhileItRuns(ctx, c)
		},
		Missing: settled(1, 0),
		Violations: func(_ context.Context, c *Case) []string {
			return slices.Concat(c.onTheWay(), exactlyOnce(c, 1), limitHeld(c))
		},
	},
}

// The names of requests that scenarios break.
const (
	receiveMessage = "ReceiveMessage"
	createJobs     = "create jobs"
)

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
	wrong := c.onTheWay()
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
		return c.patch(ctx, fmt.Sprintf(`{"spec":{"acknowledge":%q}}`, rule))
	}
}

// patch changes the binding.
func (c *Case) patch(ctx context.Context, patch string) error {
	if err := c.Cluster.Client.Patch(ctx, c.Binding.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		return fmt.Errorf("changing the binding by %s: %w", patch, err)
	}
	return nil
}

// awaitTakenUp waits until the operator works by the binding as it is.
func (c *Case) awaitTakenUp(ctx context.Context) error {
	return rig.Await(ctx, "the new generation", func() string {
		now := &v1alpha1.QueueBinding{}
		if err := c.Cluster.Client.Get(ctx, keyOf(c.Binding), now); err != nil {
			return err.Error()
		}
		if now.Status.ObservedGeneration != now.Generation {
			return fmt.Sprintf("the operator works by generation %d of %d", now.Status.ObservedGeneration, now.Generation)
		}
		return ""
	})
}

// othersPass waits for the Jobs of the messages that the webhook does not fail at, and mends it then.
func othersPass(others int) func(context.Context, *Case) error {
	return func(ctx context.Context, c *Case) error {
		defer c.mended.Store(true)
		err := rig.Await(ctx, "the Jobs of the others", func() string {
			if n := len(c.Recorder.Jobs(c.Binding.Namespace)); n < others {
				return fmt.Sprintf("there are %d", n)
			}
			return ""
		})
		if errors.Is(err, rig.ErrTimeout) {
			c.violate(stuck+"one message holds up the others: %v", err)
			return nil
		}
		return err
	}
}

// switchUnderAnOpenPoll switches to OnJobSucceeded while a receive is under way, and sends a group only then.
func switchUnderAnOpenPoll(ctx context.Context, c *Case) error {
	if err := rig.Await(ctx, "the first receive", func() string {
		if !c.script.hasMet(receiveMessage) {
			return "there is none"
		}
		return ""
	}); err != nil {
		return err
	}
	if err := c.patch(ctx, fmt.Sprintf(`{"spec":{"acknowledge":%q}}`, v1alpha1.AcknowledgeOnJobSucceeded)); err != nil {
		return err
	}
	if err := c.awaitTakenUp(ctx); err != nil {
		return err
	}
	for _, body := range bodies(3, "127.0.0.1") {
		if err := c.send(ctx, body); err != nil {
			return err
		}
	}
	c.script.mend(receiveMessage)
	return nil
}

// changeCredentials gives the binding keys while it has messages under way, replaces them, and gives it others.
func changeCredentials(ctx context.Context, c *Case) error {
	if err := awaitJob(ctx, c); err != nil {
		return err
	}
	for _, name := range []string{"first", "second"} {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: c.Binding.Namespace, Name: name},
			StringData: map[string]string{"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": "secret"},
		}
		if err := c.Cluster.Client.Create(ctx, secret); err != nil {
			return fmt.Errorf("creating credentials: %w", err)
		}
		if err := c.patch(ctx, fmt.Sprintf(`{"spec":{"queue":{"credentials":{"secretRef":{"name":%q}}}}}`, name)); err != nil {
			return err
		}
		if err := c.awaitTakenUp(ctx); err != nil {
			return err
		}
		secret.StringData = map[string]string{"AWS_ACCESS_KEY_ID": name + "-rotated", "AWS_SECRET_ACCESS_KEY": "secret"}
		if err := c.Cluster.Client.Update(ctx, secret); err != nil {
			return fmt.Errorf("rotating credentials: %w", err)
		}
	}
	return nil
}

// switchUnanswered switches the rule between the creation of a Job and the answer to it.
func switchUnanswered(rule v1alpha1.Acknowledge) func(context.Context, *Case) error {
	return func(ctx context.Context, c *Case) error {
		defer c.script.mend(createJobs)
		if err := switchTo(rule)(ctx, c); err != nil {
			return err
		}
		return c.awaitTakenUp(ctx)
	}
}

// keptWhileItRuns watches over the message of the first Job for as long as that runs.
func keptWhileItRuns(ctx context.Context, c *Case) error {
	first := c.Recorder.Jobs(c.Binding.Namespace)[0].Name
	return rig.Await(ctx, "the first Job's end", func() string {
		held, err := c.Queue.Contents(ctx)
		if err != nil {
			return err.Error()
		}
		// Looked at in this order, as it is acknowledged when it has succeeded, and not by the recorder, which may be late.
		now := &batchv1.Job{}
		if err := c.Cluster.Client.Get(ctx, types.NamespacedName{Namespace: c.Binding.Namespace, Name: first}, now); err != nil {
			return err.Error()
		}
		if job.Observe(now).State != job.Active {
			return ""
		}
		if len(held) == 0 {
			c.violate(lost + "the message of a Job that runs is not on the queue")
			return ""
		}
		return "it runs"
	})
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
