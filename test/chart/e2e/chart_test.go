package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/queuebinding/queuebinding/test/rig"
	"github.com/queuebinding/queuebinding/test/walk"
)

const (
	chart      = "charts/queuebinding"
	release    = "queuebinding"
	system     = "queuebinding-system"
	tenant     = "team-a"
	other      = "team-b"
	apiService = "v1alpha1.subresources.queuebinding.dev"
	crd        = "queuebindings.queuebinding.dev"
	patience   = "--timeout=4m"
)

// untilTold is a binding whose Jobs run until somebody tells them to end.
const untilTold = `
apiVersion: queuebinding.dev/v1alpha1
kind: QueueBinding
metadata: {name: long}
spec:
  queue: {url: %q}
  jobTemplate:
    spec:
      backoffLimit: 0
      template:
        spec:
          restartPolicy: Never
          terminationGracePeriodSeconds: 1
          containers:
          - name: work
            image: busybox:1.37
            command: [sh, -c, 'until [ -e /tmp/go ]; do sleep 0.1; done']
`

// counts are the numbers of active, succeeded and failed Jobs of one of the tenant's bindings, for Eventually.
func counts(name string) func() string {
	return func() string {
		output, err := command("kubectl", "get", "queuebinding", "-n", tenant, name,
			"-o=jsonpath={.status.activeJobs} active, {.status.succeededJobs} succeeded, {.status.failedJobs} failed").CombinedOutput()
		if err != nil {
			return err.Error() + string(output)
		}
		return string(output)
	}
}

// reason is why a binding is ready or not, for Eventually.
func reason(namespace, name string) func() string {
	return func() string {
		output, _ := command("kubectl", "get", "queuebinding", "-n", namespace, name, `-o=jsonpath={.status.conditions[?(@.type=="Ready")].reason}`).CombinedOutput()
		return string(output)
	}
}

// failedJobs are the names of a namespace's failed Jobs.
func failedJobs(namespace string) []string {
	GinkgoHelper()
	return strings.Fields(kubectl("get", "jobs", "-n", namespace, "-l", "queuebinding.dev/binding=pings",
		`-o=jsonpath={range .items[?(@.status.failed==1)]}{.metadata.name} {end}`))
}

// absent waits until there is no such object.
func absent(args ...string) {
	GinkgoHelper()
	Eventually(func() string {
		output, _ := command("kubectl", append([]string{"get", "--ignore-not-found", "-o=name"}, args...)...).CombinedOutput()
		return string(output)
	}).Should(BeEmpty())
}

// requeueAll requeues through the subresource, as a user.
func requeueAll(user string) ([]byte, error) {
	GinkgoHelper()
	request := filepath.Join(GinkgoT().TempDir(), "requeue.json")
	Expect(os.WriteFile(request, []byte(`{"spec": {"all": true}}`), 0o600)).To(Succeed())
	return command("kubectl", "--as="+user, "create", "--raw",
		"/apis/subresources.queuebinding.dev/v1alpha1/namespaces/"+tenant+"/queuebindings/pings/requeue", "-f", request).CombinedOutput()
}

// longPod is the name and UID of the Pod that runs until told.
func longPod() string {
	GinkgoHelper()
	return kubectl("get", "pods", "-n", tenant, "-l", "queuebinding.dev/binding=long", "-o=jsonpath={.items[*].metadata.name} {.items[*].metadata.uid} {.items[*].status.phase}")
}

var _ = Describe("A release", Ordered, func() {
	var (
		pings, long, elsewhere *rig.Queue
		running                string
	)
	send := func(ctx context.Context, queue *rig.Queue, body string) {
		GinkgoHelper()
		_, err := queue.Send(ctx, body)
		Expect(err).NotTo(HaveOccurred())
	}
	ping := func(ctx context.Context, target string) {
		GinkgoHelper()
		send(ctx, pings, fmt.Sprintf(`{"target": %q, "duration": "1"}`, target))
	}
	isUntouched := func() {
		GinkgoHelper()
		Expect(longPod()).To(Equal(running), "the Job that runs meanwhile is another one, or does not run")
	}

	BeforeAll(func(ctx SpecContext) {
		var err error
		for name, queue := range map[string]**rig.Queue{"pings": &pings, "long": &long, "elsewhere": &elsewhere} {
			*queue, err = cluster.CreateQueue(ctx, name, "", 0)
			Expect(err).NotTo(HaveOccurred())
		}
		for _, namespace := range []string{system, tenant, other} {
			kubectl("create", "namespace", namespace)
		}
		kubectl("label", "namespace", system, "pod-security.kubernetes.io/enforce=restricted")
	})

	It("is what the API server takes, in every form", func() {
		for _, values := range []string{
			"",
			"{tenancy: namespaces, operator: {resources: {limits: {cpu: 1}}, tolerations: [{operator: Exists}], affinity: {nodeAffinity: {}}}}",
			"{namespaces: [team-a, team-b], tenancy: namespaces, apiserver: {podLabels: {a: b}}}",
			"{networkPolicies: {extraEgress: [{ports: [{port: 16443}]}], metricsFrom: [{podSelector: {}}]}, rbac: {aggregateToEdit: true}}",
			"{commonLabels: {a: b}, commonAnnotations: {c: d}, image: {digest: 'sha256:" + strings.Repeat("0", 64) + "'}, operator: {replicas: 0}}",
		} {
			By(values)
			apply(helm(values, "template", release, chart, "--namespace="+system), "--dry-run=server")
		}
	})

	It("says what to do next, and does the walk", func(ctx SpecContext) {
		notes := helm("", "install", release, chart, "--namespace="+system, "--wait", patience)
		Expect(notes).To(And(ContainSubstring("What to do next"), ContainSubstring("--service-account queuebinding-controller-manager"), ContainSubstring("--clusterrole=queuebinding-editor-role")))
		kubectl("wait", "--for=condition=Available", "apiservice/"+apiService, patience)

		By("letting those write bindings who may create Jobs")
		kubectl("create", "rolebinding", "-n", tenant, "editors", "--clusterrole=queuebinding-editor-role", "--user=mary", "--user=zoe")
		kubectl("create", "rolebinding", "-n", tenant, "workers", "--clusterrole=edit", "--user=mary")
		sample, err := os.ReadFile(filepath.Join(cluster.Root, "config", "samples", "ping.yaml"))
		Expect(err).NotTo(HaveOccurred())
		binding := regexp.MustCompile(`url: .*`).ReplaceAllLiteralString(string(sample), "url: "+pings.URL)
		binding = strings.Replace(binding, "backoffLimit: 3", "backoffLimit: 0", 1) // each retry would wait longer
		refused := command("kubectl", "create", "-n", tenant, "--as=zoe", "-f", "-")
		refused.Stdin = strings.NewReader(binding)
		said, err := refused.CombinedOutput()
		Expect(err).To(HaveOccurred())
		Expect(string(said)).To(And(ContainSubstring("queuebinding-job-creators"), ContainSubstring("zoe")))
		apply(binding, "-n", tenant, "--as=mary")

		By("turning messages into Jobs")
		for _, target := range []string{"127.0.0.1", "this.is.invalid", "this.is.also.invalid"} {
			ping(ctx, target)
		}
		Eventually(counts("pings")).Should(Equal("0 active, 1 succeeded, 2 failed"))

		By("requeuing by annotation, and by the subresource")
		first := failedJobs(tenant)
		Expect(first).To(HaveLen(2))
		kubectl("annotate", "-n", tenant, "--as=mary", "queuebinding", "pings", "queuebinding.dev/requeue="+first[0])
		Eventually(failedJobs).WithArguments(tenant).Should(And(HaveLen(2), Not(ContainElement(first[0]))))
		Eventually(counts("pings")).Should(Equal("0 active, 1 succeeded, 2 failed"))
		second := failedJobs(tenant)
		answer, err := requeueAll("mary")
		Expect(err).NotTo(HaveOccurred(), string(answer))
		Expect(string(answer)).To(And(ContainSubstring(second[0]), ContainSubstring(second[1])))
		Eventually(failedJobs).WithArguments(tenant).Should(And(HaveLen(2), Not(ContainElements(second[0])), Not(ContainElement(second[1]))))
		answer, err = requeueAll("nobody")
		Expect(err).To(HaveOccurred(), string(answer))
		Eventually(counts("pings")).Should(Equal("0 active, 1 succeeded, 2 failed"))
	})

	It("is upgraded while Jobs run", func(ctx SpecContext) {
		apply(fmt.Sprintf(untilTold, long.URL), "-n", tenant)
		send(ctx, long, "x")
		Eventually(longPod).Should(HaveSuffix("Running"))
		running = longPod()
		apply(fmt.Sprintf(untilTold, elsewhere.URL), "-n", other)
		kubectl("annotate", "namespace", tenant, "queuebinding.dev/allowed-queues=arn:aws:sqs:eu-west-1:000000000000:*", "queuebinding.dev/operator-identity=true")

		helm("{operator: {replicas: 3}, tenancy: namespaces, crds: {install: false}}", "upgrade", release, chart, "--namespace="+system, "--wait", patience)
		Expect(kubectl("get", "deployment", "-n", system, "queuebinding-controller-manager", "-o=jsonpath={.status.readyReplicas}")).To(Equal("3"))
		isUntouched()
		ping(ctx, "127.0.0.1")
		Eventually(counts("pings")).Should(Equal("0 active, 2 succeeded, 2 failed"))
		By("doing what the new values say")
		Eventually(reason(other, "long")).Should(Equal("NotAllowed"))
		By("leaving the CRD there, which it was told to give up and to keep")
		kubectl("get", "crd", crd)
	})

	It("lets a tenant walk from the first message to the end, and do nothing else", func(ctx SpecContext) {
		g := NewGomega(Fail)
		g.SetDefaultEventuallyTimeout(4 * time.Minute)
		walk.AsTenant(ctx, g, walk.Installation{Environment: cluster.Environment, Namespace: system, Prefix: "queuebinding-"}, "tenant", GinkgoT().TempDir())
	})

	It("is rolled back while Jobs run", func(ctx SpecContext) {
		succeed(command(filepath.Join(cluster.Root, "bin", "tools", "helm"), "rollback", release, "1", "--namespace="+system, "--wait", patience))
		Expect(kubectl("get", "deployment", "-n", system, "queuebinding-controller-manager", "-o=jsonpath={.status.readyReplicas}")).To(Equal("2"))
		isUntouched()
		Eventually(reason(other, "long")).Should(Equal("Running"))
		absent("clusterrole", "queuebinding-tenancy-role")
		ping(ctx, "127.0.0.1")
		Eventually(counts("pings")).Should(Equal("0 active, 3 succeeded, 2 failed"))
	})

	It("keeps others from taking what a cluster has one of, and lets them share the rest", func() {
		second := []string{"install", "second", chart, "--namespace=second-system", "--create-namespace"}
		said, err := helmCommand("", second...).CombinedOutput()
		Expect(err).To(HaveOccurred())
		Expect(string(said)).To(ContainSubstring("A cluster has one CustomResourceDefinition queuebindings.queuebinding.dev, and it belongs to release queuebinding in namespace queuebinding-system"))
		Expect(string(said)).To(ContainSubstring("--set crds.install=false"))
		said, err = helmCommand("crds: {install: false}", second...).CombinedOutput()
		Expect(err).To(HaveOccurred())
		Expect(string(said)).To(And(ContainSubstring("A cluster has one APIService "+apiService), ContainSubstring("--set apiserver.enabled=false")))

		helm("{crds: {install: false}, apiserver: {enabled: false}, bindingSelector: team=second, operator: {replicas: 1}}", second...)
		succeed(command(filepath.Join(cluster.Root, "bin", "tools", "helm"), "uninstall", "second", "--namespace=second-system", "--wait", patience))
		kubectl("get", "crd/"+crd)
		kubectl("get", "apiservice/"+apiService)
	})

	It("leaves the CRD, bindings and Jobs when it is uninstalled, and nothing that holds up the deletion of a namespace", func(ctx SpecContext) {
		succeed(command(filepath.Join(cluster.Root, "bin", "tools", "helm"), "uninstall", release, "--namespace="+system, "--wait", patience))
		kubectl("get", "crd", crd)
		absent("apiservice", apiService)
		absent("clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings", "-l", "app.kubernetes.io/instance="+release)
		Expect(strings.Fields(kubectl("get", "queuebindings", "-A", "-o=name"))).To(HaveLen(3))
		Expect(failedJobs(tenant)).To(HaveLen(2))
		isUntouched()
		// With a binding in it, and one that held the operator.
		kubectl("delete", "namespace", other, system, "--wait", "--timeout=2m")
		ping(ctx, "127.0.0.1") // nobody receives it
	})

	It("takes over from kustomize, and takes up again what a release left", func() {
		// As docs/install.md has it. Its Pods need not run for that: the image has no such name here.
		kubectl("apply", "--server-side", "--force-conflicts", "-k", "config/default")
		kubectl("delete", "deployment", "-n", system, "queuebinding-controller-manager", "queuebinding-apiserver")
		helm("", "install", release, chart, "--namespace="+system, "--take-ownership", "--force-conflicts", "--wait", patience)
		Eventually(counts("pings")).Should(Equal("0 active, 4 succeeded, 2 failed"))
		isUntouched()
		kubectl("exec", "-n", tenant, strings.Fields(running)[0], "--", "touch", "/tmp/go")
		Eventually(counts("long")).Should(Equal("0 active, 1 succeeded, 0 failed"))
	})

	It("leaves no APIService either when its namespace is deleted, and is installed over what that left", func(ctx SpecContext) {
		kubectl("delete", "namespace", system, "--wait", "--timeout=2m")
		absent("apiservice", apiService)
		kubectl("get", "crd", crd)
		ping(ctx, "127.0.0.1")
		helm("crds: {keep: false}", "install", release, chart, "--namespace="+system, "--create-namespace", "--wait", patience)
		Eventually(counts("pings")).Should(Equal("0 active, 5 succeeded, 2 failed"))
	})

	It("takes the CRD with it, and all Jobs, where it was told not to keep it", func() {
		succeed(command(filepath.Join(cluster.Root, "bin", "tools", "helm"), "uninstall", release, "--namespace="+system, "--wait", patience))
		absent("crd", crd)
		absent("jobs", "-n", tenant)
		kubectl("delete", "namespace", tenant, system, "--wait", "--timeout=2m")
	})
})
