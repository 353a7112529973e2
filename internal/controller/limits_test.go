package controller_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

var _ = Describe("The limit", func() {
	It("maxActiveJobs holds, and a Job that ends makes room for the next", func(ctx SpecContext) {
		w := newWorkspace(ctx, func(s *v1alpha1.QueueBindingSpec) { s.Concurrency.MaxActiveJobs = new(int32(2)) })
		w.send("a", "b", "c", "d")
		jobs := w.started(ctx, 2)
		Consistently(w.jobs).WithArguments(ctx).Should(HaveLen(2))
		w.fail(ctx, jobs[0])
		w.started(ctx, 3)
		Consistently(w.jobs).WithArguments(ctx).Should(HaveLen(3))
		Eventually(w.status).WithArguments(ctx).Should(And(
			counts(2, 0, 1, 0), condition(v1alpha1.ConditionReady, HavePrefix("True Running")), HaveField("RecentFailures", ConsistOf(And(
				HaveField("JobName", jobs[0].Name), HaveField("Reason", "BackoffLimitExceeded"))))))
	})

	It("maxPendingJobs holds, and a Pod that is ready makes room for the next", func(ctx SpecContext) {
		w := newWorkspace(ctx, func(s *v1alpha1.QueueBindingSpec) { s.Concurrency.MaxPendingJobs = new(int32(2)) })
		w.send("a", "b", "c", "d")
		jobs := w.started(ctx, 2)
		Consistently(w.jobs).WithArguments(ctx).Should(HaveLen(2))
		w.running(ctx, jobs[0])
		w.started(ctx, 3)
		Consistently(w.jobs).WithArguments(ctx).Should(HaveLen(3))
		Eventually(w.status).WithArguments(ctx).Should(And(counts(3, 0, 0, 0), HaveField("PendingJobs", HaveValue(BeEquivalentTo(2)))))
	})

	It("successfulJobsHistoryLimit keeps the newest", func(ctx SpecContext) {
		w := newWorkspace(ctx, func(s *v1alpha1.QueueBindingSpec) { s.SuccessfulJobsHistoryLimit = new(int32(2)) })
		w.send("a", "b", "c")
		jobs := w.started(ctx, 3)
		w.succeed(ctx, jobs...)
		Eventually(w.status).WithArguments(ctx).Should(counts(0, 2, 0, 0))
		Expect(names(w.jobs(ctx))).To(Equal(names(jobs[1:])))
	})

	It("failedJobsHistoryLimit pauses a binding whose failed Jobs are the only records", func(ctx SpecContext) {
		w := newWorkspace(ctx, func(s *v1alpha1.QueueBindingSpec) { s.FailedJobsHistoryLimit = new(int32(2)) })
		w.send("a", "b")
		jobs := w.started(ctx, 2)
		w.fail(ctx, jobs...)
		Eventually(w.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionReady, HavePrefix("False FailedJobsLimitReached")))
		w.send("c")
		Consistently(w.jobs).WithArguments(ctx).Should(HaveLen(2))
		Expect(k8s.Delete(ctx, &jobs[0], client.PropagationPolicy(metav1.DeletePropagationBackground))).To(Succeed())
		Eventually(w.attempts).WithArguments(ctx).Should(HaveLen(2))
		Eventually(w.status).WithArguments(ctx).Should(And(counts(1, 0, 1, 0), condition(v1alpha1.ConditionReady, HavePrefix("True Running"))))
	})

	It("failedJobsHistoryLimit deletes the oldest where the user chose so", func(ctx SpecContext) {
		w := newWorkspace(ctx, func(s *v1alpha1.QueueBindingSpec) {
			s.FailedJobsHistoryLimit, s.FailedJobsPolicy = new(int32(1)), v1alpha1.DeleteOldestFailedJobs
		})
		w.send("a", "b", "c")
		jobs := w.started(ctx, 3)
		w.fail(ctx, jobs...)
		Eventually(w.status).WithArguments(ctx).Should(counts(0, 0, 1, 0))
		Expect(names(w.jobs(ctx))).To(Equal(names(jobs[2:])))
	})
})
