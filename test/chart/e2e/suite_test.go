// Package e2e_test installs the Helm chart as users do, on a real node, and sees what becomes of work while it is upgraded, rolled
// back, uninstalled and installed again. What the operator does by itself is test/e2e's.
package e2e_test

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

	"github.com/queuebinding/queuebinding/test/rig"
	"github.com/queuebinding/queuebinding/test/testenv"
)

var (
	cluster *rig.Cluster
	// podEnv leads Pods to the queue.
	podEnv []string
)

func TestChart(t *testing.T) {
	// Said here and not by Ginkgo, so that `go test -v` names the reason.
	err := testenv.NeedContainers()
	if impossible := testenv.NoContainersError(""); errors.As(err, &impossible) {
		t.Skip("nothing was tested: " + err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(2 * time.Minute) // patience for a busy machine; nothing asserts a speed
	SetDefaultEventuallyPollingInterval(200 * time.Millisecond)
	RunSpecs(t, "The Helm chart")
}

var _ = BeforeSuite(func() {
	root, err := testenv.Root()
	Expect(err).NotTo(HaveOccurred())
	build := exec.Command("make", "--no-print-directory", "bin/tools/helm")
	build.Dir = root
	output, err := build.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))

	environment, err := testenv.Start(testenv.Options{RealNode: true, Log: GinkgoWriter})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return environment.Stop() })
	Expect(environment.LoadOperator(root, testenv.OperatorImage)).To(Succeed())
	cluster = &rig.Cluster{Environment: environment, Root: root}
	for _, variable := range environment.Env {
		name, value, _ := strings.Cut(variable, "=")
		switch name {
		case "DEVENV_POD_SQS_ENDPOINT":
			podEnv = append(podEnv, "AWS_ENDPOINT_URL_SQS="+value)
		case "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY":
			podEnv = append(podEnv, variable)
		}
	}
	Expect(podEnv).To(HaveLen(4))
})

// What the operator logged is shown with what failed.
var _ = ReportAfterEach(func(report SpecReport) {
	if report.Failed() && cluster != nil {
		output, _ := command("kubectl", "logs", "-n", system, "-l", "control-plane", "--tail=60", "--prefix").CombinedOutput()
		AddReportEntry("operators' logs", string(output))
		output, _ = command("kubectl", "get", "pods,jobs,queuebindings,events", "-A").CombinedOutput()
		AddReportEntry("cluster", string(output))
	}
})

// command is one of a program that finds the cluster.
func command(name string, args ...string) *exec.Cmd {
	cmd := cluster.Command(context.Background(), name, args...)
	cmd.Dir = cluster.Root
	return cmd
}

// succeed runs a command that is to succeed, and returns what it printed.
func succeed(cmd *exec.Cmd) string {
	GinkgoHelper()
	var problem strings.Builder
	cmd.Stderr = &problem
	output, err := cmd.Output()
	Expect(err).NotTo(HaveOccurred(), fmt.Sprintf("%s\n%s%s", strings.Join(cmd.Args, " "), output, problem.String()))
	return string(output)
}

// kubectl runs a command that is to succeed, and returns what it printed.
func kubectl(args ...string) string {
	GinkgoHelper()
	return succeed(command("kubectl", args...))
}

// apply applies manifests on the server.
func apply(manifests string, args ...string) {
	GinkgoHelper()
	cmd := command("kubectl", append([]string{"apply", "--server-side", "-f", "-"}, args...)...)
	cmd.Stdin = strings.NewReader(manifests)
	succeed(cmd)
}

// helmCommand is one of Helm's, with values in YAML; those of the suite's image and queue are there anyway.
func helmCommand(values string, args ...string) *exec.Cmd {
	file := filepath.Join(GinkgoT().TempDir(), "values.yaml")
	text := "image: {repository: queuebinding, tag: dev, pullPolicy: Never}\noperator:\n  env:\n"
	for _, variable := range podEnv {
		name, value, _ := strings.Cut(variable, "=")
		text += fmt.Sprintf("  - {name: %s, value: %q}\n", name, value)
	}
	Expect(os.WriteFile(file, []byte(text), 0o600)).To(Succeed())
	cmd := command(filepath.Join(cluster.Root, "bin", "tools", "helm"), append(args, "--values="+file, "--values=-")...)
	cmd.Stdin = strings.NewReader(values)
	home := GinkgoT().TempDir()
	cmd.Env = append(cmd.Env, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	return cmd
}

// helm runs a command that is to succeed, and returns what it printed.
func helm(values string, args ...string) string {
	GinkgoHelper()
	return succeed(helmCommand(values, args...))
}
