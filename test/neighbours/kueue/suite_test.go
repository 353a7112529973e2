// Package kueue_test tests bindings whose Jobs Kueue admits: Kueue itself, with its webhooks, beside the built operator, a real
// API server with its controllers, simulated nodes and an SQS emulator.
package kueue_test

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/test/process"
	"github.com/queuebinding/queuebinding/test/recorder"
	"github.com/queuebinding/queuebinding/test/rig"
	"github.com/queuebinding/queuebinding/test/testenv"
)

var (
	cluster  *rig.Cluster
	k8s      client.WithWatch
	recorded *recorder.Recorder
	program  string
	operator *process.Process
)

func TestKueue(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(2 * time.Minute) // patience for a busy machine; nothing asserts a speed
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	SetDefaultConsistentlyDuration(2 * time.Second)
	RunSpecs(t, "Kueue")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	cluster, err = rig.StartCluster(ctx, GinkgoWriter, testenv.Kueue)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return cluster.End(false) })
	k8s = cluster.Client
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	DeferCleanup(func() {
		stop()
		recorded.Wait()
	})
	recorded, err = recorder.Start(watching, k8s)
	Expect(err).NotTo(HaveOccurred())
	program, err = cluster.Build("manager")
	Expect(err).NotTo(HaveOccurred())
	operator = startOperator(program)
	DeferCleanup(func() { operator.Kill() })
})

// A test that failed with the operator stopped takes no other along.
var _ = BeforeEach(func() {
	if operator.Alive() != nil {
		operator = startOperator(program)
	}
})

// What the operator logged is shown with what failed.
var _ = ReportAfterEach(func(report SpecReport) {
	if report.Failed() && operator != nil {
		AddReportEntry("operator's log", operator.LastLines(60))
	}
})

func startOperator(program string) *process.Process {
	GinkgoHelper()
	started, err := cluster.StartOperator(program, cluster.DirectEndpoints("operator"))
	Expect(err).NotTo(HaveOccurred())
	return started
}
