package karpenter_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// Longer than it takes to disrupt a Pod that runs, on a busy machine.
const seconds = 12

var _ = Describe("A Pod that runs", func() {
	// disrupted is what becomes of a binding's only message when disrupt is done to its running Pod.
	disrupted := func(ctx SpecContext, disrupt func(SpecContext, *corev1.Pod), change ...func(*v1alpha1.QueueBinding)) (first *corev1.Pod, job *batchv1.Job) {
		GinkgoHelper()
		w := newWorkspace(ctx)
		w.bind(ctx, change...)
		w.send(ctx, 1, seconds)
		Eventually(w.pods).WithArguments(ctx).Should(ConsistOf(HaveField("Status.Phase", corev1.PodRunning)))
		first = &w.pods(ctx)[0]
		disrupt(ctx, first)
		Eventually(func() bool {
			seen := jobs.Jobs(w.namespace)
			return len(seen) == 1 && seen[0].Finished
		}).Should(BeTrue())
		w.expectOneJobEach(ctx, 1)
		list := &batchv1.JobList{}
		Expect(k8s.List(ctx, list, client.InNamespace(w.namespace))).To(Succeed())
		Expect(list.Items).To(HaveLen(1))
		return first, &list.Items[0]
	}

	DescribeTable("costs no attempt when it is disrupted: the Job goes on with another",
		func(ctx SpecContext, disrupt func(SpecContext, *corev1.Pod), change ...func(*v1alpha1.QueueBinding)) {
			first, job := disrupted(ctx, disrupt, change...)
			Expect(job.Status.Succeeded).To(BeEquivalentTo(1))
			Expect(job.Status.Failed).To(BeZero(), "failures that backoffLimit counts")
			second := podsOf(ctx, job, corev1.PodSucceeded)
			Expect(second).To(ConsistOf(Not(HaveField("UID", first.UID))))
		},
		Entry("by the eviction API, as `kubectl drain` does it", evict),
		Entry("by a taint, as a cloud marks a node that it takes back", taint),
		Entry("by Karpenter, where do-not-disrupt is missing", deleteNodeClaim, withoutDoNotDisrupt),
	)

	It("keeps its node while it bears do-not-disrupt", func(ctx SpecContext) {
		first, job := disrupted(ctx, deleteNodeClaim)
		Expect(job.Status.Failed).To(BeZero())
		Expect(podsOf(ctx, job, corev1.PodSucceeded)).To(ConsistOf(HaveField("UID", first.UID)))
		Eventually(poolNodes).WithArguments(ctx).ShouldNot(ContainElement(first.Spec.NodeName), "and then it goes")
	})

	It("costs an attempt where the template has no podFailurePolicy", func(ctx SpecContext) {
		_, job := disrupted(ctx, evict, func(b *v1alpha1.QueueBinding) {
			b.Spec.JobTemplate.Spec.PodFailurePolicy = nil
			b.Spec.JobTemplate.Spec.BackoffLimit = new(int32(0))
		})
		Expect(job.Status.Failed).To(BeEquivalentTo(1))
		Expect(job.Status.Succeeded).To(BeZero())
	})

	It("costs one of its backoffLimit when it is deleted outright, as Karpenter does at the end of a terminationGracePeriod", func(ctx SpecContext) {
		_, job := disrupted(ctx, func(ctx SpecContext, pod *corev1.Pod) {
			Expect(k8s.Delete(ctx, pod)).To(Succeed())
		})
		Expect(job.Status.Failed).To(BeEquivalentTo(1))
		Expect(job.Status.Succeeded).To(BeEquivalentTo(1))
	})
})

func (w *workspace) pods(ctx SpecContext) []corev1.Pod {
	GinkgoHelper()
	list := &corev1.PodList{}
	Expect(k8s.List(ctx, list, client.InNamespace(w.namespace))).To(Succeed())
	return list.Items
}

// podsOf are a Job's Pods of a phase.
func podsOf(ctx SpecContext, job *batchv1.Job, phase corev1.PodPhase) []corev1.Pod {
	GinkgoHelper()
	list := &corev1.PodList{}
	Expect(k8s.List(ctx, list, client.InNamespace(job.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name})).To(Succeed())
	var found []corev1.Pod
	for _, pod := range list.Items {
		if pod.Status.Phase == phase {
			found = append(found, pod)
		}
	}
	return found
}

func withoutDoNotDisrupt(b *v1alpha1.QueueBinding) {
	delete(b.Spec.JobTemplate.Spec.Template.Annotations, "karpenter.sh/do-not-disrupt")
}

func evict(ctx SpecContext, pod *corev1.Pod) {
	GinkgoHelper()
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
	Expect(k8s.SubResource("eviction").Create(ctx, pod, eviction)).To(Succeed())
}

func taint(ctx SpecContext, pod *corev1.Pod) {
	GinkgoHelper()
	node := &corev1.Node{}
	Expect(k8s.Get(ctx, client.ObjectKey{Name: pod.Spec.NodeName}, node)).To(Succeed())
	before := node.DeepCopy()
	node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: "example.com/interrupted", Effect: corev1.TaintEffectNoExecute})
	Expect(k8s.Patch(ctx, node, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))).To(Succeed())
}

// deleteNodeClaim has Karpenter drain the Pod's node and take it away.
func deleteNodeClaim(ctx SpecContext, pod *corev1.Pod) {
	GinkgoHelper()
	claims := &unstructured.UnstructuredList{}
	claims.SetAPIVersion("karpenter.sh/v1")
	claims.SetKind("NodeClaimList")
	Expect(k8s.List(ctx, claims)).To(Succeed())
	for _, claim := range claims.Items {
		if name, _, _ := unstructured.NestedString(claim.Object, "status", "nodeName"); name == pod.Spec.NodeName {
			Expect(k8s.Delete(ctx, &claim)).To(Succeed())
			return
		}
	}
	Fail("node " + pod.Spec.NodeName + " has no NodeClaim")
}
