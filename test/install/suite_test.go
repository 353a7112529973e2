// Package install_test tests an installation of config/default with config/tenancy as its administrators and tenants meet it, with
// the operator and the server of the requeue subresource as Pods of a real node: a tenant's walk, and uninstalling. What needs no
// Pods is in test/tenants.
package install_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/queuebinding/queuebinding/test/testenv"
	"github.com/queuebinding/queuebinding/test/walk"
)

const (
	system     = "queuebinding-system"
	apiService = "v1alpha1.subresources.queuebinding.dev"
	patience   = 2 * time.Minute // for a busy machine; nothing asserts a speed
)

var environment *testenv.Environment

func TestInstallation(t *testing.T) {
	err := testenv.NeedContainers()
	if impossible := testenv.NoContainersError(""); errors.As(err, &impossible) {
		t.Skip("nothing was tested: " + err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(200 * time.Millisecond)
	SetDefaultConsistentlyDuration(2 * time.Second)
	RunSpecs(t, "An installation, on a real node")
}

var _ = BeforeSuite(func() {
	var err error
	environment, err = testenv.Start(testenv.Options{RealNode: true, Log: GinkgoWriter})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return environment.Stop() })
})

// What our Pods logged is shown with what failed.
var _ = ReportAfterEach(func(report SpecReport) {
	if report.Failed() && environment != nil {
		output, _ := kubectlCommand("logs", "-n", system, "-l", "control-plane", "--tail=60", "--prefix").CombinedOutput()
		AddReportEntry("logs", string(output))
		output, _ = kubectlCommand("get", "pods,jobs,apiservices,namespaces", "-A").CombinedOutput()
		AddReportEntry("cluster", string(output))
	}
})

func kubectlCommand(args ...string) *exec.Cmd {
	return environment.Command(context.Background(), "kubectl", args...)
}

// kubectl runs a command that is to succeed, and returns what it printed.
func kubectl(args ...string) string {
	GinkgoHelper()
	output, err := kubectlCommand(args...).CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "kubectl "+strings.Join(args, " ")+": "+string(output))
	return string(output)
}

// uninstall deletes what was applied, as people do.
func uninstall() {
	GinkgoHelper()
	file := filepath.Join(GinkgoT().TempDir(), "install.yaml")
	root, err := testenv.Root()
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(file, []byte(kubectl("kustomize", filepath.Join(root, testenv.Tenancy))), 0o600)).To(Succeed())
	kubectl("delete", "--ignore-not-found", "--timeout=3m", "-f", file)
	Eventually(left).Should(BeEmpty())
}

// left are the objects of an installation that are there outside its namespace, and those of its namespace.
func left() string {
	GinkgoHelper()
	names := kubectl("get", "namespaces,apiservices,customresourcedefinitions,validatingadmissionpolicies,validatingadmissionpolicybindings,clusterroles,clusterrolebindings", "-o", "name")
	var ours []string
	for name := range strings.FieldsSeq(names) {
		if strings.Contains(name, "queuebinding") || strings.Contains(name, "/tenancy") {
			ours = append(ours, name)
		}
	}
	return strings.Join(ours, "\n")
}

var _ = Describe("An installation under tenancy", Ordered, ContinueOnFailure, func() {
	BeforeEach(func() { Expect(environment.DeployOperator(testenv.Tenancy)).To(Succeed()) })

	It("lets a tenant walk from the first message to the end, and do nothing else", func(ctx SpecContext) {
		g := NewGomega(Fail)
		g.SetDefaultEventuallyTimeout(patience)
		walk.AsTenant(ctx, g, walk.Installation{Environment: environment, Namespace: system, Prefix: "queuebinding-"}, "tenant", GinkgoT().TempDir())
	})

	It("is gone whole, its namespace first, with the operator scaled to 0: Pods that end take the APIService along", func() {
		kubectl("scale", "-n", system, "deployment/queuebinding-controller-manager", "--replicas=0")
		kubectl("create", "namespace", "other")
		kubectl("delete", "namespace", "other", "--timeout=3m")
		// The namespace alone, so that nothing but our own Pods can delete the APIService.
		kubectl("delete", "namespace", system, "--timeout=3m")
		Expect(left()).NotTo(ContainSubstring(apiService))
		uninstall()
	})

	It("with the server scaled to 0 keeps namespaces from going, and says so, until the APIService is deleted or the server is back", func() {
		reason := func() string {
			return kubectl("get", "apiservice", apiService, "-o", `jsonpath={.status.conditions[?(@.type=="Available")].status} {.status.conditions[?(@.type=="Available")].reason}`)
		}
		stuck := func(namespace string) string {
			return kubectl("get", "--ignore-not-found", "namespace", namespace, "-o", `jsonpath={.status.conditions[?(@.type=="NamespaceDeletionDiscoveryFailure")].message}`)
		}
		kubectl("scale", "-n", system, "deployment/queuebinding-apiserver", "--replicas=0")
		Eventually(reason).Should(Equal("False MissingEndpoints"))
		// What the controller of namespaces discovers may be a moment old: the first may still go.
		var other string
		tries := 0
		Eventually(func(g Gomega) {
			tries++
			other = fmt.Sprintf("other-%d", tries)
			kubectl("create", "namespace", other)
			kubectl("delete", "namespace", other, "--wait=false")
			g.Eventually(stuck).WithArguments(other).WithTimeout(15 * time.Second).Should(ContainSubstring("subresources.queuebinding.dev/v1alpha1"))
		}).Should(Succeed())

		// As docs/troubleshooting.md has it.
		kubectl("delete", "apiservice", apiService)
		kubectl("wait", "--for=delete", "namespace/"+other, "--timeout=2m")

		By("Not putting it back, whether the server runs or not; only to apply the manifests does")
		kubectl("scale", "-n", system, "deployment/queuebinding-apiserver", "--replicas=2")
		kubectl("rollout", "restart", "-n", system, "deployment/queuebinding-controller-manager")
		kubectl("rollout", "status", "-n", system, "deployment/queuebinding-controller-manager", "--timeout=3m")
		Consistently(left).ShouldNot(ContainSubstring(apiService))
		Expect(environment.DeployOperator(testenv.Tenancy)).To(Succeed())
		Eventually(reason).Should(Equal("True Passed"))
		uninstall()
	})
})
