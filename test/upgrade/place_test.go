package upgrade_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/test/recorder"
	"github.com/queuebinding/queuebinding/test/rig"
)

// forever is how many seconds a Job runs that a test ends.
const forever = 900_000

var serial atomic.Int64

// place is a namespace, a queue and a binding of one kind of work.
type place struct {
	namespace string
	queue     *rig.Queue
	binding   *v1alpha1.QueueBinding
}

// newPlace makes a place, its queue of a name that ends in suffix, and its binding changed by change.
func newPlace(ctx context.Context, suffix string, change func(*v1alpha1.QueueBinding)) *place {
	GinkgoHelper()
	namespace := fmt.Sprintf("work-%d", serial.Add(1))
	Expect(cluster.CreateNamespace(ctx, namespace)).To(Succeed())
	queue, err := cluster.CreateQueue(ctx, namespace+suffix, "", 0)
	Expect(err).NotTo(HaveOccurred())
	p := &place{namespace: namespace, queue: queue, binding: rig.Binding(namespace, "work", queue.URL)}
	// Longer than a minute would hide what a version that no longer cares for its messages causes.
	p.binding.Spec.Queue.VisibilityTimeoutSeconds = new(int32(5))
	if change != nil {
		change(p.binding)
	}
	Expect(k8s.Create(ctx, p.binding)).To(Succeed())
	return p
}

// body is that of a message whose Job runs for some seconds and succeeds, or fails where target ends in `.invalid`. No two are equal.
func body(target string, seconds float64) string {
	return rig.Body(int(serial.Add(1)), target, seconds)
}

// sendHeld sends messages whose Jobs run until they are ended, and returns their bodies.
func (p *place) sendHeld(ctx context.Context, count int) []string {
	GinkgoHelper()
	return p.send(ctx, count, "held", forever)
}

// sendFailing sends messages whose Jobs fail.
func (p *place) sendFailing(ctx context.Context, count int) []string {
	GinkgoHelper()
	return p.send(ctx, count, "this.is.invalid", 1)
}

// send sends messages in order, and returns their bodies.
func (p *place) send(ctx context.Context, count int, target string, seconds float64) []string {
	GinkgoHelper()
	bodies := make([]string, count)
	for n := range bodies {
		bodies[n] = body(target, seconds)
		_, err := p.queue.Send(ctx, bodies[n])
		Expect(err).NotTo(HaveOccurred())
	}
	return bodies
}

// jobs are the Jobs that exist.
func (p *place) jobs(ctx context.Context) []batchv1.Job {
	GinkgoHelper()
	list := &batchv1.JobList{}
	Expect(k8s.List(ctx, list, client.InNamespace(p.namespace))).To(Succeed())
	return list.Items
}

// names are the names of the Jobs that exist.
func (p *place) names(ctx context.Context) []string {
	GinkgoHelper()
	var names []string
	for _, each := range p.jobs(ctx) {
		names = append(names, each.Name)
	}
	return names
}

// end ends a Job as its Pod's node would, in a phase.
func (p *place) end(ctx context.Context, running *batchv1.Job, phase corev1.PodPhase) error {
	pods := &corev1.PodList{}
	if err := k8s.List(ctx, pods, client.InNamespace(p.namespace), client.MatchingLabels{batchv1.JobNameLabel: running.Name}); err != nil {
		return err
	}
	if len(pods.Items) != 1 || pods.Items[0].Status.Phase != corev1.PodRunning {
		return fmt.Errorf("job %s has no running Pod", running.Name)
	}
	patch := fmt.Appendf(nil, `{"status": {"phase": %q, "conditions": [{"type": "Ready", "status": "False"}]}}`, phase)
	return k8s.Status().Patch(ctx, &pods.Items[0], client.RawPatch(types.StrategicMergePatchType, patch))
}

// endBody ends the active Job of a message.
func (p *place) endBody(ctx context.Context, body string, phase corev1.PodPhase) {
	GinkgoHelper()
	Eventually(func() error {
		for _, each := range p.jobs(ctx) {
			if bodyOf(&each) == body && job.Observe(&each).State == job.Active {
				return p.end(ctx, &each, phase)
			}
		}
		return fmt.Errorf("no active Job of %s", body)
	}).WithContext(ctx).Should(Succeed())
}

// endAll ends Jobs until as many have succeeded as wanted.
func (p *place) endAll(ctx context.Context, want int) {
	GinkgoHelper()
	Eventually(func() int {
		succeeded := 0
		for _, each := range p.jobs(ctx) {
			switch job.Observe(&each).State {
			case job.Active:
				_ = p.end(ctx, &each, corev1.PodSucceeded) // tried again
			case job.Succeeded:
				succeeded++
			}
		}
		return succeeded
	}).WithContext(ctx).Should(Equal(want))
}

// bodyOf is the body of a Job's message, also where it is in a Secret.
func bodyOf(of *batchv1.Job) string { return of.Spec.Template.Annotations[v1alpha1.AnnotationBody] }

// edit changes the binding, again where somebody else does too.
func (p *place) edit(ctx context.Context, change func(*v1alpha1.QueueBinding)) {
	GinkgoHelper()
	Eventually(func() error {
		if err := k8s.Get(ctx, client.ObjectKeyFromObject(p.binding), p.binding); err != nil {
			return err
		}
		before := p.binding.DeepCopy()
		change(p.binding)
		return k8s.Patch(ctx, p.binding, client.MergeFrom(before))
	}).WithContext(ctx).Should(Succeed())
}

// requeue asks for a requeue by annotation.
func (p *place) requeue(ctx context.Context, what string) {
	GinkgoHelper()
	p.edit(ctx, func(b *v1alpha1.QueueBinding) {
		b.Annotations = map[string]string{v1alpha1.AnnotationRequeue: what}
	})
}

// post asks for a requeue by the subresource, whoever serves it.
func (p *place) post(ctx context.Context, names ...string) {
	GinkgoHelper()
	request, err := json.Marshal(map[string]any{"spec": map[string]any{"jobNames": names}})
	Expect(err).NotTo(HaveOccurred())
	path := fmt.Sprintf("/apis/subresources.queuebinding.dev/v1alpha1/namespaces/%s/queuebindings/work/requeue", p.namespace)
	answer := run(ctx, string(request), "kubectl", "create", "--raw", path, "-f", "-")
	for _, name := range names {
		Expect(answer).To(ContainSubstring(name))
	}
	Expect(answer).NotTo(ContainSubstring("refused"))
}

// current is the binding now.
func (p *place) current(ctx context.Context) *v1alpha1.QueueBinding {
	current := &v1alpha1.QueueBinding{}
	if err := k8s.Get(ctx, client.ObjectKeyFromObject(p.binding), current); err != nil {
		return &v1alpha1.QueueBinding{}
	}
	return current
}

func (p *place) status(ctx context.Context) v1alpha1.QueueBindingStatus { return p.current(ctx).Status }

// counts matches a status by its numbers of active, succeeded, failed and requeued Jobs.
func counts(active, succeeded, failed, requeued int) OmegaMatcher {
	return WithTransform(numbers, Equal([]int{active, succeeded, failed, requeued}))
}

func numbers(s v1alpha1.QueueBindingStatus) []int {
	var all []int
	for _, each := range []*int32{s.ActiveJobs, s.SucceededJobs, s.FailedJobs, s.RequeuedJobs} {
		all = append(all, int(ptr.Deref(each, -1)))
	}
	return all
}

// reason is that of Ready.
func reason(s v1alpha1.QueueBindingStatus) string {
	for _, each := range s.Conditions {
		if each.Type == v1alpha1.ConditionReady {
			return fmt.Sprintf("%s %s", each.Status, each.Reason)
		}
	}
	return ""
}

// reaches waits until the status has numbers of active, succeeded, failed and requeued Jobs.
func (p *place) reaches(ctx context.Context, active, succeeded, failed, requeued int) {
	GinkgoHelper()
	Eventually(p.status).WithContext(ctx).Should(counts(active, succeeded, failed, requeued), p.namespace)
}

// rests expects that nothing changes about Jobs and their numbers for a while, which a version that has just begun to lead might.
func (p *place) rests(ctx context.Context) {
	GinkgoHelper()
	type seen struct {
		names   []string
		numbers []int
	}
	look := func() seen {
		names := p.names(ctx)
		slices.Sort(names)
		return seen{names, numbers(p.status(ctx))}
	}
	before := look()
	Consistently(look).WithContext(ctx).Should(Equal(before), p.namespace)
}

// attempts are the attempts that there ever were at the messages of a body, by the Jobs that the API server told of.
func (p *place) attempts(body string) []int {
	var attempts []int
	for _, each := range seen.Jobs(p.namespace) {
		if each.Body == body {
			attempts = append(attempts, each.Attempt)
		}
	}
	slices.Sort(attempts)
	return attempts
}

// ran waits until there were attempts at each message, and expects that there were no others.
func (p *place) ran(ctx context.Context, bodies []string, attempts ...int) {
	GinkgoHelper()
	for _, each := range bodies {
		Eventually(p.attempts).WithContext(ctx).WithArguments(each).Should(Equal(attempts), "in %s at %s", p.namespace, each)
	}
}

// settles waits until the queue is empty, and until the status says what is there. It expects that no attempt was made twice and that no
// limit was passed.
func (p *place) settles(ctx context.Context) {
	GinkgoHelper()
	Eventually(p.queue.Holds).WithContext(ctx).WithArguments(0).Should(BeEmpty())
	Eventually(func() string {
		b := p.current(ctx)
		if b.Annotations[v1alpha1.AnnotationRequeue] != "" {
			return "a requeue is still asked for"
		}
		if b.Status.ObservedGeneration != b.Generation {
			return "the status is of an earlier generation"
		}
		if got, want := numbers(b.Status), p.count(ctx); !slices.Equal(got, want) {
			return fmt.Sprintf("the status says %v, and there are %v", got, want)
		}
		return ""
	}).WithContext(ctx).Should(BeEmpty(), p.namespace)
	p.unique()
	b := p.current(ctx)
	Expect(seen.Peak(b.UID)).To(BeNumerically("<=", int(*b.Spec.Concurrency.MaxActiveJobs)), p.namespace)
}

// unique expects that no attempt at a message had two Jobs.
func (p *place) unique() {
	GinkgoHelper()
	known := map[string]recorder.Job{}
	for _, each := range seen.Jobs(p.namespace) {
		lineage := fmt.Sprintf("%s/%d", each.Root, each.Attempt)
		if first, twice := known[lineage]; twice {
			Fail(fmt.Sprintf("%s: two Jobs for one attempt:\n%+v\n%+v", p.namespace, first, each))
		}
		known[lineage] = each
	}
}

// count counts the Jobs that exist as a status does.
func (p *place) count(ctx context.Context) []int {
	GinkgoHelper()
	n := make([]int, 4)
	for _, each := range p.jobs(ctx) {
		record := job.Observe(&each)
		switch {
		case record.State == job.Active:
			n[0]++
		case record.State == job.Succeeded:
			n[1]++
		case record.Sent:
			n[3]++
		default:
			n[2]++
		}
	}
	return n
}

// lastRequeue is what the status says of the last requeue, its time left out: see [metav1.Time].
func (p *place) lastRequeue(ctx context.Context) *v1alpha1.RequeueResult {
	last := p.status(ctx).LastRequeue.DeepCopy()
	if last != nil {
		last.Time = metav1.NewTime(last.Time.UTC().Truncate(time.Second))
	}
	return last
}
