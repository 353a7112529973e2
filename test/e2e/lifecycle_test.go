package e2e_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// untilTold is a container that goes on until a test says `kubectl exec … touch /tmp/go`.
func untilTold() corev1.Container {
	return busybox("sh", "-c", "until [ -e /tmp/go ]; do sleep 0.1; done")
}

func (w *workspace) tell(pod string) {
	GinkgoHelper()
	kubectl("exec", "-n", w.namespace, pod, "--", "touch", "/tmp/go")
}

// failure is the only recent failure in a status.
func failure(want OmegaMatcher) OmegaMatcher {
	return WithTransform(func(s v1alpha1.QueueBindingStatus) []v1alpha1.Failure { return s.RecentFailures }, ConsistOf(want))
}

var _ = Describe("A Job", func() {
	It("that takes too long is ended at its deadline", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, busybox("sleep", "3600"), func(b *v1alpha1.QueueBinding) {
			b.Spec.JobTemplate.Spec.ActiveDeadlineSeconds = new(int64(3))
		})
		id := w.send(ctx, "x", nil)
		Eventually(status(ctx, binding)).Should(And(counts(0, 0, 1), failure(And(HaveField("MessageID", id), HaveField("Reason", "DeadlineExceeded")))))
		Eventually(w.podsOf).WithArguments(ctx, id).Should(BeEmpty())
	})

	It("fails at once with an exit code that its policy names, and status tells it", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, busybox("sh", "-c", "echo bad input >&2; exit 42"), func(b *v1alpha1.QueueBinding) {
			b.Spec.JobTemplate.Spec.BackoffLimit = new(int32(6))
			b.Spec.JobTemplate.Spec.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
				Action:      batchv1.PodFailurePolicyActionFailJob,
				OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{42}},
			}}}
		})
		id := w.send(ctx, "x", nil)
		Eventually(status(ctx, binding)).Should(And(counts(0, 0, 1), failure(And(
			HaveField("Reason", "PodFailurePolicy"), HaveField("Message", ContainSubstring("exit code 42")),
			HaveField("Container", And(HaveField("Name", "work"), HaveField("ExitCode", HaveValue(BeEquivalentTo(42))), HaveField("NodeName", Not(BeEmpty()))))))))
		Expect(w.podsOf(ctx, id)).To(HaveLen(1))
		Expect(w.printed(ctx, id, "work")).To(Equal("bad input\n"))
	})

	It("is tried as often as its backoff limit says, with the same environment", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, busybox("sh", "-c", `echo "$QUEUEBINDING_ATTEMPT $QUEUEBINDING_MESSAGE_BODY"; exit 3`), func(b *v1alpha1.QueueBinding) {
			b.Spec.JobTemplate.Spec.BackoffLimit = new(int32(1))
		})
		id := w.send(ctx, "$(HOME)", nil)
		Eventually(status(ctx, binding)).Should(And(counts(0, 0, 1), failure(HaveField("Reason", "BackoffLimitExceeded"))))
		tries := w.podsOf(ctx, id)
		Expect(tries).To(HaveLen(2))
		for _, pod := range tries {
			Expect(pod.Status.ContainerStatuses[0].State.Terminated.ExitCode).To(Equal(int32(3)))
			Expect(kubectl("logs", "-n", w.namespace, pod.Name)).To(Equal("1 $(HOME)\n"))
		}
	})

	It("whose container is restarted counts once", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		work := busybox("sh", "-c", "[ -e /kept/file ] && exit 0; touch /kept/file; exit 1")
		work.VolumeMounts = []corev1.VolumeMount{{Name: "kept", MountPath: "/kept"}}
		binding := w.binding(ctx, work, func(b *v1alpha1.QueueBinding) {
			b.Spec.JobTemplate.Spec.BackoffLimit = new(int32(3))
			spec := &b.Spec.JobTemplate.Spec.Template.Spec
			spec.RestartPolicy = corev1.RestartPolicyOnFailure
			spec.Volumes = []corev1.Volume{{Name: "kept", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		})
		id := w.send(ctx, "x", nil)
		Eventually(status(ctx, binding)).Should(counts(0, 1, 0))
		Expect(w.podsOf(ctx, id)).To(HaveExactElements(HaveField("Status.ContainerStatuses", HaveExactElements(HaveField("RestartCount", int32(1))))))
	})

	It("that is suspended keeps its place, and goes on when it is resumed", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, untilTold(), func(b *v1alpha1.QueueBinding) { b.Spec.Concurrency.MaxActiveJobs = new(int32(1)) })
		id := w.send(ctx, "first", nil)
		Eventually(w.runningPod).WithArguments(ctx, id).ShouldNot(BeEmpty())
		suspend := func(value bool) {
			GinkgoHelper()
			job := w.jobs(ctx)[id]
			before := job.DeepCopy()
			job.Spec.Suspend = &value
			Expect(k8s.Patch(ctx, &job, client.MergeFrom(before))).To(Succeed())
		}
		suspend(true)
		Eventually(w.podsOf).WithArguments(ctx, id).Should(BeEmpty())
		w.send(ctx, "second", nil)
		Eventually(status(ctx, binding)).Should(And(counts(1, 0, 0), HaveField("PendingJobs", HaveValue(BeZero()))))
		Consistently(func() int { return len(w.jobs(ctx)) }).Should(Equal(1))
		suspend(false)
		Eventually(w.runningPod).WithArguments(ctx, id).ShouldNot(BeEmpty())
		w.tell(w.runningPod(ctx, id))
		Eventually(status(ctx, binding)).Should(counts(1, 1, 0))
		Expect(w.jobs(ctx)).To(HaveLen(2))
	})

	It("whose Pod is deleted gets another, with the same message", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		// The Pod's end counts as a failed try.
		binding := w.binding(ctx, untilTold(), func(b *v1alpha1.QueueBinding) { b.Spec.JobTemplate.Spec.BackoffLimit = new(int32(3)) })
		id := w.send(ctx, "$(HOME) \u00e9", nil)
		Eventually(w.runningPod).WithArguments(ctx, id).ShouldNot(BeEmpty())
		first := w.runningPod(ctx, id)
		Expect(k8s.Delete(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: first}})).To(Succeed())
		Eventually(w.runningPod).WithArguments(ctx, id).ShouldNot(Or(BeEmpty(), Equal(first)))
		second := w.runningPod(ctx, id)
		Expect(kubectl("exec", "-n", w.namespace, second, "--", "sh", "-c", `printf %s "$QUEUEBINDING_MESSAGE_BODY"`)).To(Equal("$(HOME) \u00e9"))
		w.tell(second)
		Eventually(status(ctx, binding)).Should(counts(0, 1, 0))
		Expect(w.jobs(ctx)).To(HaveLen(1))
	})

	It("that succeeds takes its message off the queue then, where the binding asks for that", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, untilTold(), func(b *v1alpha1.QueueBinding) {
			b.Spec.Acknowledge = v1alpha1.AcknowledgeOnJobSucceeded
			// Short enough for the operator to have to extend it.
			b.Spec.Queue.VisibilityTimeoutSeconds = new(int32(3))
		})
		id := w.send(ctx, "x", nil)
		Eventually(w.runningPod).WithArguments(ctx, id).ShouldNot(BeEmpty())
		Consistently(w.numbers(ctx), "5s").Should(Equal([]string{"0", "1"}))
		w.tell(w.runningPod(ctx, id))
		Eventually(status(ctx, binding)).Should(counts(0, 1, 0))
		Eventually(w.numbers(ctx)).Should(Equal(empty))
	})
})
