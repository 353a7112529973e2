package kueue_test

import (
	"fmt"
	"sync/atomic"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/test/rig"
)

// What Kueue reads on a Job.
const (
	labelQueue    = "kueue.x-k8s.io/queue-name"
	labelPriority = "kueue.x-k8s.io/priority-class"
)

// localQueue is the name of each workspace's LocalQueue.
const localQueue = "messages"

var serial atomic.Int64

// workspace is a namespace whose LocalQueue leads to a ClusterQueue of its own, of the same name as the namespace.
type workspace struct{ namespace string }

// newWorkspace makes a workspace with a quota of CPU. Its Jobs take their Pods' nodeSelector from a ResourceFlavor, and may be
// preempted by others of a higher priority.
func newWorkspace(ctx SpecContext, cpu string) *workspace {
	GinkgoHelper()
	w := &workspace{namespace: fmt.Sprintf("kueue-%d", serial.Add(1))}
	Expect(cluster.CreateNamespace(ctx, w.namespace)).To(Succeed())
	w.create(ctx, "ResourceFlavor", "", w.namespace, map[string]any{
		"nodeLabels": map[string]any{corev1.LabelOSStable: "linux"},
	})
	w.create(ctx, "ClusterQueue", "", w.namespace, map[string]any{
		"namespaceSelector": map[string]any{},
		"preemption":        map[string]any{"withinClusterQueue": "LowerPriority"},
		"resourceGroups": []any{map[string]any{
			"coveredResources": []any{"cpu"},
			"flavors": []any{map[string]any{
				"name":      w.namespace,
				"resources": []any{map[string]any{"name": "cpu", "nominalQuota": cpu}},
			}},
		}},
	})
	w.create(ctx, "LocalQueue", w.namespace, localQueue, map[string]any{"clusterQueue": w.namespace})
	return w
}

// create makes an object of Kueue's.
func (w *workspace) create(ctx SpecContext, kind, namespace, name string, spec map[string]any) {
	GinkgoHelper()
	object := kueueObject(kind, namespace, name)
	object.Object["spec"] = spec
	Expect(k8s.Create(ctx, object)).To(Succeed())
}

func kueueObject(kind, namespace, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("kueue.x-k8s.io/v1beta2")
	object.SetKind(kind)
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}

// setQuota changes the quota to one CPU.
func (w *workspace) setQuota(ctx SpecContext) {
	GinkgoHelper()
	w.patchClusterQueue(ctx, types.JSONPatchType, `[{"op": "replace", "path": "/spec/resourceGroups/0/flavors/0/resources/0/nominalQuota", "value": %q}]`, "1")
}

// setStopPolicy tells the ClusterQueue whether to go on admitting Jobs.
func (w *workspace) setStopPolicy(ctx SpecContext, policy string) {
	GinkgoHelper()
	w.patchClusterQueue(ctx, types.MergePatchType, `{"spec": {"stopPolicy": %q}}`, policy)
}

func (w *workspace) patchClusterQueue(ctx SpecContext, kind types.PatchType, patch, value string) {
	GinkgoHelper()
	Expect(k8s.Patch(ctx, kueueObject("ClusterQueue", "", w.namespace), client.RawPatch(kind, fmt.Appendf(nil, patch, value)))).To(Succeed())
}

// workloads are Kueue's objects for the Jobs of the namespace.
func (w *workspace) workloads(ctx SpecContext) []unstructured.Unstructured {
	GinkgoHelper()
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("kueue.x-k8s.io/v1beta2")
	list.SetKind("WorkloadList")
	Expect(k8s.List(ctx, list, client.InNamespace(w.namespace))).To(Succeed())
	return list.Items
}

// queue makes a queue.
func (w *workspace) queue(ctx SpecContext, name string) *rig.Queue {
	GinkgoHelper()
	queue, err := cluster.CreateQueue(ctx, w.namespace+"-"+name, "", 0)
	Expect(err).NotTo(HaveOccurred())
	return queue
}

// binding makes a binding whose Jobs ask for a quarter of a CPU, go to the LocalQueue and may run once; changed by change.
func (w *workspace) binding(ctx SpecContext, name string, queue *rig.Queue, change ...func(*v1alpha1.QueueBinding)) *v1alpha1.QueueBinding {
	GinkgoHelper()
	binding := rig.Binding(w.namespace, name, queue.URL)
	binding.Spec.Queue.VisibilityTimeoutSeconds = nil
	binding.Spec.JobTemplate.Metadata.Labels = map[string]string{labelQueue: localQueue}
	binding.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m")}
	for _, c := range change {
		c(binding)
	}
	Expect(k8s.Create(ctx, binding)).To(Succeed())
	return binding
}

// maxActive is the binding's limit.
func maxActive(n int32) func(*v1alpha1.QueueBinding) {
	return func(b *v1alpha1.QueueBinding) { b.Spec.Concurrency.MaxActiveJobs = &n }
}

// onJobSucceeded keeps messages on the queue until their Jobs have succeeded, and hides them for so many seconds.
func onJobSucceeded(visibility int32) func(*v1alpha1.QueueBinding) {
	return func(b *v1alpha1.QueueBinding) {
		b.Spec.Acknowledge = v1alpha1.AcknowledgeOnJobSucceeded
		b.Spec.Queue.VisibilityTimeoutSeconds = &visibility
	}
}

// send sends messages whose Jobs take so many seconds.
func send(ctx SpecContext, queue *rig.Queue, messages int, seconds float64) {
	GinkgoHelper()
	bodies := make([]string, messages)
	for i := range bodies {
		bodies[i] = rig.Body(i, "127.0.0.1", seconds)
	}
	Expect(queue.SendAll(ctx, bodies)).To(Succeed())
}

// jobs are the Jobs of a binding.
func (w *workspace) jobs(ctx SpecContext, binding *v1alpha1.QueueBinding) []batchv1.Job {
	GinkgoHelper()
	list := &batchv1.JobList{}
	Expect(k8s.List(ctx, list, client.InNamespace(w.namespace), client.MatchingLabels{v1alpha1.LabelBinding: binding.Name})).To(Succeed())
	return list.Items
}

// running reports whether a Job was admitted and has not finished.
func running(of *batchv1.Job) bool {
	return job.Observe(of).State == job.Active && !ptr.Deref(of.Spec.Suspend, false)
}

// waiting reports whether a Job is suspended.
func waiting(of *batchv1.Job) bool {
	return job.Observe(of).State == job.Active && ptr.Deref(of.Spec.Suspend, false)
}

// count is how many Jobs of a binding are in a state, for Eventually.
func (w *workspace) count(ctx SpecContext, binding *v1alpha1.QueueBinding, state func(*batchv1.Job) bool) func() int {
	return func() int {
		n := 0
		for _, each := range w.jobs(ctx, binding) {
			if state(&each) {
				n++
			}
		}
		return n
	}
}

// status reads a binding's status, for Eventually.
func status(ctx SpecContext, binding *v1alpha1.QueueBinding) func() v1alpha1.QueueBindingStatus {
	return func() v1alpha1.QueueBindingStatus {
		current := &v1alpha1.QueueBinding{}
		if err := k8s.Get(ctx, client.ObjectKeyFromObject(binding), current); err != nil {
			return v1alpha1.QueueBindingStatus{}
		}
		return current.Status
	}
}

// condition matches a status by one of its conditions, as `<status> <reason>: <message>`.
func condition(kind string, want OmegaMatcher) OmegaMatcher {
	return WithTransform(func(s v1alpha1.QueueBindingStatus) string {
		c := meta.FindStatusCondition(s.Conditions, kind)
		if c == nil {
			return ""
		}
		return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
	}, want)
}

// counts matches a status by its numbers of active and succeeded Jobs, with none pending and none failed.
func counts(active, succeeded int) OmegaMatcher {
	return WithTransform(func(s v1alpha1.QueueBindingStatus) []int32 {
		return []int32{ptr.Deref(s.ActiveJobs, -1), ptr.Deref(s.PendingJobs, -1), ptr.Deref(s.SucceededJobs, -1), ptr.Deref(s.FailedJobs, -1)}
	}, Equal([]int32{int32(active), 0, int32(succeeded), 0}))
}

// expectOnce expects that all messages of bindings had one Job each, which succeeded at the first attempt, and that no binding
// ever had more Jobs at once than its limit.
func (w *workspace) expectOnce(messages int, bindings ...*v1alpha1.QueueBinding) {
	GinkgoHelper()
	roots := map[string]bool{}
	jobs := recorded.Jobs(w.namespace)
	for _, each := range jobs {
		roots[each.Root] = true
		Expect(each.Attempt).To(Equal(1), each.Name)
		Expect(each.Failed).To(BeFalse(), each.Name)
	}
	Expect(jobs).To(HaveLen(messages), "Jobs")
	Expect(roots).To(HaveLen(messages), "messages that had a Job")
	for _, binding := range bindings {
		Expect(recorded.Peak(binding.UID)).To(BeNumerically("<=", *binding.Spec.Concurrency.MaxActiveJobs), "active Jobs of "+binding.Name)
	}
	Expect(recorded.Gaps()).To(BeZero())
}

// deleteBackground deletes as `kubectl delete` does.
func deleteBackground(ctx SpecContext, object client.Object) {
	GinkgoHelper()
	Expect(k8s.Delete(ctx, object, client.PropagationPolicy(metav1.DeletePropagationBackground))).To(Succeed())
}

// visible is how many messages of a queue are visible, and how many are hidden, for Eventually.
func visible(ctx SpecContext, queue *rig.Queue) func() []int {
	return func() []int {
		visible, hidden, err := queue.Visible(ctx)
		if err != nil {
			return nil
		}
		return []int{visible, hidden}
	}
}
