package kueue_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

var _ = Describe("Jobs that are preempted", func() {
	// P2, P3
	It("wait with their messages hidden, and are resumed at the same attempt", func(ctx SpecContext) {
		const low, urgent, atOnce = 6, 4, 4
		w := newWorkspace(ctx, "1")
		priority := kueueObject("WorkloadPriorityClass", "", w.namespace)
		priority.Object["value"] = int64(1000)
		Expect(k8s.Create(ctx, priority)).To(Succeed())
		most := followRunning(ctx, w)

		lowQueue, urgentQueue := w.queue(ctx, "low"), w.queue(ctx, "urgent")
		lowBinding := w.binding(ctx, "low", lowQueue, maxActive(low), onJobSucceeded(4))
		urgentBinding := w.binding(ctx, "urgent", urgentQueue, maxActive(urgent), func(b *v1alpha1.QueueBinding) {
			b.Spec.JobTemplate.Metadata.Labels[labelPriority] = w.namespace
		})
		send(ctx, lowQueue, low, 20)
		Eventually(status(ctx, lowBinding)).Should(counts(low, 0))
		Eventually(w.count(ctx, lowBinding, running)).Should(Equal(atOnce))

		By("sending what is urgent")
		send(ctx, urgentQueue, urgent, 6)
		Eventually(func() []int {
			return []int{w.count(ctx, lowBinding, running)(), w.count(ctx, urgentBinding, running)()}
		}).Should(Equal([]int{0, urgent}))
		Expect(visible(ctx, lowQueue)()).To(Equal([]int{0, low}))
		Eventually(status(ctx, lowBinding)).Should(counts(low, 0))

		By("having done what was urgent")
		Eventually(status(ctx, urgentBinding)).Should(counts(0, urgent))
		Eventually(status(ctx, lowBinding)).Should(counts(0, low))
		Expect(most()).To(BeNumerically("<=", atOnce), "Jobs that ran at once")
		for _, each := range w.jobs(ctx, lowBinding) {
			Expect(each.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationReceiveCount, "1"))
		}
		Eventually(lowQueue.Holds).WithArguments(ctx, 0).Should(BeEmpty())
		Eventually(urgentQueue.Holds).WithArguments(ctx, 0).Should(BeEmpty())
		w.expectOnce(low+urgent, lowBinding, urgentBinding)
	})

	It("by a hold of their ClusterQueue are resumed after it", func(ctx SpecContext) {
		w := newWorkspace(ctx, "1")
		queue := w.queue(ctx, "work")
		binding := w.binding(ctx, "work", queue, onJobSucceeded(4))
		send(ctx, queue, 1, 8)
		Eventually(w.count(ctx, binding, running)).Should(Equal(1))
		w.setStopPolicy(ctx, "HoldAndDrain")
		Eventually(w.count(ctx, binding, waiting)).Should(Equal(1))
		Consistently(visible(ctx, queue), 6*time.Second).Should(Equal([]int{0, 1}))
		w.setStopPolicy(ctx, "None")
		Eventually(status(ctx, binding)).Should(counts(0, 1))
		Eventually(queue.Holds).WithArguments(ctx, 0).Should(BeEmpty())
		w.expectOnce(1, binding)
	})
})
