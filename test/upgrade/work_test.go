package upgrade_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

// work is one kind of work that goes on through a change of versions. What it does at a time may be nothing.
type work interface {
	// begin is called while the version before leads, and serves the subresource.
	begin(ctx context.Context)
	// roll is called while the version before leads, and the next one serves the subresource.
	roll(ctx context.Context)
	// leave is called right before the version before is ended.
	leave(ctx context.Context)
	// alone is called once that has ended. The next one may lead by then, or nobody.
	alone(ctx context.Context)
	// finish is called while the next version leads.
	finish(ctx context.Context)
	// places are those of its namespaces.
	places() []*place
}

// still is a work that does nothing at most times.
type still struct{ *place }

func (still) roll(context.Context)  {}
func (still) leave(context.Context) {}
func (still) alone(context.Context) {}
func (s still) places() []*place    { return []*place{s.place} }

// allWork is one of each kind.
func allWork() []work {
	return []work{
		&limited{}, &pending{}, &attempted{}, &grouped{}, &grouped{acknowledge: v1alpha1.AcknowledgeOnJobSucceeded},
		&filed{}, &kept{}, &sentAgain{}, &identified{}, &rejected{}, &delayed{}, &asked{}, &plugged{}, &askedAlone{}, &askedLeaving{}, &beyond{},
		&flowing{}, &flowing{acknowledge: v1alpha1.AcknowledgeOnJobSucceeded},
	}
}

// limited has as many Jobs as it may, which run, and more messages than that.
type limited struct {
	still
	bodies []string
}

func (w *limited) begin(ctx context.Context) {
	w.place = newPlace(ctx, "", func(b *v1alpha1.QueueBinding) { b.Spec.Concurrency.MaxActiveJobs = new(int32(3)) })
	w.bodies = w.sendHeld(ctx, 8)
	w.reaches(ctx, 3, 0, 0, 0)
}

func (w *limited) finish(ctx context.Context) {
	w.rests(ctx)
	w.reaches(ctx, 3, 0, 0, 0)
	w.endAll(ctx, 8)
	w.ran(ctx, w.bodies, 1)
	w.settles(ctx)
}

// pending has as many Jobs whose Pods no node takes as it may.
type pending struct {
	still
	bodies []string
}

func (w *pending) begin(ctx context.Context) {
	w.place = newPlace(ctx, "", func(b *v1alpha1.QueueBinding) {
		b.Spec.Concurrency.MaxPendingJobs = new(int32(2))
		b.Spec.JobTemplate.Spec.Template.Spec.NodeSelector = map[string]string{b.Namespace: "here"}
	})
	w.bodies = w.send(ctx, 5, "now", 1)
	w.reaches(ctx, 2, 0, 0, 0)
}

func (w *pending) finish(ctx context.Context) {
	w.rests(ctx)
	w.reaches(ctx, 2, 0, 0, 0)
	Expect(w.status(ctx).PendingJobs).To(HaveValue(BeEquivalentTo(2)))
	kubectl(ctx, "label", "nodes", "--all", w.namespace+"=here")
	w.reaches(ctx, 0, 5, 0, 0)
	w.ran(ctx, w.bodies, 1)
	w.settles(ctx)
}

// attempted is under OnJobSucceeded: one Job runs all the time, one ends while nobody may look, and one has failed, its message on the
// queue for the next attempt.
type attempted struct {
	still
	bodies []string
}

func (w *attempted) begin(ctx context.Context) {
	w.place = newPlace(ctx, "", func(b *v1alpha1.QueueBinding) { b.Spec.Acknowledge = v1alpha1.AcknowledgeOnJobSucceeded })
	w.bodies = w.sendHeld(ctx, 3)
	w.reaches(ctx, 3, 0, 0, 0)
	w.endBody(ctx, w.bodies[2], corev1.PodFailed)
	w.reaches(ctx, 2, 0, 1, 0)
}

func (w *attempted) alone(ctx context.Context) { w.endBody(ctx, w.bodies[1], corev1.PodSucceeded) }

func (w *attempted) finish(ctx context.Context) {
	w.ran(ctx, w.bodies[2:], 1, 2)
	w.reaches(ctx, 2, 1, 1, 0)
	Eventually(w.queue.Holds).WithContext(ctx).WithArguments(2).Should(BeEmpty())
	w.endAll(ctx, 3)
	w.ran(ctx, w.bodies[:2], 1)
	w.ran(ctx, w.bodies[2:], 1, 2)
	w.settles(ctx)
}

// grouped is a group of a FIFO queue, whose Jobs run one after the other.
type grouped struct {
	still
	acknowledge v1alpha1.Acknowledge
	bodies      []string
}

func (w *grouped) begin(ctx context.Context) {
	w.place = newPlace(ctx, ".fifo", func(b *v1alpha1.QueueBinding) {
		b.Spec.Acknowledge = w.acknowledge
		b.Spec.Concurrency.MaxActiveJobs = new(int32(1))
	})
	w.bodies = w.sendHeld(ctx, 4)
	w.endBody(ctx, w.bodies[0], corev1.PodSucceeded)
	w.reaches(ctx, 1, 1, 0, 0)
}

func (w *grouped) finish(ctx context.Context) {
	w.rests(ctx)
	w.endAll(ctx, 4)
	w.settles(ctx)
	var order []string
	for _, each := range seen.Jobs(w.namespace) {
		order = append(order, each.Body)
	}
	Expect(order).To(Equal(w.bodies))
}

// filed has Jobs whose messages are in Secrets, one that runs and one that failed and is requeued later.
type filed struct{ still }

func (w *filed) begin(ctx context.Context) {
	w.place = newPlace(ctx, "", func(b *v1alpha1.QueueBinding) { b.Spec.Message.Delivery = v1alpha1.DeliverFile })
	w.sendHeld(ctx, 1)
	w.sendFailing(ctx, 1)
	w.reaches(ctx, 1, 0, 1, 0)
}

func (w *filed) finish(ctx context.Context) {
	w.rests(ctx)
	before := w.contents(ctx)
	Expect(before).To(HaveLen(2))
	w.endAll(ctx, 1)
	w.requeue(ctx, "all")
	Eventually(w.lineages).WithContext(ctx).Should(ConsistOf(1, 1, 2))
	w.reaches(ctx, 0, 1, 1, 0)
	w.settles(ctx)
	Eventually(w.contents).WithContext(ctx).Should(ConsistOf(before))
}

// contents are the messages that Secrets hold.
func (w *filed) contents(ctx context.Context) []string {
	GinkgoHelper()
	list := &corev1.SecretList{}
	Expect(k8s.List(ctx, list, client.InNamespace(w.namespace))).To(Succeed())
	var all []string
	for _, each := range list.Items {
		Expect(metav1.GetControllerOf(&each)).To(HaveField("Kind", "Job"))
		all = append(all, string(each.Data["body"]))
	}
	return all
}

// lineages are the attempts that all Jobs ever were.
func (p *place) lineages() []int {
	var all []int
	for _, each := range seen.Jobs(p.namespace) {
		all = append(all, each.Attempt)
	}
	return all
}

// kept has finished Jobs within its history, so many failed ones that it pauses, and a message that waits for that.
type kept struct {
	still
	good, bad, waiting, names []string
	reason                    string
}

func (w *kept) begin(ctx context.Context) {
	w.place = newPlace(ctx, "", func(b *v1alpha1.QueueBinding) {
		b.Spec.SuccessfulJobsHistoryLimit = new(int32(2))
		b.Spec.FailedJobsHistoryLimit = new(int32(2))
	})
	w.good = w.send(ctx, 3, "now", 1)
	w.ran(ctx, w.good, 1)
	w.reaches(ctx, 0, 2, 0, 0)
	w.bad = w.sendFailing(ctx, 2)
	w.reaches(ctx, 0, 2, 2, 0)
	Eventually(func() string { return reason(w.status(ctx)) }).WithContext(ctx).Should(HavePrefix("False "))
	w.reason, w.names = reason(w.status(ctx)), w.place.names(ctx)
	w.waiting = w.send(ctx, 1, "now", 1)
}

func (w *kept) finish(ctx context.Context) {
	w.rests(ctx)
	Expect(w.place.names(ctx)).To(ConsistOf(w.names))
	Eventually(func() string { return reason(w.status(ctx)) }).WithContext(ctx).Should(Equal(w.reason))
	Expect(w.queue.Holds(ctx, 1)).To(BeEmpty())
	w.edit(ctx, func(b *v1alpha1.QueueBinding) { b.Spec.FailedJobsHistoryLimit = new(int32(100)) })
	w.reaches(ctx, 0, 2, 2, 0)
	w.ran(ctx, w.waiting, 1)
	w.ran(ctx, w.good, 1)
	w.requeue(ctx, "all")
	w.ran(ctx, w.bad, 1, 2)
	w.reaches(ctx, 0, 2, 2, 0)
	w.settles(ctx)
}

// sentAgain is suspended. On its queue there are a new message and one that was sent again, whose mark the next version does not know: so it
// is a new message, and the failed Job stays.
type sentAgain struct {
	still
	fresh, again []string
	last         *v1alpha1.RequeueResult
}

func (w *sentAgain) begin(ctx context.Context) {
	w.place = newPlace(ctx, "", nil)
	w.again = w.sendFailing(ctx, 1)
	w.reaches(ctx, 0, 0, 1, 0)
	w.edit(ctx, func(b *v1alpha1.QueueBinding) { b.Spec.Suspend = true })
	Eventually(func() string { return reason(w.status(ctx)) }).WithContext(ctx).Should(Equal("True Suspended"))
	w.requeue(ctx, w.names(ctx)[0])
	w.reaches(ctx, 0, 0, 0, 1)
	w.fresh = w.send(ctx, 1, "now", 1)
	// A poll that was open gives back what it got.
	Eventually(w.visible).WithContext(ctx).Should(Equal(2))
	Eventually(w.lastRequeue).WithContext(ctx).ShouldNot(BeNil())
	w.last = w.lastRequeue(ctx)
}

// visible is how many messages can be received now.
func (p *place) visible(ctx context.Context) int {
	visible, _, err := p.queue.Visible(ctx)
	if err != nil {
		return -1
	}
	return visible
}

func (w *sentAgain) finish(ctx context.Context) {
	w.rests(ctx)
	Expect(w.lastRequeue(ctx)).To(Equal(w.last))
	Expect(w.visible(ctx)).To(Equal(2))
	w.edit(ctx, func(b *v1alpha1.QueueBinding) { b.Spec.Suspend = false })
	w.ran(ctx, w.fresh, 1)
	w.ran(ctx, w.again, 1, 1)
	w.reaches(ctx, 0, 1, 1, 1)
	w.settles(ctx)

	left := documented(ctx, stepRequeues, "<namespace>", w.namespace, "<name>", "work")
	Expect(strings.Fields(left)).To(HaveLen(1))
	kubectl(ctx, "delete", "job", "-n", w.namespace, strings.TrimSpace(left))
	w.reaches(ctx, 0, 1, 1, 0)
}

// identified has credentials in a Secret, which change later.
type identified struct {
	still
	bodies []string
}

func (w *identified) begin(ctx context.Context) {
	w.place = newPlace(ctx, "", func(b *v1alpha1.QueueBinding) {
		b.Spec.Queue.Credentials = &v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: "aws"}}
	})
	kubectl(ctx, "create", "secret", "generic", "aws", "-n", w.namespace, "--from-literal=AWS_ACCESS_KEY_ID=before", "--from-literal=AWS_SECRET_ACCESS_KEY=x")
	w.bodies = w.sendHeld(ctx, 2)
	w.reaches(ctx, 2, 0, 0, 0)
}

func (w *identified) finish(ctx context.Context) {
	w.rests(ctx)
	kubectl(ctx, "patch", "secret", "aws", "-n", w.namespace, `--patch={"stringData": {"AWS_ACCESS_KEY_ID": "after"}}`)
	w.bodies = append(w.bodies, w.sendHeld(ctx, 1)...)
	w.endAll(ctx, 3)
	w.ran(ctx, w.bodies, 1)
	w.settles(ctx)
}

// rejected has a message that no Job can be made of, until the binding is mended when the version before has ended.
type rejected struct {
	still
	id string
}

const unreadable = `{"number": "none"}`

func (w *rejected) begin(ctx context.Context) {
	w.place = newPlace(ctx, "", nil)
	id, err := w.queue.Send(ctx, unreadable)
	Expect(err).NotTo(HaveOccurred())
	w.id = id
	Eventually(w.rejection).WithContext(ctx).Should(Equal(w.id))
}

// rejection is the ID of the message that was rejected last.
func (w *rejected) rejection(ctx context.Context) string {
	if last := w.status(ctx).LastRejection; last != nil {
		return last.MessageID
	}
	return ""
}

func (w *rejected) alone(ctx context.Context) {
	Expect(w.queue.Holds(ctx, 1)).To(BeEmpty())
	w.edit(ctx, func(b *v1alpha1.QueueBinding) {
		for i := range b.Spec.Message.Variables {
			b.Spec.Message.Variables[i].Expression = "'1'"
		}
	})
}

func (w *rejected) finish(ctx context.Context) {
	w.ran(ctx, []string{unreadable}, 1) // half a minute after it was rejected
	w.reaches(ctx, 0, 1, 0, 0)
	Expect(w.rejection(ctx)).To(Equal(w.id))
	w.settles(ctx)
}

// delayed sends a message that arrives when the next version leads, or is about to.
type delayed struct {
	still
	body string
}

func (w *delayed) begin(ctx context.Context) { w.place = newPlace(ctx, "", nil) }

func (w *delayed) leave(ctx context.Context) {
	w.body = body("now", 1)
	Expect(w.queue.SendLater(ctx, w.body, 15)).To(Succeed())
}

func (w *delayed) finish(ctx context.Context) {
	w.ran(ctx, []string{w.body}, 1)
	w.reaches(ctx, 0, 1, 0, 0)
	w.settles(ctx)
}

// asked is asked for requeues through the subresource, of the version that leads and of the next one while that does not lead yet.
type asked struct {
	still
	bodies []string
}

func (w *asked) begin(ctx context.Context) {
	w.place = newPlace(ctx, "", nil)
	w.bodies = w.sendFailing(ctx, 1)
	w.post(ctx, w.onlyFailed(ctx, 1))
	w.ran(ctx, w.bodies, 1, 2)
}

func (w *asked) roll(ctx context.Context) {
	w.post(ctx, w.onlyFailed(ctx, 2))
	w.ran(ctx, w.bodies, 1, 2, 3)
}

func (w *asked) finish(ctx context.Context) {
	w.post(ctx, w.onlyFailed(ctx, 3))
	w.ran(ctx, w.bodies, 1, 2, 3, 4)
	w.reaches(ctx, 0, 0, 1, 0)
	w.settles(ctx)
}

// onlyFailed waits until an attempt has failed and is the only Job that is left, and returns its name.
func (p *place) onlyFailed(ctx context.Context, attempt int) string {
	GinkgoHelper()
	var found []batchv1.Job
	Eventually(func() []batchv1.Job {
		found = p.jobs(ctx)
		return found
	}).WithContext(ctx).Should(ConsistOf(And(
		WithTransform(func(j batchv1.Job) job.State { return job.Observe(&j).State }, Equal(job.Failed)),
		WithTransform(func(j batchv1.Job) string { return j.Annotations[v1alpha1.AnnotationAttempt] }, Equal(strconv.Itoa(attempt))),
	)))
	return found[0].Name
}

// plugged is looked at and asked for requeues by the plugins of both versions, whoever leads and serves the subresource.
type plugged struct {
	still
	bodies  []string
	attempt int
}

func (w *plugged) begin(ctx context.Context) {
	w.place, w.attempt = newPlace(ctx, "", nil), 1
	w.bodies = w.sendFailing(ctx, 1)
	w.tries(ctx)
}

func (w *plugged) roll(ctx context.Context) { w.tries(ctx) }

func (w *plugged) finish(ctx context.Context) {
	w.tries(ctx)
	w.tries(ctx, "--annotate")
	w.settles(ctx)
}

// tries has both plugins show the binding, and requeue its failed Job in a way.
func (w *plugged) tries(ctx context.Context, way ...string) {
	GinkgoHelper()
	for _, v := range []*version{released, head} {
		plugin := func(args ...string) string {
			GinkgoHelper()
			return run(ctx, "", append([]string{filepath.Join(v.programs, "kubectl-queuebinding"), "-n", w.namespace}, args...)...)
		}
		name := w.onlyFailed(ctx, w.attempt)
		Eventually(func() string { return plugin("describe", "work") }).WithContext(ctx).Should(And(ContainSubstring("this.is.invalid"), ContainSubstring("Ready=True")))
		Expect(plugin("list")).To(ContainSubstring("work"))
		Expect(plugin("failures", "work")).To(ContainSubstring(name))
		Expect(plugin("message", name)).To(Equal(w.bodies[0]))
		Expect(plugin(append([]string{"requeue", "work", name, "--wait", "--timeout=1m"}, way...)...)).To(ContainSubstring(name))
		w.attempt++
		w.onlyFailed(ctx, w.attempt)
	}
}

// askedAlone is asked for requeues when the version before has ended.
type askedAlone struct {
	still
	fifo   *place
	bodies []string
}

func (w *askedAlone) begin(ctx context.Context) {
	w.place, w.fifo = newPlace(ctx, "", nil), newPlace(ctx, ".fifo", nil)
	w.bodies = append(w.sendFailing(ctx, 2), w.fifo.sendFailing(ctx, 3)...)
	w.reaches(ctx, 0, 0, 2, 0)
	w.fifo.reaches(ctx, 0, 0, 3, 0)
}

func (w *askedAlone) places() []*place { return []*place{w.place, w.fifo} }

func (w *askedAlone) alone(ctx context.Context) {
	w.requeue(ctx, strings.Join(w.names(ctx), ","))
	w.fifo.requeue(ctx, "all")
}

func (w *askedAlone) finish(ctx context.Context) {
	w.ran(ctx, w.bodies[:2], 1, 2)
	w.fifo.ran(ctx, w.bodies[2:], 1, 2)
	w.reaches(ctx, 0, 0, 2, 0)
	w.fifo.reaches(ctx, 0, 0, 3, 0)
	Eventually(w.lastRequeue).WithContext(ctx).Should(HaveField("RequeuedJobs", BeEquivalentTo(2)))
	Eventually(w.fifo.lastRequeue).WithContext(ctx).Should(HaveField("RequeuedJobs", BeEquivalentTo(3)))
	w.settles(ctx)
	w.fifo.settles(ctx)
}

// askedLeaving is asked for a requeue when the version before is about to end: what that has sent by then is on the queue, marked as the
// next one does not know it.
type askedLeaving struct {
	still
	bodies []string
}

const (
	// leaving is how many Jobs are requeued while a version ends.
	leaving = 30
	// atOnce is how many of them a version sends side by side at most: 0.1.0 as many, this one in batches of ten.
	atOnce = 16
)

func (w *askedLeaving) begin(ctx context.Context) {
	w.place = newPlace(ctx, "", func(b *v1alpha1.QueueBinding) { b.Spec.Concurrency.MaxActiveJobs = new(int32(2 * leaving)) })
	w.bodies = w.sendFailing(ctx, leaving)
	w.reaches(ctx, 0, 0, leaving, 0)
}

func (w *askedLeaving) leave(ctx context.Context) { w.requeue(ctx, "all") }

func (w *askedLeaving) finish(ctx context.Context) {
	w.settles(ctx)
	marked := map[string]bool{}
	for _, each := range seen.Jobs(w.namespace) {
		marked[each.Body] = marked[each.Body] || each.Attempt == 1 && each.Requeued && !each.Gone
	}
	twice := 0
	for _, each := range w.bodies {
		attempts := w.attempts(each)
		if !marked[each] && slices.Equal(attempts, []int{1, 1, 2}) {
			twice++ // sent by the version before, which ended before it could mark the Job, and by the next one
			continue
		}
		want := []int{1, 2} // as ever
		if marked[each] {
			want = []int{1, 1} // as a message of its own
		}
		Expect(attempts).To(Equal(want), fmt.Sprintf("in %s at %s", w.namespace, each))
	}
	Expect(twice).To(BeNumerically("<=", atOnce), "more were sent twice than are sent at once")
}

// beyond was created by a version that let its limit be higher than this one does.
type beyond struct {
	still
	bodies []string
}

// maxLimit is the highest limit that this version's CRD lets be set.
const maxLimit = 20000

func (w *beyond) begin(ctx context.Context) {
	limit := int32(maxLimit)
	if installed.version == released {
		limit++
	}
	w.place = newPlace(ctx, "", func(b *v1alpha1.QueueBinding) { b.Spec.Concurrency.MaxActiveJobs = &limit })
	w.bodies = w.sendHeld(ctx, 1)
	w.reaches(ctx, 1, 0, 0, 0)
}

func (w *beyond) finish(ctx context.Context) {
	limit := *w.current(ctx).Spec.Concurrency.MaxActiveJobs
	w.edit(ctx, func(b *v1alpha1.QueueBinding) { b.Spec.SuccessfulJobsHistoryLimit = new(int32(7)) })
	w.endAll(ctx, 1)
	w.ran(ctx, w.bodies, 1)
	w.settles(ctx)
	Expect(w.current(ctx).Spec.Concurrency.MaxActiveJobs).To(HaveValue(Equal(limit)))
	before := w.current(ctx)
	raised := before.DeepCopy()
	raised.Spec.Concurrency.MaxActiveJobs = new(int32(maxLimit + 2))
	if err := k8s.Patch(ctx, raised, client.MergeFrom(before), client.DryRunAll); installed.version == released {
		Expect(err).NotTo(HaveOccurred())
	} else {
		Expect(err).To(MatchError(ContainSubstring("maxActiveJobs")))
	}
}

// flowing has messages coming in all the time.
type flowing struct {
	still
	acknowledge v1alpha1.Acknowledge
	bodies      chan []string
	stop        context.CancelFunc
}

func (w *flowing) begin(ctx context.Context) {
	w.place = newPlace(ctx, "", func(b *v1alpha1.QueueBinding) {
		b.Spec.Acknowledge = w.acknowledge
		b.Spec.Concurrency.MaxActiveJobs = new(int32(5))
		// None must go before its message cannot come back any more: see docs/delivery.md.
		b.Spec.SuccessfulJobsHistoryLimit = new(int32(1000))
	})
	w.bodies = make(chan []string, 1)
	ctx, w.stop = context.WithCancel(ctx)
	go func() {
		defer GinkgoRecover()
		var bodies []string
		defer func() { w.bodies <- bodies }()
		for ctx.Err() == nil {
			next := body("now", 0.5)
			if _, err := w.queue.Send(context.WithoutCancel(ctx), next); err != nil {
				Fail(err.Error())
			}
			bodies = append(bodies, next)
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond): // five a second, which is no more than there is room for
			}
		}
	}()
}

func (w *flowing) finish(ctx context.Context) {
	w.stop()
	bodies := <-w.bodies
	Expect(len(bodies)).To(BeNumerically(">", 10))
	w.ran(ctx, bodies, 1)
	w.reaches(ctx, 0, len(bodies), 0, 0)
	w.settles(ctx)
}
