// Package karpenter_test tests the operator beside Karpenter: nodes come for the Jobs of a binding and go after them, and
// no work is lost to their going. Karpenter's controllers are real; its machines and the Pods on them are simulated.
//
// The binding and the NodePool are those of config/samples, which docs/cluster-autoscaling.md explains.
package karpenter_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/process"
	"github.com/queuebinding/queuebinding/test/recorder"
	"github.com/queuebinding/queuebinding/test/rig"
	"github.com/queuebinding/queuebinding/test/testenv"
)

var (
	cluster  *rig.Cluster
	k8s      client.WithWatch
	operator *process.Process
	jobs     *recorder.Recorder
)

func TestKarpenter(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(2 * time.Minute) // patience for a busy machine; nothing asserts a speed
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	RunSpecs(t, "The operator beside Karpenter")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	cluster, err = rig.StartCluster(ctx, GinkgoWriter, testenv.Karpenter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return cluster.End(false) })
	k8s = cluster.Client
	during, stop := recording()
	jobs, err = recorder.Start(during, k8s)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { stop(); jobs.Wait() })

	program, err := cluster.Build("manager")
	Expect(err).NotTo(HaveOccurred())
	operator, err = cluster.StartOperator(program, cluster.DirectEndpoints("operator"))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { operator.Kill() })

	class := object("karpenter.kwok.sh/v1alpha1", "KWOKNodeClass", "default")
	Expect(k8s.Create(ctx, class)).To(Succeed())
	Expect(k8s.Create(ctx, samplePool())).To(Succeed())
})

// recording is the life of a recorder, which outlives the node of the suite that starts it.
func recording() (context.Context, context.CancelFunc) {
	return context.WithCancel(context.Background())
}

// What the two logged is shown with what failed.
var _ = ReportAfterEach(func(report SpecReport) {
	if !report.Failed() || operator == nil {
		return
	}
	AddReportEntry("operator's log", operator.LastLines(40))
	if said, err := os.ReadFile(filepath.Join(cluster.Dir, "logs", "karpenter.log")); err == nil {
		AddReportEntry("Karpenter's log", string(said[max(0, len(said)-8000):]))
	}
})

// poolLabel is the label of the sample's nodes.
const poolLabel = "example.com/pool"

// samplePool is the sample's NodePool, for the environment's cloud instead of AWS: with machines of the same size, which
// kwok plays, and with less patience.
func samplePool() *unstructured.Unstructured {
	GinkgoHelper()
	pool := &unstructured.Unstructured{}
	Expect(yaml.Unmarshal(sampleFile("karpenter.yaml"), &pool.Object)).To(Succeed())
	set := func(value any, path ...string) {
		GinkgoHelper()
		_, found, err := unstructured.NestedFieldNoCopy(pool.Object, path...)
		Expect(err).NotTo(HaveOccurred())
		Expect(found).To(BeTrue(), "%v", path)
		Expect(unstructured.SetNestedField(pool.Object, value, path...)).To(Succeed())
	}
	set(map[string]any{"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"}, "spec", "template", "spec", "nodeClassRef")
	// As a t3.medium: 2 CPUs and 4 GiB.
	set([]any{map[string]any{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": []any{"c-2x-amd64-linux"}}},
		"spec", "template", "spec", "requirements")
	set("5s", "spec", "disruption", "consolidateAfter")
	labels, _, err := unstructured.NestedStringMap(pool.Object, "spec", "template", "metadata", "labels")
	Expect(err).NotTo(HaveOccurred())
	Expect(labels).To(HaveKey(poolLabel))
	labels["devenv.queuebinding.dev/simulated"] = "true"
	Expect(unstructured.SetNestedStringMap(pool.Object, labels, "spec", "template", "metadata", "labels")).To(Succeed())
	return pool
}

func sampleFile(name string) []byte {
	GinkgoHelper()
	data, err := os.ReadFile(filepath.Join(cluster.Root, "config", "samples", name))
	Expect(err).NotTo(HaveOccurred())
	return data
}

// object is an object of a kind that has no Go type here.
func object(apiVersion, kind, name string) *unstructured.Unstructured {
	made := &unstructured.Unstructured{}
	made.SetAPIVersion(apiVersion)
	made.SetKind(kind)
	made.SetName(name)
	return made
}

var serial atomic.Int64

// workspace is a namespace and a queue for one test.
type workspace struct {
	namespace string
	queue     *rig.Queue
}

func newWorkspace(ctx SpecContext) *workspace {
	GinkgoHelper()
	name := fmt.Sprintf("batch-%d", serial.Add(1))
	Expect(cluster.CreateNamespace(ctx, name)).To(Succeed())
	queue, err := cluster.CreateQueue(ctx, name, "", 0)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func(ctx SpecContext) {
		Expect(k8s.DeleteAllOf(ctx, &v1alpha1.QueueBinding{}, client.InNamespace(name))).To(Succeed())
	})
	return &workspace{namespace: name, queue: queue}
}

// bind creates the sample's binding for the workspace's queue, changed by change.
func (w *workspace) bind(ctx SpecContext, change ...func(*v1alpha1.QueueBinding)) {
	GinkgoHelper()
	binding := &v1alpha1.QueueBinding{}
	Expect(yaml.UnmarshalStrict(sampleFile("autoscaled.yaml"), binding)).To(Succeed())
	binding.Namespace, binding.Spec.Queue.URL = w.namespace, w.queue.URL
	for _, c := range change {
		c(binding)
	}
	Expect(k8s.Create(ctx, binding)).To(Succeed())
}

// send sends messages whose Jobs take some seconds, in batches.
func (w *workspace) send(ctx SpecContext, count, seconds int) {
	GinkgoHelper()
	bodies := make([]string, count)
	for i := range bodies {
		bodies[i] = fmt.Sprintf(`{"target": "127.0.0.1", "duration": "%d"}`, seconds)
	}
	Expect(w.queue.SendAll(ctx, bodies)).To(Succeed())
}

// succeeded counts the namespace's complete Jobs.
func (w *workspace) succeeded() int {
	count := 0
	for _, job := range jobs.Jobs(w.namespace) {
		if job.Succeeded() {
			count++
		}
	}
	return count
}

// expectOneJobEach expects that there was one Job for each of so many messages, at the first attempt, and that nothing was
// missed of it.
func (w *workspace) expectOneJobEach(ctx SpecContext, messages int) {
	GinkgoHelper()
	roots := map[string]bool{}
	for _, job := range jobs.Jobs(w.namespace) {
		Expect(job.Attempt).To(Equal(1), job.Name)
		Expect(roots).NotTo(HaveKey(job.Root), job.Name)
		roots[job.Root] = true
	}
	Expect(roots).To(HaveLen(messages))
	Expect(jobs.Gaps()).To(BeZero())
	Eventually(w.queue.Holds).WithArguments(ctx, 0).Should(BeEmpty())
}

// poolNodes are the names of the sample's nodes.
func poolNodes(ctx SpecContext) []string {
	GinkgoHelper()
	nodes := &metav1.PartialObjectMetadataList{}
	nodes.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("NodeList"))
	nodes.APIVersion = "v1"
	Expect(k8s.List(ctx, nodes, client.HasLabels{poolLabel})).To(Succeed())
	var names []string
	for _, node := range nodes.Items {
		names = append(names, node.Name)
	}
	return names
}
