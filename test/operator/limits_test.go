package operator_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

var _ = Describe("The limits", func() {
	It("hold while messages wait, in the API server's own watch", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		stream, err := k8s.Watch(ctx, &batchv1.JobList{}, client.InNamespace(w.namespace))
		Expect(err).NotTo(HaveOccurred())
		defer stream.Stop()
		w.queue.sendMany(ctx, 40)
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) { b.Spec.Concurrency.MaxActiveJobs = new(int32(7)) })

		active, most, finished := map[string]bool{}, 0, map[string]bool{}
		for len(finished) < 40 {
			var e watch.Event
			Eventually(stream.ResultChan()).Should(Receive(&e))
			seen := job.Observe(e.Object.(*batchv1.Job))
			delete(active, seen.Name)
			if seen.State != job.Active {
				finished[seen.Name] = true
			} else if e.Type != watch.Deleted {
				active[seen.Name] = true
			}
			most = max(most, len(active))
		}
		Expect(most).To(Equal(7))
		Eventually(status(ctx, binding)).Should(counts(0, 40, 0, 0))
	})

	It("let only so many wait for a node", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.queue.sendMany(ctx, 20)
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) {
			b.Spec.Concurrency.MaxPendingJobs = new(int32(3))
			b.Spec.JobTemplate.Spec.Template.Spec.NodeSelector = map[string]string{"no": "such-node"}
		})
		Eventually(status(ctx, binding)).Should(HaveField("PendingJobs", HaveValue(BeEquivalentTo(3))))
		Consistently(w.jobs).WithArguments(ctx).Should(HaveLen(3))
	})

	It("of 0, and suspend, receive nothing, and are no trouble", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.queue.sendMany(ctx, 3)
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) { b.Spec.Suspend = true })
		Eventually(status(ctx, binding)).Should(And(ready(HavePrefix("True Suspended")), HaveField("Queue.VisibleMessages", BeEquivalentTo(3))))
		edit(ctx, binding, func(b *v1alpha1.QueueBinding) {
			b.Spec.Suspend = false
			b.Spec.Concurrency.MaxActiveJobs = new(int32(0))
		})
		Eventually(status(ctx, binding)).Should(ready(ContainSubstring("maxActiveJobs is 0")))
		Consistently(w.jobs).WithArguments(ctx).Should(BeEmpty())
		edit(ctx, binding, func(b *v1alpha1.QueueBinding) { b.Spec.Concurrency.MaxActiveJobs = new(int32(1)) })
		Eventually(status(ctx, binding)).Should(And(counts(0, 3, 0, 0), ready(HavePrefix("True Running"))))
	})

	It("of history keep the newest, and pause at the failed ones", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) {
			b.Spec.SuccessfulJobsHistoryLimit = new(int32(2))
			b.Spec.FailedJobsHistoryLimit = new(int32(1))
		})
		w.queue.sendMany(ctx, 5)
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))
		Eventually(status(ctx, binding)).Should(counts(0, 2, 0, 0))
		w.send(ctx, "a.invalid")
		Eventually(status(ctx, binding)).Should(ready(HavePrefix("False FailedJobsLimitReached")))
		w.send(ctx, "b.invalid")
		Consistently(func() int { return len(w.jobs(ctx)) }).Should(Equal(3))

		edit(ctx, binding, func(b *v1alpha1.QueueBinding) { b.Spec.FailedJobsPolicy = v1alpha1.DeleteOldestFailedJobs })
		Eventually(func() []v1alpha1.Failure { return status(ctx, binding)().RecentFailures }).Should(
			ConsistOf(HaveField("JobName", Not(BeEmpty()))))
		Eventually(w.bodies).WithArguments(ctx).Should(And(ContainElement(ContainSubstring("b.invalid")), Not(ContainElement(ContainSubstring("a.invalid")))))
	})
})
