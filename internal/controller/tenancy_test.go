package controller_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// grant sets what the workspace's Namespace allows.
func (w *workspace) grant(ctx SpecContext, annotations map[string]string) {
	GinkgoHelper()
	namespace := &corev1.Namespace{}
	Expect(k8s.Get(ctx, client.ObjectKey{Name: w.namespace}, namespace)).To(Succeed())
	before := namespace.DeepCopy()
	namespace.Annotations = annotations
	Expect(k8s.Patch(ctx, namespace, client.MergeFrom(before))).To(Succeed())
}

var _ = Describe("A Namespace", func() {
	granted := map[string]string{
		v1alpha1.AnnotationAllowedQueues: "arn:aws:sqs:eu-west-1:123456789012:test-*", v1alpha1.AnnotationOperatorIdentity: "true",
	}

	It("says what its bindings may use, from one moment to the next", func(ctx SpecContext) {
		w := newWorkspaceIn(ctx, nil)
		w.send("one")
		Eventually(w.status).WithArguments(ctx).Should(And(
			condition(v1alpha1.ConditionQueueReachable, And(HavePrefix("False NotAllowed: "), ContainSubstring(v1alpha1.AnnotationAllowedQueues))),
			condition(v1alpha1.ConditionReady, HavePrefix("False NotAllowed: ")),
		))
		Consistently(w.jobs).WithArguments(ctx).Should(BeEmpty())

		w.grant(ctx, granted)
		w.started(ctx, 1)
		Eventually(w.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionReady, HavePrefix("True Running: ")))

		w.grant(ctx, map[string]string{v1alpha1.AnnotationAllowedQueues: granted[v1alpha1.AnnotationAllowedQueues]})
		Eventually(w.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionQueueReachable,
			And(HavePrefix("False NotAllowed: "), ContainSubstring(v1alpha1.AnnotationOperatorIdentity))))
		Eventually(w.queue.quiet).Should(BeTrue())
		w.send("two")
		Consistently(w.jobs).WithArguments(ctx).Should(HaveLen(1))
		Expect(w.queue.remaining()).To(HaveLen(1))
	})

	It("keeps a requeue from a queue that is no longer allowed, until it is again", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.send("one")
		w.fail(ctx, w.started(ctx, 1)...)
		Eventually(w.status).WithArguments(ctx).Should(counts(0, 0, 1, 0))
		w.grant(ctx, nil)
		Eventually(w.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionReady, HavePrefix("False NotAllowed: ")))
		w.annotate(ctx, "all")
		Consistently(w.queue.remaining).Should(BeEmpty())

		w.grant(ctx, granted)
		Eventually(w.attempts).WithArguments(ctx).Should(ContainElement("2"))
	})
})
