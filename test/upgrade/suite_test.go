// Package upgrade_test takes work of all kinds from one version of the operator to another and back, as an admin does: the manifests of
// both applied by kubectl to a real API server, and their built programs as processes with the rights that those give. Pods are simulated,
// and end when a test says so.
package upgrade_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/process"
	"github.com/queuebinding/queuebinding/test/recorder"
	"github.com/queuebinding/queuebinding/test/rig"
)

const (
	system     = "queuebinding-system"
	apiService = "v1alpha1.subresources.queuebinding.dev"
)

var (
	cluster *rig.Cluster
	k8s     client.WithWatch
	// released is version 0.1.0, head this one.
	released, head *version
	// installed is what runs.
	installed *installation
	seen      *recorder.Recorder
	// processes are all that were started.
	processes []*process.Process
)

func TestUpgrade(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(2 * time.Minute) // patience for a busy machine; nothing asserts a speed
	EnforceDefaultTimeoutsWhenUsingContexts()    // which would else wait for the end of the context
	SetDefaultEventuallyPollingInterval(200 * time.Millisecond)
	SetDefaultConsistentlyDuration(2 * time.Second)
	SetDefaultConsistentlyPollingInterval(200 * time.Millisecond)
	RunSpecs(t, "Upgrade and downgrade")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	cluster, err = rig.StartEmptyCluster(GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return cluster.End(os.Getenv("TESTENV_KEEP") != "") })
	k8s = cluster.Client
	Expect(apiregistrationv1.AddToScheme(k8s.Scheme())).To(Succeed())

	files := filepath.Join(cluster.Work, "files-of-v0.1.0")
	Expect(rig.Checkout(cluster.Root, rig.Released, files)).To(Succeed())
	released = newVersion(ctx, "v0.1.0", files, true)
	head = newVersion(ctx, "head", cluster.Root, false)

	apply(ctx, released.manifests)
	Eventually(func() error { return k8s.List(ctx, &v1alpha1.QueueBindingList{}) }).Should(Succeed())
	kubectl(ctx, "create", "rolebinding", "editor", "-n", "default", "--clusterrole=edit", "--user=editor")
	recording, cancel := context.WithCancel(context.Background())
	seen, err = recorder.Start(recording, k8s)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() {
		cancel()
		seen.Wait()
	})
	DeferCleanup(func() {
		for _, each := range processes {
			each.Kill()
		}
	})
	installed = released.start(ctx, true)
	Eventually(cluster.SubresourceAvailable).WithContext(ctx).Should(BeTrue())
})

// What was logged is shown with what failed.
var _ = ReportAfterEach(func(report SpecReport) {
	if report.Failed() && installed != nil {
		for _, each := range installed.all() {
			AddReportEntry(each.Log, each.LastLines(40))
		}
	}
})

var _ = AfterSuite(func() {
	if installed == nil {
		return // it did not get as far
	}
	Expect(seen.Gaps()).To(BeZero(), "Jobs may have gone unseen")
})

// terminated ends an operator as a rollout does.
func terminated(ctx context.Context, operator *process.Process) {
	GinkgoHelper()
	Expect(operator.Terminate(ctx)).To(Succeed(), operator.Log)
}

// killed ends an operator as a node that fails does.
func killed(_ context.Context, operator *process.Process) {
	GinkgoHelper()
	Expect(operator.Signal(syscall.SIGKILL)).To(Succeed())
	<-operator.Ended()
}

// gone deletes the namespaces of all work, and waits until they are gone: they stay while an aggregated API does not answer.
func gone(ctx context.Context, all []*place) {
	GinkgoHelper()
	for _, p := range all {
		Expect(k8s.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.namespace}})).To(Succeed())
	}
	for _, p := range all {
		Eventually(func() error {
			return k8s.Get(ctx, client.ObjectKey{Name: p.namespace}, &corev1.Namespace{})
		}).WithContext(ctx).Should(MatchError(ContainSubstring("not found")))
	}
}
