package controller_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

var _ = Describe("A requeue", func() {
	It("of one Job sends its message again, and the Job goes once its successor exists", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		ids := w.send("a")
		failed := w.started(ctx, 1)[0]
		w.fail(ctx, failed)
		w.queue.hold(true)
		w.annotate(ctx, failed.Name)
		Eventually(w.queue.remaining).Should(ConsistOf(And(
			HaveField("Body", `{"target": "a"}`), HaveField("Attributes", HaveKey(v1alpha1.AttributeLineage)))))
		Eventually(w.status).WithArguments(ctx).Should(And(counts(0, 0, 0, 1), HaveField("LastRequeue", HaveValue(HaveField("RequeuedJobs", BeEquivalentTo(1))))))
		Expect(w.current(ctx).Annotations).NotTo(HaveKey(v1alpha1.AnnotationRequeue))
		marked := &batchv1.Job{}
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(&failed), marked)).To(Succeed())
		Expect(marked.Annotations).To(HaveKey(v1alpha1.AnnotationRequeuedAt))

		w.queue.hold(false)
		Eventually(w.attempts).WithArguments(ctx).Should(Equal([]string{"2"}))
		successor := w.jobs(ctx)[0]
		Expect(successor.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationMessageID, ids[0]))
		Expect(body(successor)).To(Equal(body(failed)))
		Eventually(w.status).WithArguments(ctx).Should(counts(1, 0, 0, 0))
		Eventually(w.queue.remaining).Should(BeEmpty())
	})

	It("of all Jobs is one of those that failed by then", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.send("a", "b", "c")
		jobs := w.started(ctx, 3)
		w.fail(ctx, jobs[:2]...)
		w.annotate(ctx, "all")
		Eventually(w.attempts).WithArguments(ctx).Should(Equal([]string{"2", "2", "1"}))
		Eventually(w.status).WithArguments(ctx).Should(And(counts(3, 0, 0, 0), HaveField("LastRequeue", HaveValue(HaveField("RequeuedJobs", BeEquivalentTo(2))))))
		Expect(w.current(ctx).Annotations).NotTo(HaveKey(v1alpha1.AnnotationRequeue))
	})

	It("of a Job that is unknown or has not failed is refused with the reason", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.send("a")
		running := w.started(ctx, 1)[0].Name
		w.annotate(ctx, "nosuch,"+running)
		Eventually(w.status).WithArguments(ctx).Should(HaveField("LastRequeue", HaveValue(HaveField("Refused", ConsistOf(
			And(HaveField("JobName", "nosuch"), HaveField("Reason", v1alpha1.RefusedNotFound)),
			And(HaveField("JobName", running), HaveField("Reason", v1alpha1.RefusedNotFailed)))))))
		Expect(w.queue.remaining()).To(BeEmpty())
	})
})
