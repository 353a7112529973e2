// Package e2e_test tests what only containers show: what they see of a message, byte for byte, how they end, and that the
// operator works as people install it, as Pods with the rights that its manifests give and no others. Everything runs on
// a real node, which needs root; see hack/devenv/README.md.
package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/testenv"
)

// Where config/default puts the operator, and the server of the requeue subresource.
const (
	system        = "queuebinding-system"
	account       = "queuebinding-controller-manager"
	serverAccount = "queuebinding-apiserver"
	deployment    = "queuebinding-controller-manager"
)

var (
	environment *testenv.Environment
	k8s         client.Client
	pods        kubernetes.Interface // for logs, which the other client does not know
)

func TestContainers(t *testing.T) {
	// Said here and not by Ginkgo, so that `go test -v` and `make e2e` name the reason.
	err := testenv.NeedContainers()
	if impossible := testenv.NoContainersError(""); errors.As(err, &impossible) {
		t.Skip("nothing was tested: " + err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	RegisterFailHandler(Fail)
	log.SetLogger(GinkgoLogr)
	SetDefaultEventuallyTimeout(2 * time.Minute) // patience for a busy machine; nothing asserts a speed
	SetDefaultEventuallyPollingInterval(200 * time.Millisecond)
	SetDefaultConsistentlyDuration(2 * time.Second)
	RunSpecs(t, "Containers, and the operator in one")
}

var _ = BeforeSuite(func() {
	var err error
	environment, err = testenv.Start(testenv.Options{RealNode: true, Log: GinkgoWriter})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return environment.Stop() })
	Expect(environment.DeployOperator(testenv.Default)).To(Succeed())
	scheme := runtime.NewScheme()
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	k8s, err = client.New(environment.Config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	pods, err = kubernetes.NewForConfig(environment.Config)
	Expect(err).NotTo(HaveOccurred())
})

// What the operator logged is shown with what failed.
var _ = ReportAfterEach(func(report SpecReport) {
	if report.Failed() && pods != nil {
		output, _ := kubectlCommand("logs", "-n", system, "-l", "control-plane", "--tail=60", "--prefix").CombinedOutput()
		AddReportEntry("operators' logs", string(output))
		output, _ = kubectlCommand("get", "pods,jobs", "-A").CombinedOutput()
		AddReportEntry("cluster", string(output))
	}
})

func kubectlCommand(args ...string) *exec.Cmd {
	return environment.Command(context.Background(), "kubectl", args...)
}

// kubectl runs a command that is to succeed, and returns what it printed.
func kubectl(args ...string) string {
	GinkgoHelper()
	cmd := kubectlCommand(args...)
	var problem strings.Builder
	cmd.Stderr = &problem
	output, err := cmd.Output()
	Expect(err).NotTo(HaveOccurred(), fmt.Sprintf("kubectl %s: %s", strings.Join(args, " "), problem.String()))
	return string(output)
}
