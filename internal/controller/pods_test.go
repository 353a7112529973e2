package controller_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

var _ = Describe("The status", func() {
	It("tells how the container of a failed Job ended, as was read once", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.send("a", "b")
		jobs := w.started(ctx, 2)
		const secret = "a termination message "
		w.pod(ctx, jobs[0], func(s *corev1.PodStatus) {
			s.Phase = corev1.PodFailed
			s.ContainerStatuses = []corev1.ContainerStatus{{Name: "ping", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ExitCode: 137, Reason: "OOMKilled", Message: strings.Repeat(secret, 100), FinishedAt: metav1.Now(),
			}}}}
		})
		w.fail(ctx, jobs...)
		told := HaveField("RecentFailures", ConsistOf(
			And(HaveField("JobName", jobs[1].Name), HaveField("Container", BeNil())),
			And(HaveField("JobName", jobs[0].Name), HaveField("Container", And(
				HaveField("PodName", "pod-of-"+jobs[0].Name), HaveField("NodeName", "node"), HaveField("Name", "ping"), HaveField("ExitCode", HaveValue(BeEquivalentTo(137))),
				HaveField("Reason", "OOMKilled"), HaveField("Message", And(HavePrefix(secret), WithTransform(func(s string) int { return len(s) }, BeNumerically("<=", 259)))),
			))),
		))
		Eventually(w.status).WithArguments(ctx).Should(told)

		By("and stays when the Pod is gone and others fail")
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "pod-of-" + jobs[0].Name}}
		Expect(k8s.Delete(ctx, pod, client.GracePeriodSeconds(0))).To(Succeed())
		w.send("c")
		w.fail(ctx, w.started(ctx, 3)[2])
		Eventually(w.status).WithArguments(ctx).Should(counts(0, 0, 3, 0))
		Expect(w.status(ctx).RecentFailures[1:]).To(WithTransform(func(f []v1alpha1.Failure) v1alpha1.QueueBindingStatus {
			return v1alpha1.QueueBindingStatus{RecentFailures: f}
		}, told))
	})

	It("tells why Pods do not start, and that they do again", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.send("a", "b", "c")
		jobs := w.started(ctx, 3)
		Eventually(w.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionPodsStarting, HavePrefix("True PodsStart")))
		for i, reason := range []string{"ErrImagePull", "ImagePullBackOff"} {
			w.pod(ctx, jobs[i], func(s *corev1.PodStatus) {
				s.Phase = corev1.PodPending
				s.ContainerStatuses = []corev1.ContainerStatus{{Name: "ping", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
					Reason: reason, Message: "no such image",
				}}}}
			})
		}
		w.pod(ctx, jobs[2], func(s *corev1.PodStatus) {
			s.Phase = corev1.PodPending
			s.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes are available"}}
		})
		Eventually(w.status).WithArguments(ctx).WithTimeout(time.Minute).Should(condition(v1alpha1.ConditionPodsStarting, And(
			HavePrefix("False ErrImagePull: 2 Pods wait (ErrImagePull), such as pod-of-"), ContainSubstring(": no such image; 1 Pods wait (Unschedulable)"))))
		Expect(w.status(ctx)).To(condition(v1alpha1.ConditionReady, HavePrefix("True Running")))
		for _, job := range jobs {
			w.running(ctx, job)
		}
		Eventually(w.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionPodsStarting, HavePrefix("True PodsStart")))
	})

	It("tells of a Job that has no Pod", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.send("a")
		job := w.started(ctx, 1)[0]
		Eventually(w.status).WithArguments(ctx).WithTimeout(time.Minute).Should(condition(v1alpha1.ConditionPodsStarting,
			HavePrefix(fmt.Sprintf("False NoPods: Job %s has no Pod", job.Name))))
	})
})

// pod makes the Pod that the Job controller would, as the kubelet reports it.
func (w *workspace) pod(ctx context.Context, job batchv1.Job, report func(*corev1.PodStatus)) {
	GinkgoHelper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: "pod-of-" + job.Name, Labels: job.Spec.Template.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(&job, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: job.Spec.Template.Spec,
	}
	pod.Spec.NodeName = "node"
	Expect(k8s.Create(ctx, pod)).To(Succeed())
	report(&pod.Status)
	Expect(k8s.Status().Update(ctx, pod)).To(Succeed())
}
