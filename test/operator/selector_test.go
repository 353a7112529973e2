package operator_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/process"
)

var _ = Describe("Several operators", func() {
	It("share out bindings by labels, and hand one over whose labels change", func(ctx SpecContext) {
		operator.Kill()
		var a, b *process.Process
		begin := func(selector string) *process.Process {
			return startOperator("--binding-selector="+selector, "--leader-elect", "--namespace=default")
		}
		a, b = begin("operator=a"), begin("operator=b")
		DeferCleanup(func() {
			a.Kill()
			b.Kill()
			operator = startOperator()
		})

		w := newWorkspace(ctx)
		binding := w.binding(ctx, func(q *v1alpha1.QueueBinding) {
			q.Labels = map[string]string{"operator": "a"}
			q.Spec.Concurrency.MaxActiveJobs = new(int32(100))
			q.Spec.JobTemplate.Spec.Suspend = new(true) // they stay
		})
		Eventually(status(ctx, binding)).Should(ready(HavePrefix("True Running")))
		w.queue.sendMany(ctx, 5)
		Eventually(w.jobs).WithContext(ctx).Should(HaveLen(5))

		By("changing the label while messages come")
		edit(ctx, binding, func(q *v1alpha1.QueueBinding) { q.Labels["operator"] = "b" })
		w.queue.sendMany(ctx, 15)
		Eventually(w.jobs).WithContext(ctx).Should(HaveLen(20))
		Eventually(w.queue.numbers(ctx)).Should(Equal([]string{"0", "0"}))
		Eventually(status(ctx, binding)).Should(counts(20, 0, 0, 0))
		Expect(messageIDs(w.jobs(ctx))).To(HaveLen(20), "one Job for each message")

		By("leaving the old operator alone with it")
		Expect(b.Terminate(ctx)).To(Succeed())
		w.queue.sendMany(ctx, 1)
		Consistently(w.jobs).WithContext(ctx).Should(HaveLen(20))
		b = begin("operator=b")
		Eventually(w.jobs).WithContext(ctx).Should(HaveLen(21))
		Eventually(status(ctx, binding), time.Minute).Should(counts(21, 0, 0, 0))
	})
})

// messageIDs are the messages of Jobs.
func messageIDs(jobs []batchv1.Job) map[string]bool {
	ids := map[string]bool{}
	for _, each := range jobs {
		ids[each.Annotations[v1alpha1.AnnotationMessageID]] = true
	}
	return ids
}
