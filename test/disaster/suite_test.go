// Package disaster_test tries what docs/operations.md says of disasters: a real API server and its etcd, the controllers, an
// SQS emulator and the operator's program, of which one is lost, put back older than it was, or emptied by mistake.
package disaster_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/process"
	"github.com/queuebinding/queuebinding/test/rig"
)

// home is the operator's namespace.
const home = "queuebinding-system"

var (
	cluster  *rig.Cluster
	k8s      client.WithWatch
	program  string
	operator *process.Process
)

func TestDisasters(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(90 * time.Second) // patience for a busy machine; nothing asserts a speed
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	RunSpecs(t, "Disasters")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	cluster, err = rig.StartCluster(ctx, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return cluster.End(false) })
	k8s = cluster.Client
	program, err = cluster.Build("manager")
	Expect(err).NotTo(HaveOccurred())
	Expect(cluster.CreateNamespace(ctx, home)).To(Succeed())
	operator = startOperator(cluster, "operator")
	DeferCleanup(func() { operator.Kill() })
})

// A test that failed with the operator stopped takes no other along.
var _ = BeforeEach(func() {
	if operator.Alive() != nil {
		operator = startOperator(cluster, "operator")
	}
})

// What the operator logged is shown with what failed.
var _ = ReportAfterEach(func(report SpecReport) {
	if report.Failed() && operator != nil {
		AddReportEntry("operator's log", operator.LastLines(60))
	}
})

func startOperator(in *rig.Cluster, name string, env ...string) *process.Process {
	GinkgoHelper()
	started, err := in.StartOperator(program, in.DirectEndpoints(name, env...), "--namespace="+home)
	Expect(err).NotTo(HaveOccurred())
	return started
}

// place is a namespace with a binding and its queue.
type place struct {
	k8s     client.Client
	queue   *rig.Queue
	binding *v1alpha1.QueueBinding
}

var serial atomic.Int64

func newPlace(ctx SpecContext, change ...func(*v1alpha1.QueueBinding)) *place {
	GinkgoHelper()
	name := fmt.Sprintf("disaster-%d", serial.Add(1))
	queue, err := cluster.CreateQueue(ctx, name, "", 0)
	Expect(err).NotTo(HaveOccurred())
	return newPlaceOn(ctx, cluster, queue, change...)
}

func newPlaceOn(ctx SpecContext, in *rig.Cluster, queue *rig.Queue, change ...func(*v1alpha1.QueueBinding)) *place {
	GinkgoHelper()
	Expect(in.CreateNamespace(ctx, queue.Name)).To(Succeed())
	p := &place{k8s: in.Client, queue: queue, binding: rig.Binding(queue.Name, "pings", queue.URL)}
	for _, c := range change {
		c(p.binding)
	}
	Expect(p.k8s.Create(ctx, p.binding)).To(Succeed())
	return p
}

func onJobSucceeded(b *v1alpha1.QueueBinding) {
	b.Spec.Acknowledge = v1alpha1.AcknowledgeOnJobSucceeded
	b.Spec.Queue.VisibilityTimeoutSeconds = new(int32(6))
}

// send sends a message, numbered, whose Job takes some seconds, and fails where the target ends in `.invalid`.
func (p *place) send(ctx SpecContext, number int, target string, seconds float64) {
	GinkgoHelper()
	_, err := p.queue.Send(ctx, rig.Body(number, target, seconds))
	Expect(err).NotTo(HaveOccurred())
}

// status reads the binding's status, for Eventually.
func (p *place) status(ctx SpecContext) v1alpha1.QueueBindingStatus {
	current := &v1alpha1.QueueBinding{}
	if err := p.k8s.Get(ctx, client.ObjectKeyFromObject(p.binding), current); err != nil {
		return v1alpha1.QueueBindingStatus{}
	}
	return current.Status
}

// jobs are the Jobs of the place.
func (p *place) jobs(ctx SpecContext) []batchv1.Job {
	list := &batchv1.JobList{}
	if err := p.k8s.List(ctx, list, client.InNamespace(p.queue.Name)); err != nil {
		return nil
	}
	return list.Items
}

// attempts are the attempts that the Jobs are.
func (p *place) attempts(ctx SpecContext) []string {
	var all []string
	for _, job := range p.jobs(ctx) {
		all = append(all, job.Annotations[v1alpha1.AnnotationAttempt])
	}
	return all
}

// uids are the UIDs of the Jobs.
func (p *place) uids(ctx SpecContext) []string {
	var all []string
	for _, job := range p.jobs(ctx) {
		all = append(all, string(job.UID))
	}
	return all
}

// held says how far the queue is from holding some messages, visible or not.
func (p *place) held(ctx SpecContext, want int) func() string {
	return func() string { return p.queue.Holds(ctx, want) }
}

// edit changes the binding, again where the operator does too.
func (p *place) edit(ctx SpecContext, change func(*v1alpha1.QueueBinding)) {
	GinkgoHelper()
	Eventually(func() error {
		if err := p.k8s.Get(ctx, client.ObjectKeyFromObject(p.binding), p.binding); err != nil {
			return err
		}
		before := p.binding.DeepCopy()
		change(p.binding)
		return p.k8s.Patch(ctx, p.binding, client.MergeFrom(before))
	}).Should(Succeed())
}

func (p *place) suspend(ctx SpecContext, suspend bool) {
	GinkgoHelper()
	p.edit(ctx, func(b *v1alpha1.QueueBinding) { b.Spec.Suspend = suspend })
	if suspend {
		Eventually(p.status).WithArguments(ctx).Should(ready("True Suspended"))
	}
}

func (p *place) requeueAll(ctx SpecContext) {
	GinkgoHelper()
	p.edit(ctx, func(b *v1alpha1.QueueBinding) {
		b.Annotations = map[string]string{v1alpha1.AnnotationRequeue: "all"}
	})
}

// ready matches a status by its condition Ready, as `<status> <reason>`.
func ready(want string) OmegaMatcher {
	return WithTransform(func(s v1alpha1.QueueBindingStatus) string {
		for _, c := range s.Conditions {
			if c.Type == v1alpha1.ConditionReady {
				return string(c.Status) + " " + c.Reason
			}
		}
		return ""
	}, Equal(want))
}

// counts matches a status by its numbers of active, succeeded, failed and requeued Jobs.
func counts(active, succeeded, failed, requeued int32) OmegaMatcher {
	return WithTransform(func(s v1alpha1.QueueBindingStatus) []int32 {
		return []int32{ptr.Deref(s.ActiveJobs, -1), ptr.Deref(s.SucceededJobs, -1), ptr.Deref(s.FailedJobs, -1), ptr.Deref(s.RequeuedJobs, -1)}
	}, Equal([]int32{active, succeeded, failed, requeued}))
}
