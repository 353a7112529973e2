package kueue_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/testenv"
)

var _ = Describe("Kueue's webhook", func() {
	// P1, P2, P5
	It("that does not answer keeps messages, and loses and doubles none", func(ctx SpecContext) {
		const messages = 8
		w := newWorkspace(ctx, "1")
		queue := w.queue(ctx, "work")
		binding := w.binding(ctx, "work", queue, maxActive(messages))
		Eventually(status(ctx, binding)).Should(condition(v1alpha1.ConditionJobTemplateValid, HavePrefix("True")))
		Expect(cluster.StopPart(testenv.Kueue)).To(Succeed())
		send(ctx, queue, messages, 1)
		Eventually(status(ctx, binding)).Should(condition(v1alpha1.ConditionReady, HavePrefix("False "+v1alpha1.ReasonWebhookUnavailable)))
		Expect(queue.Holds(ctx, messages)).To(BeEmpty())
		Expect(w.jobs(ctx, binding)).To(BeEmpty())

		Expect(cluster.StartPart(testenv.Kueue)).To(Succeed())
		Eventually(status(ctx, binding)).Should(counts(0, messages))
		Eventually(queue.Holds).WithArguments(ctx, 0).Should(BeEmpty())
		w.expectOnce(messages, binding)
	})

	// P5
	It("that refuses a template stops the binding, with Kueue's words", func(ctx SpecContext) {
		w := newWorkspace(ctx, "1")
		queue := w.queue(ctx, "work")
		send(ctx, queue, 10, 1)
		binding := w.binding(ctx, "work", queue, func(b *v1alpha1.QueueBinding) {
			b.Spec.JobTemplate.Metadata.Labels[labelQueue] = "No_Queue"
		})
		Eventually(status(ctx, binding)).Should(condition(v1alpha1.ConditionJobTemplateValid, And(HavePrefix("False"), ContainSubstring("No_Queue"))))
		Expect(queue.Holds(ctx, 10)).To(BeEmpty())
		Expect(w.jobs(ctx, binding)).To(BeEmpty())
	})

	It("is not needed by a template that suspends its Jobs itself", func(ctx SpecContext) {
		w := newWorkspace(ctx, "0")
		withoutWebhook(ctx)
		queue := w.queue(ctx, "work")
		binding := w.binding(ctx, "work", queue, func(b *v1alpha1.QueueBinding) {
			b.Spec.JobTemplate.Spec.Suspend = new(true)
		})
		send(ctx, queue, 2, 1)
		Eventually(w.count(ctx, binding, waiting)).Should(Equal(2))
		w.setQuota(ctx)
		Eventually(status(ctx, binding)).Should(counts(0, 2))
		w.expectOnce(2, binding)
	})
})

// withoutWebhook takes away, for one test, the webhook that suspends Jobs.
func withoutWebhook(ctx SpecContext) {
	GinkgoHelper()
	webhooks := &admissionregistrationv1.MutatingWebhookConfiguration{}
	Expect(k8s.Get(ctx, client.ObjectKey{Name: "kueue-mutating-webhook-configuration"}, webhooks)).To(Succeed())
	Expect(k8s.Delete(ctx, webhooks)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		webhooks.ObjectMeta = metav1.ObjectMeta{Name: webhooks.Name}
		Expect(k8s.Create(ctx, webhooks)).To(Succeed())
	})
}
