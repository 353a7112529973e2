package upgrade_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/test/testenv"
)

// podOverlay makes of config/default what an admin applies, with an image and the way to the emulator.
const podOverlay = `
resources: [%s]
images: [{name: controller, newName: queuebinding, newTag: %s}]
patches:
- target: {kind: Deployment, name: queuebinding-controller-manager}
  patch: '[{"op": "add", "path": "/spec/template/spec/containers/0/envFrom", "value": [{"secretRef": {"name": "queue"}}]}]'
`

// podBinding has Jobs that do what their message says.
const podBinding = `
apiVersion: queuebinding.dev/v1alpha1
kind: QueueBinding
metadata: {name: work, namespace: work}
spec:
  queue: {url: %q}
  message: {variables: [{name: script, expression: message.body}]}
  jobTemplate:
    spec:
      backoffLimit: 0
      template:
        spec:
          restartPolicy: Never
          terminationGracePeriodSeconds: 1
          containers: [{name: work, image: "busybox:1.37", command: [sh, -c, $(script)]}]
`

// onNode is a cluster with a real node, where everything is a Pod.
type onNode struct {
	*testenv.Environment
	client client.Client
	work   string
}

func (n *onNode) kubectl(ctx context.Context, args ...string) string {
	GinkgoHelper()
	return runIn(ctx, n.Environment, "", append([]string{"kubectl"}, args...)...)
}

// says is what kubectl prints, for Eventually.
func (n *onNode) says(ctx context.Context, args ...string) func() string {
	return func() string {
		said, err := tryIn(ctx, n.Environment, "", append([]string{"kubectl"}, args...)...)
		if err != nil {
			return err.Error()
		}
		return strings.TrimSpace(said)
	}
}

// apply applies the manifests of a version, as docs/upgrading.md says, and waits for its Pods.
func (n *onNode) apply(ctx context.Context, v *version) {
	GinkgoHelper()
	tag := strings.TrimPrefix(v.name, "v")
	dir := filepath.Join(n.work, tag)
	Expect(os.MkdirAll(dir, 0o700)).To(Succeed())
	Expect(os.WriteFile(filepath.Join(dir, "kustomization.yaml"), fmt.Appendf(nil, podOverlay, v.base(dir), tag), 0o600)).To(Succeed())
	n.kubectl(ctx, "apply", "-k", filepath.Join(v.files, "config", "crd"))
	n.kubectl(ctx, "apply", "-k", dir)
	deployments := []string{"deployment/queuebinding-controller-manager"}
	if !v.servesItself {
		deployments = append(deployments, "deployment/queuebinding-apiserver")
	}
	for _, each := range deployments {
		n.kubectl(ctx, "rollout", "status", "-n", system, each, "--timeout=5m")
	}
}

// works has a message run, one fail and be requeued through the subresource, and a namespace go.
func (n *onNode) works(ctx context.Context, send func(string), number int) {
	GinkgoHelper()
	Eventually(n.says(ctx, "get", "apiservice", apiService, `-o=jsonpath={.status.conditions[?(@.type=="Available")].status}`)).Should(Equal("True"))
	send(fmt.Sprintf("echo good %d", number))
	send(fmt.Sprintf("echo bad %d; exit 1", number))
	var failed batchv1.Job
	attempt := func() string {
		list := &batchv1.JobList{}
		Expect(n.client.List(ctx, list, client.InNamespace("work"))).To(Succeed())
		for _, each := range list.Items {
			if strings.HasPrefix(bodyOf(&each), fmt.Sprintf("echo bad %d;", number)) && job.Observe(&each).State == job.Failed {
				failed = each
				return each.Annotations[v1alpha1.AnnotationAttempt]
			}
		}
		return ""
	}
	Eventually(attempt).Should(Equal("1"))
	path := "/apis/subresources.queuebinding.dev/v1alpha1/namespaces/work/queuebindings/work/requeue"
	answer := runIn(ctx, n.Environment, fmt.Sprintf(`{"spec": {"jobNames": [%q]}}`, failed.Name), "kubectl", "create", "--raw", path, "-f", "-")
	Expect(answer).To(ContainSubstring(`"accepted":[%q]`, failed.Name))
	Eventually(attempt).Should(Equal("2"))
	// The numbers of Jobs that succeeded and failed.
	Eventually(n.says(ctx, "get", "queuebinding", "work", "-n", "work", "-o=jsonpath={.status.succeededJobs} {.status.failedJobs} {.status.requeuedJobs}")).
		Should(Equal(fmt.Sprintf("%d %d 0", number, number)))
	n.kubectl(ctx, "create", "namespace", "goes")
	n.kubectl(ctx, "delete", "namespace", "goes", "--timeout=1m")
	Expect(n.kubectl(ctx, "get", "pods", "-n", system, "-o=jsonpath={.items[*].status.containerStatuses[*].restartCount}")).To(MatchRegexp("^[0 ]+$"))
}

// asPods upgrades and downgrades the operator as people run it.
func asPods(ctx context.Context) {
	err := testenv.NeedContainers()
	if impossible := testenv.NoContainersError(""); errors.As(err, &impossible) {
		Skip("nothing was tested: " + err.Error())
	}
	Expect(err).NotTo(HaveOccurred())
	environment, err := testenv.Start(testenv.Options{RealNode: true, Log: GinkgoWriter})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return environment.Stop() })
	work, err := filepath.EvalSymlinks(GinkgoT().TempDir())
	Expect(err).NotTo(HaveOccurred())
	reached, err := client.New(environment.Config, client.Options{Scheme: k8s.Scheme()})
	Expect(err).NotTo(HaveOccurred())
	n := &onNode{environment, reached, work}
	for _, v := range []*version{released, head} {
		Expect(environment.LoadOperator(v.files, "queuebinding:"+strings.TrimPrefix(v.name, "v"))).To(Succeed())
	}
	queue := strings.Trim(strings.Split(runIn(ctx, n.Environment, "", "sqs", "create-queue", "--queue-name", "work"), `"QueueUrl": `)[1], "\"}\n ")
	send := func(script string) {
		GinkgoHelper()
		runIn(ctx, n.Environment, "", "sqs", "send-message", "--queue-url", queue, "--message-body", script)
	}

	By("installing 0.1.0")
	n.kubectl(ctx, "create", "namespace", system)
	secret := []string{"create", "secret", "generic", "queue", "-n", system}
	for _, each := range n.Env {
		if endpoint, ok := strings.CutPrefix(each, "DEVENV_POD_SQS_ENDPOINT="); ok {
			secret = append(secret, "--from-literal=AWS_ENDPOINT_URL_SQS="+endpoint)
		} else if strings.HasPrefix(each, "AWS_") && !strings.HasPrefix(each, "AWS_ENDPOINT") {
			secret = append(secret, "--from-literal="+each)
		}
	}
	n.kubectl(ctx, secret...)
	n.apply(ctx, released)
	n.kubectl(ctx, "create", "namespace", "work")
	runIn(ctx, n.Environment, fmt.Sprintf(podBinding, queue), "kubectl", "apply", "-f", "-")
	n.works(ctx, send, 1)
	send("until [ -e /tmp/go ]; do sleep 0.1; done") // runs on through all that follows
	running := n.says(ctx, "get", "pods", "-n", "work", "--field-selector=status.phase=Running", "-o=jsonpath={.items[*].metadata.name}")
	Eventually(running).ShouldNot(BeEmpty())
	pod := running()

	By("upgrading")
	n.apply(ctx, head)
	documentedIn(ctx, n.Environment, stepLeftovers)
	n.works(ctx, send, 2)
	Expect(running()).To(Equal(pod))

	By("going back")
	documentedIn(ctx, n.Environment, stepPolicies)
	n.apply(ctx, released)
	documentedIn(ctx, n.Environment, stepUnknown)
	n.works(ctx, send, 3)
	Expect(running()).To(Equal(pod))

	By("upgrading again")
	n.apply(ctx, head)
	documentedIn(ctx, n.Environment, stepLeftovers)
	n.works(ctx, send, 4)
	n.kubectl(ctx, "exec", "-n", "work", pod, "--", "touch", "/tmp/go")
	Eventually(n.says(ctx, "get", "queuebinding", "work", "-n", "work", "-o=jsonpath={.status.activeJobs} {.status.succeededJobs} {.status.failedJobs}")).
		Should(Equal("0 5 4"))
}
