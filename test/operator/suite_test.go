// Package operator_test tests the operator as users run it: the built program as a process of its own, against a real
// API server with its controllers, simulated nodes, and an SQS emulator behind a proxy that can break.
package operator_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/process"
	"github.com/queuebinding/queuebinding/test/rig"
)

var (
	cluster  *rig.Cluster
	k8s      client.WithWatch
	program  string
	operator *process.Process
)

func TestOperator(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(time.Minute) // patience for a busy machine; nothing asserts a speed
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	SetDefaultConsistentlyDuration(2 * time.Second)
	RunSpecs(t, "The operator")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	cluster, err = rig.StartCluster(ctx, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return cluster.End(false) })
	k8s = cluster.Client
	program, err = cluster.Build("manager")
	Expect(err).NotTo(HaveOccurred())

	operator = startOperator()
	DeferCleanup(func() { operator.Kill() })
})

// A test that failed with the operator stopped takes no other along.
var _ = BeforeEach(func() {
	if operator.Alive() != nil {
		operator = startOperator()
	}
})

// What the operator logged is shown with what failed.
var _ = ReportAfterEach(func(report SpecReport) {
	if report.Failed() && operator != nil {
		AddReportEntry("operator's log", operator.LastLines(60))
	}
})

func startOperator(args ...string) *process.Process {
	GinkgoHelper()
	started, err := cluster.StartOperator(program, cluster.DirectEndpoints("operator"), args...)
	Expect(err).NotTo(HaveOccurred())
	return started
}

var serial atomic.Int64

// workspace is a namespace and a queue for one test.
type workspace struct {
	namespace string
	queue     *queue
	// since is the resourceVersion from which a watch shows all that happens in the namespace.
	since string
}

func newWorkspace(ctx SpecContext, attributes ...string) *workspace {
	GinkgoHelper()
	name := fmt.Sprintf("test-%d", serial.Add(1))
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	Expect(k8s.Create(ctx, namespace)).To(Succeed())
	w := &workspace{namespace: name, queue: createQueue(ctx, name, attributes...), since: namespace.ResourceVersion}
	DeferCleanup(func(ctx SpecContext) {
		Expect(k8s.DeleteAllOf(ctx, &v1alpha1.QueueBinding{}, client.InNamespace(name))).To(Succeed())
	})
	return w
}

// binding is a binding whose Jobs take `duration` seconds, one if there is none, and fail where `target` ends in
// `.invalid`; changed by change and created.
func (w *workspace) binding(ctx SpecContext, change ...func(*v1alpha1.QueueBinding)) *v1alpha1.QueueBinding {
	GinkgoHelper()
	binding := &v1alpha1.QueueBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "pings"},
		Spec: v1alpha1.QueueBindingSpec{
			Queue: v1alpha1.Queue{URL: w.queue.url},
			Message: v1alpha1.Message{Variables: []v1alpha1.Variable{
				{Name: "target", Expression: "message.json.target"},
				{Name: "duration", Expression: "message.json.?duration.orValue(1)"},
			}},
			JobTemplate: v1alpha1.JobTemplate{Spec: batchv1.JobSpec{
				BackoffLimit: new(int32(0)),
				Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
					RestartPolicy: corev1.RestartPolicyNever,
					Containers:    []corev1.Container{{Name: "ping", Image: "alpine", Command: []string{"ping", "-w", "$(duration)", "$(target)"}}},
				}},
			}},
		},
	}
	for _, c := range change {
		c(binding)
	}
	Expect(k8s.Create(ctx, binding)).To(Succeed())
	return binding
}

// send sends messages for targets.
func (w *workspace) send(ctx SpecContext, targets ...string) {
	GinkgoHelper()
	for _, target := range targets {
		w.queue.send(ctx, fmt.Sprintf(`{"target": %q}`, target))
	}
}

// jobs are the Jobs of the namespace.
func (w *workspace) jobs(ctx SpecContext) []batchv1.Job {
	GinkgoHelper()
	list := &batchv1.JobList{}
	Expect(k8s.List(ctx, list, client.InNamespace(w.namespace))).To(Succeed())
	return list.Items
}

// bodies are the messages of the namespace's Jobs.
func (w *workspace) bodies(ctx SpecContext) []string {
	GinkgoHelper()
	var bodies []string
	for _, job := range w.jobs(ctx) {
		bodies = append(bodies, job.Spec.Template.Annotations[v1alpha1.AnnotationBody])
	}
	return bodies
}

// edit changes a binding, again where somebody else does too.
func edit(ctx SpecContext, binding *v1alpha1.QueueBinding, change func(*v1alpha1.QueueBinding)) {
	GinkgoHelper()
	Eventually(func() error {
		if err := k8s.Get(ctx, client.ObjectKeyFromObject(binding), binding); err != nil {
			return err
		}
		before := binding.DeepCopy()
		change(binding)
		return k8s.Patch(ctx, binding, client.MergeFrom(before))
	}).Should(Succeed())
}

func annotate(ctx SpecContext, binding *v1alpha1.QueueBinding, requeue string) {
	GinkgoHelper()
	edit(ctx, binding, func(b *v1alpha1.QueueBinding) {
		b.Annotations = map[string]string{v1alpha1.AnnotationRequeue: requeue}
	})
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

// condition matches a status by one of its conditions, as `<status> <reason>`.
func condition(kind string, want OmegaMatcher) OmegaMatcher {
	return WithTransform(func(s v1alpha1.QueueBindingStatus) string {
		for _, c := range s.Conditions {
			if c.Type == kind {
				return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
			}
		}
		return ""
	}, want)
}

func ready(want OmegaMatcher) OmegaMatcher { return condition(v1alpha1.ConditionReady, want) }

// counts matches a status by its numbers of active, succeeded, failed and requeued Jobs.
func counts(active, succeeded, failed, requeued int) OmegaMatcher {
	return WithTransform(func(s v1alpha1.QueueBindingStatus) []int32 {
		return []int32{ptr.Deref(s.ActiveJobs, -1), ptr.Deref(s.SucceededJobs, -1), ptr.Deref(s.FailedJobs, -1), ptr.Deref(s.RequeuedJobs, -1)}
	}, Equal([]int32{int32(active), int32(succeeded), int32(failed), int32(requeued)}))
}
