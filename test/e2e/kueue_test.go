package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/testenv"
)

// quota is a ClusterQueue and what leads to it, with no quota at first.
const quota = `
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: standard}
spec: {nodeLabels: {kubernetes.io/os: linux}}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: messages}
spec:
  namespaceSelector: {}
  resourceGroups:
  - coveredResources: [cpu]
    flavors:
    - name: standard
      resources: [{name: cpu, nominalQuota: "0"}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: messages}
spec: {clusterQueue: messages}
`

// The suite in test/neighbours/kueue has the rest, on simulated nodes.
var _ = Describe("Kueue as its own manifests install it", func() {
	It("suspends the Job of a template that says nothing of that, and has it run in a container", func(ctx SpecContext) {
		installKueue(ctx)
		w := newWorkspace(ctx)
		apply(quota, "-n", w.namespace)
		container := busybox("sh", "-c", "echo $QUEUEBINDING_MESSAGE_BODY, attempt $QUEUEBINDING_ATTEMPT")
		container.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}
		binding := w.binding(ctx, container, func(b *v1alpha1.QueueBinding) {
			b.Spec.Acknowledge = v1alpha1.AcknowledgeOnJobSucceeded
			b.Spec.JobTemplate.Metadata.Labels = map[string]string{"kueue.x-k8s.io/queue-name": "messages"}
		})
		id := w.send(ctx, "a message", nil)
		Eventually(status(ctx, binding)).Should(counts(1, 0, 0))
		job := w.jobs(ctx)[id]
		Expect(ptr.Deref(job.Spec.Suspend, false)).To(BeTrue())
		Expect(w.podsOf(ctx, id)).To(BeEmpty())
		Expect(w.numbers(ctx)()).To(Equal([]string{"0", "1"}))

		kubectl("patch", "clusterqueue", "messages", "--type=json",
			`--patch=[{"op": "replace", "path": "/spec/resourceGroups/0/flavors/0/resources/0/nominalQuota", "value": "1"}]`)
		Eventually(status(ctx, binding)).Should(counts(0, 1, 0))
		Expect(w.printed(ctx, id, "work")).To(Equal("a message, attempt 1\n"))
		Eventually(w.numbers(ctx)).Should(Equal(empty))
		Expect(created(ctx, w.namespace)).To(Equal(1))
	})
})

func created(ctx context.Context, namespace string) int {
	GinkgoHelper()
	list := &batchv1.JobList{}
	Expect(k8s.List(ctx, list, client.InNamespace(namespace))).To(Succeed())
	return len(list.Items)
}

// installKueue installs Kueue for one test, of the version that hack/devenv/kueue pins, with nothing else than its image
// changed. Its webhooks are about all Jobs and Pods, so that they must not outlive the test.
func installKueue(ctx context.Context) {
	GinkgoHelper()
	const image = "kueue:dev"
	Expect(environment.LoadNeighbour(testenv.Kueue, "sigs.k8s.io/kueue/cmd/kueue", image)).To(Succeed())
	root, err := testenv.Root()
	Expect(err).NotTo(HaveOccurred())
	find := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kueue")
	find.Dir = filepath.Join(root, "hack", "devenv", testenv.Kueue)
	find.Env = append(os.Environ(), "GOWORK=off")
	module, err := find.Output()
	Expect(err).NotTo(HaveOccurred())
	manifests := kubectl("kustomize", filepath.Join(strings.TrimSpace(string(module)), "config", "default"))
	published := regexp.MustCompile(`image: \S+/kueue:\S+\n( +)imagePullPolicy: Always`)
	Expect(published.FindAllString(manifests, -1)).To(HaveLen(1))
	manifests = published.ReplaceAllString(manifests, "image: "+image+"\n${1}imagePullPolicy: Never")
	DeferCleanup(func() {
		kubectl("delete", "mutatingwebhookconfiguration,validatingwebhookconfiguration,apiservice", "-l", "app.kubernetes.io/name=kueue")
	})
	apply(manifests)
	kubectl("rollout", "status", "-n", "kueue-system", "deployment/kueue-controller-manager", "--timeout=3m")
}

// apply applies manifests on the server, as Kueue's are too large for more.
func apply(manifests string, args ...string) {
	GinkgoHelper()
	cmd := kubectlCommand(append([]string{"apply", "--server-side", "-f", "-"}, args...)...)
	cmd.Stdin = strings.NewReader(manifests)
	output, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
}
