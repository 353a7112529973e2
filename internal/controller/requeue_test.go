package controller_test

import (
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
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

	It("of all where no Job has failed says so", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.send("a")
		w.started(ctx, 1)
		w.annotate(ctx, "all")
		Eventually(w.status).WithArguments(ctx).Should(HaveField("LastRequeue", HaveValue(HaveField("Refused", ConsistOf(
			And(HaveField("JobName", "all"), HaveField("Reason", v1alpha1.RefusedNothingToRequeue)))))))
		Expect(w.current(ctx).Annotations).NotTo(HaveKey(v1alpha1.AnnotationRequeue))
	})

	It("of many leaves room for a change of the binding", func(ctx SpecContext) {
		const many = 600
		w := newWorkspace(ctx)
		w.queue.hold(true)
		w.failed(ctx, many)
		Eventually(w.status).WithArguments(ctx).Should(counts(0, 0, many, 0))
		w.queue.admit(1)
		DeferCleanup(w.queue.admit, many)
		w.annotate(ctx, "all")
		Eventually(w.queue.remaining).Should(HaveLen(queue.MaxBatch))
		w.edit(ctx, func(s *v1alpha1.QueueBindingSpec) { s.Suspend = true })
		// Not as many as are asked for: it is told while the requeue goes on, or never.
		w.queue.admit(2 * many / 3 / queue.MaxBatch)
		Eventually(w.status).WithArguments(ctx).Should(And(
			condition(v1alpha1.ConditionReady, HavePrefix("True Suspended")), HaveField("LastRequeue", HaveValue(HaveField("InProgress", true)))))
		Expect(len(w.queue.remaining())).To(BeNumerically("<", many))

		w.queue.admit(many)
		Eventually(w.status).WithArguments(ctx).Should(And(counts(0, 0, 0, many), HaveField("LastRequeue", HaveValue(And(
			HaveField("RequeuedJobs", BeEquivalentTo(many)), HaveField("RefusedJobs", BeEquivalentTo(0)), HaveField("InProgress", false))))))
		Expect(w.queue.remaining()).To(HaveLen(many))
		Expect(w.current(ctx).Annotations).NotTo(HaveKey(v1alpha1.AnnotationRequeue))
	})

	It("of eight bindings whose queues do not answer delays no ninth", func(ctx SpecContext) {
		var stuck []*workspace
		for range 8 {
			w := newWorkspace(ctx)
			w.queue.hold(true)
			w.queue.admit(0)
			DeferCleanup(w.queue.admit, 100)
			w.failed(ctx, 3)
			Eventually(w.status).WithArguments(ctx).Should(counts(0, 0, 3, 0))
			stuck = append(stuck, w)
		}
		ninth := newWorkspace(ctx)
		Eventually(ninth.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionReady, HavePrefix("True Running")))
		for _, w := range stuck {
			w.annotate(ctx, "all")
		}
		// Those that are under way have settled their time.
		Eventually(func() (settled int) {
			for _, w := range stuck {
				if text := w.current(ctx).Annotations[v1alpha1.AnnotationRequeue]; strings.HasPrefix(text, "all@") {
					settled++
				}
			}
			return settled
		}).Should(BeNumerically(">=", 4))
		ninth.edit(ctx, func(s *v1alpha1.QueueBindingSpec) { s.Suspend = true })
		Eventually(ninth.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionReady, HavePrefix("True Suspended")))
		for _, w := range stuck {
			Expect(w.queue.remaining()).To(BeEmpty())
			w.queue.admit(100)
		}
		for _, w := range stuck {
			Eventually(w.status).WithArguments(ctx).Should(HaveField("LastRequeue", HaveValue(HaveField("RequeuedJobs", BeEquivalentTo(3)))))
		}
	})

	It("that an operator before this one did not tell of is told of", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.queue.hold(true)
		w.failed(ctx, 2, func(j *batchv1.Job) {
			j.Annotations[v1alpha1.AnnotationRequeuedAt] = time.Now().UTC().Format(time.RFC3339)
		})
		Eventually(w.status).WithArguments(ctx).Should(And(counts(0, 0, 0, 2),
			HaveField("LastRequeue", HaveValue(And(HaveField("RequeuedJobs", BeEquivalentTo(2)), HaveField("InProgress", false))))))
	})
})
