// Package apiserver_test tests the requeue subresource and the kubectl plugin as users meet them: the built operator and the built
// server of the subresource as processes with no more rights than config/default gives each, behind a real API server that the
// latter is registered with.
package apiserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/test/process"
	"github.com/queuebinding/queuebinding/test/rig"
)

const (
	system     = rig.System
	apiService = "v1alpha1.subresources.queuebinding.dev"
)

var (
	cluster *rig.Cluster
	k8s     client.Client
	port    int // where the subresource is served
	// operator does the work, server serves the subresource.
	operator, server *process.Process
)

func TestRequeueAPI(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(time.Minute) // patience for a busy machine; nothing asserts a speed
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	SetDefaultConsistentlyDuration(time.Second)
	RunSpecs(t, "The requeue subresource and the plugin")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	cluster, err = rig.StartEmptyCluster(GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return cluster.End(false) })
	k8s = cluster.Client
	Expect(apiregistrationv1.AddToScheme(k8s.Scheme())).To(Succeed())
	_, err = cluster.Build("manager")
	Expect(err).NotTo(HaveOccurred())
	build := exec.Command("go", "build", "-trimpath", "-o", cluster.Work, "./cmd/kubectl-queuebinding", "./cmd/queuebinding-apiserver")
	build.Dir = cluster.Root
	output, err := build.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))

	port = freePort()
	Expect(cluster.Install(ctx, "config/default", port)).To(Succeed())
	operator, server = startOperator(), startServer()
	DeferCleanup(func() {
		operator.Kill()
		server.Kill()
	})
	Eventually(cluster.SubresourceAvailable).WithArguments(ctx).Should(BeTrue(), logged)
	kubectl(ctx, "create", "clusterrolebinding", "readers", "--clusterrole=queuebinding-viewer-role", "--user=reader")
})

// kubeconfig returns the path of a kubeconfig with a ServiceAccount's rights.
func kubeconfig(account string) string {
	GinkgoHelper()
	path, err := cluster.KubeconfigOf(context.Background(), system, account)
	Expect(err).NotTo(HaveOccurred())
	return path
}

// startOperator starts the operator as the installation does.
func startOperator() *process.Process {
	GinkgoHelper()
	return start("manager", kubeconfig(rig.OperatorAccount), "--namespace="+system)
}

// startServer starts the server of the subresource as the installation does.
func startServer() *process.Process {
	GinkgoHelper()
	return start("queuebinding-apiserver", kubeconfig(rig.ServerAccount), "--namespace="+system, fmt.Sprintf("--bind-address=127.0.0.1:%d", port))
}

func freePort() int {
	GinkgoHelper()
	address, err := rig.FreeAddress()
	Expect(err).NotTo(HaveOccurred())
	return address.Port
}

// What was logged is shown with what failed.
var _ = ReportAfterEach(func(report SpecReport) {
	if report.Failed() && server != nil {
		AddReportEntry("operator's log", operator.LastLines(60))
		AddReportEntry("server's log", logged())
	}
})

// logged returns the end of the server's log.
func logged() string { return server.LastLines(60) }

// start starts a program with the rights of a kubeconfig.
func start(program, kubeconfig string, args ...string) *process.Process {
	GinkgoHelper()
	started, err := cluster.StartOperator(filepath.Join(cluster.Work, program), cluster.DirectEndpoints(program, "KUBECONFIG="+kubeconfig), args...)
	Expect(err).NotTo(HaveOccurred())
	return started
}

// result is what a command said.
type result struct {
	out, err string
	code     int
}

// run runs a program of the cluster.
func run(ctx context.Context, stdin string, name string, args ...string) result {
	GinkgoHelper()
	command := cluster.Command(ctx, name, args...)
	for _, variable := range cluster.Env {
		if path, ok := strings.CutPrefix(variable, "PATH="); ok {
			command.Env = append(command.Env, "PATH="+cluster.Work+":"+path)
		}
	}
	var out, problem bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), &out, &problem
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		Expect(err).NotTo(HaveOccurred())
	}
	return result{out.String(), problem.String(), command.ProcessState.ExitCode()}
}

// kubectl runs a command that is to succeed, and returns its output.
func kubectl(ctx context.Context, args ...string) string {
	GinkgoHelper()
	r := run(ctx, "", "kubectl", args...)
	Expect(r.code).To(BeZero(), r.err)
	return r.out
}

// workspace is a namespace with a binding.
type workspace struct {
	namespace string
	binding   *v1alpha1.QueueBinding
}

// newWorkspace makes a namespace, a queue and a binding named pings, whose Jobs fail where `target` ends in `.invalid`.
func newWorkspace(ctx SpecContext) *workspace {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	Expect(k8s.Create(ctx, namespace)).To(Succeed())
	created := run(ctx, "", "sqs", "create-queue", "--queue-name", namespace.Name)
	Expect(created.code).To(BeZero(), created.err)
	_, url, _ := strings.Cut(created.out, `"QueueUrl": "`)
	url, _, _ = strings.Cut(url, `"`)
	w := &workspace{namespace: namespace.Name, binding: &v1alpha1.QueueBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: "pings"},
		Spec: v1alpha1.QueueBindingSpec{
			Queue:       v1alpha1.Queue{URL: url},
			Concurrency: v1alpha1.Concurrency{MaxActiveJobs: new(int32(100))},
			Message: v1alpha1.Message{Variables: []v1alpha1.Variable{
				{Name: "target", Expression: "message.json.target"},
				{Name: "duration", Expression: "1"},
			}},
			JobTemplate: v1alpha1.JobTemplate{
				Metadata: v1alpha1.JobTemplateMetadata{Labels: map[string]string{"team": "net"}},
				Spec: batchv1.JobSpec{
					BackoffLimit: new(int32(0)),
					Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
						RestartPolicy: corev1.RestartPolicyNever,
						Containers:    []corev1.Container{{Name: "ping", Image: "alpine", Command: []string{"ping", "-w", "$(duration)", "$(target)"}}},
					}},
				},
			},
		},
	}}
	Expect(k8s.Create(ctx, w.binding)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(client.IgnoreNotFound(k8s.Delete(ctx, w.binding))).To(Succeed())
	})
	return w
}

// plugin runs `kubectl queuebinding` in the namespace.
func (w *workspace) plugin(ctx context.Context, args ...string) result {
	GinkgoHelper()
	return run(ctx, "", "kubectl", append([]string{"queuebinding", "-n", w.namespace}, args...)...)
}

// fail sends messages whose Jobs fail, waits until they have, and returns the Jobs' names.
func (w *workspace) fail(ctx SpecContext, count int) []string {
	GinkgoHelper()
	lines := strings.Repeat(`{"target": "this.is.invalid"}`+"\n", count)
	sent := run(ctx, lines, "kubectl", "queuebinding", "-n", w.namespace, "send", "pings", "--stdin-lines")
	Expect(sent).To(Equal(result{out: plural(count) + " sent\n"}))
	Eventually(func() int { return len(w.failed(ctx)) }).Should(Equal(count))
	return w.failed(ctx)
}

func plural(count int) string {
	if count == 1 {
		return "1 message"
	}
	return fmt.Sprintf("%d messages", count)
}

// jobs are the Jobs of the namespace.
func (w *workspace) jobs(ctx context.Context) []batchv1.Job {
	GinkgoHelper()
	list := &batchv1.JobList{}
	Expect(k8s.List(ctx, list, client.InNamespace(w.namespace))).To(Succeed())
	return list.Items
}

// failed are the names of the failed Jobs.
func (w *workspace) failed(ctx context.Context) []string {
	GinkgoHelper()
	var names []string
	for _, each := range w.jobs(ctx) {
		if job.Observe(&each).State == job.Failed {
			names = append(names, each.Name)
		}
	}
	return names
}

// attempts are the attempts of the Jobs that are there, how many of each.
func (w *workspace) attempts(ctx context.Context) map[string]int {
	GinkgoHelper()
	attempts := map[string]int{}
	for _, job := range w.jobs(ctx) {
		attempts[job.Annotations[v1alpha1.AnnotationAttempt]]++
	}
	return attempts
}

// asked is the binding's annotation.
func (w *workspace) asked(ctx context.Context) string {
	GinkgoHelper()
	current := &v1alpha1.QueueBinding{}
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(w.binding), current)).To(Succeed())
	return current.Annotations[v1alpha1.AnnotationRequeue]
}
