package operator_test

import (
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

var _ = Describe("A requeue", func() {
	It("of one, then of all, gives each a new Job, and the failed one goes when that exists", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx)
		w.send(ctx, "a.invalid", "b.invalid", "c.invalid")
		Eventually(status(ctx, binding)).Should(counts(0, 0, 3, 0))
		first := w.jobs(ctx)[0]
		annotate(ctx, binding, first.Name)
		Eventually(status(ctx, binding)).Should(And(HaveField("LastRequeue.RequeuedJobs", BeEquivalentTo(1)), counts(0, 0, 3, 0)))
		Eventually(attempts).WithArguments(ctx, w).Should(ConsistOf("1", "1", "2"))

		annotate(ctx, binding, "all")
		Eventually(attempts).WithArguments(ctx, w).Should(ConsistOf("2", "2", "3"))
		Eventually(status(ctx, binding)).Should(counts(0, 0, 3, 0))
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)).To(Succeed())
		Expect(binding.Annotations).NotTo(HaveKey(v1alpha1.AnnotationRequeue))
		Expect(w.bodies(ctx)).To(ConsistOf(ContainSubstring("a.invalid"), ContainSubstring("b.invalid"), ContainSubstring("c.invalid")))
	})

	It("refuses what is unknown, running, or another's, with words", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx)
		w.queue.send(ctx, `{"target": "x", "duration": 600}`)
		Eventually(status(ctx, binding)).Should(counts(1, 0, 0, 0))
		running := w.jobs(ctx)[0].Name
		other := w.jobs(ctx)[0].DeepCopy()
		other.ObjectMeta = metav1.ObjectMeta{Namespace: w.namespace, Name: "other"}
		other.Spec.Selector, other.Spec.Template.Labels = nil, nil
		Expect(k8s.Create(ctx, other)).To(Succeed())
		annotate(ctx, binding, "nosuch,other,Not_a_name,"+running)
		Eventually(status(ctx, binding)).Should(HaveField("LastRequeue.Refused", ConsistOf(
			And(HaveField("JobName", "nosuch"), HaveField("Reason", v1alpha1.RefusedNotFound)),
			And(HaveField("JobName", "other"), HaveField("Reason", v1alpha1.RefusedNotOwned)),
			And(HaveField("JobName", running), HaveField("Reason", v1alpha1.RefusedNotFailed)),
			And(HaveField("JobName", "Not_a_name"), HaveField("Reason", v1alpha1.RefusedInvalidRequest)),
		)))
		Expect(w.jobs(ctx)).To(HaveLen(2))
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)).To(Succeed())
		Expect(binding.Annotations).NotTo(HaveKey(v1alpha1.AnnotationRequeue))
	})

	It("whose message is purged loses nothing", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx)
		w.send(ctx, "a.invalid")
		Eventually(status(ctx, binding)).Should(counts(0, 0, 1, 0))
		edit(ctx, binding, func(b *v1alpha1.QueueBinding) { b.Spec.Suspend = true })
		Eventually(status(ctx, binding)).Should(ready(HavePrefix("True Suspended")))
		name := w.jobs(ctx)[0].Name
		annotate(ctx, binding, name)
		Eventually(status(ctx, binding)).Should(counts(0, 0, 0, 1))
		// The poll that was open when the binding was suspended gives back what it got.
		Eventually(w.queue.numbers(ctx)).Should(Equal([]string{"1", "0"}))
		_, err := w.queue.client.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: &w.queue.url})
		Expect(err).NotTo(HaveOccurred())

		edit(ctx, binding, func(b *v1alpha1.QueueBinding) { b.Spec.Suspend = false })
		annotate(ctx, binding, name)
		Eventually(attempts).WithArguments(ctx, w).Should(ConsistOf("2"))
		Eventually(status(ctx, binding)).Should(counts(0, 0, 1, 0))
	})
})

// attempts are the attempts that the Jobs of a workspace are.
func attempts(ctx SpecContext, w *workspace) []string {
	var all []string
	for _, job := range w.jobs(ctx) {
		all = append(all, job.Annotations[v1alpha1.AnnotationAttempt])
	}
	return all
}
