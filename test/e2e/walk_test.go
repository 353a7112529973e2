package e2e_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/testenv"
)

// leader is the name of the operator's Pod that works.
func leader(ctx SpecContext) string {
	GinkgoHelper()
	lease := &coordinationv1.Lease{}
	Expect(k8s.Get(ctx, client.ObjectKey{Namespace: system, Name: "leader.queuebinding.dev"}, lease)).To(Succeed())
	// The name of the Pod, and something of chance.
	name, _, _ := strings.Cut(ptr.Deref(lease.Spec.HolderIdentity, ""), "_")
	return name
}

// operators are the operator's Pods that are ready.
func operators(ctx SpecContext) []string {
	GinkgoHelper()
	list := &corev1.PodList{}
	Expect(k8s.List(ctx, list, client.InNamespace(system), client.MatchingLabels{"control-plane": "controller-manager"})).To(Succeed())
	var ready []string
	for _, pod := range list.Items {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil {
				ready = append(ready, pod.Name)
			}
		}
	}
	return ready
}

var _ = Describe("The walk", func() {
	// With the binding that people begin with, and the messages of the script that this project replaces.
	It("from the first message to the binding's end works in the cluster", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		root, err := testenv.Root()
		Expect(err).NotTo(HaveOccurred())
		sample, err := os.ReadFile(filepath.Join(root, "config", "samples", "ping.yaml"))
		Expect(err).NotTo(HaveOccurred())
		manifest := filepath.Join(GinkgoT().TempDir(), "ping.yaml")
		changed := regexp.MustCompile(`url: .*`).ReplaceAllLiteralString(string(sample), "url: "+w.url)
		// Each retry would wait longer.
		changed = strings.Replace(changed, "backoffLimit: 3", "backoffLimit: 0", 1)
		Expect(os.WriteFile(manifest, []byte(changed), 0o600)).To(Succeed())
		kubectl("apply", "-n", w.namespace, "-f", manifest)
		kubectl("wait", "-n", w.namespace, "--for=condition=Ready", "queuebinding/pings", "--timeout=2m")
		binding := &v1alpha1.QueueBinding{}
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: "pings"}, binding)).To(Succeed())

		good := w.send(ctx, `{"target": "127.0.0.1", "duration": "2"}`, nil)
		bad := w.send(ctx, `{"target": "this.is.invalid", "duration": "10"}`, nil)
		worse := w.send(ctx, `{"target": "this.is.also.invalid", "duration": "10"}`, nil)
		Eventually(status(ctx, binding)).Should(counts(0, 1, 2))
		Eventually(w.numbers(ctx)).Should(Equal(empty))
		Expect(w.printed(ctx, good, "ping")).To(ContainSubstring("0% packet loss"))
		Expect(w.printed(ctx, bad, "ping")).To(ContainSubstring("bad address 'this.is.invalid'"))
		Expect(kubectl("get", "jobs", "-n", w.namespace, "-o=jsonpath={.items[*].status.conditions[-1:].type}")).To(And(ContainSubstring("Complete"), ContainSubstring("Failed")))
		Expect(kubectl("describe", "pods", "-n", w.namespace, "-l", "job-name="+w.jobs(ctx)[worse].Name)).To(MatchRegexp(`Exit Code: +1\n`))

		By("requeuing one by annotation")
		kubectl("annotate", "-n", w.namespace, "queuebinding", "pings", "queuebinding.dev/requeue="+w.jobs(ctx)[bad].Name)
		Eventually(w.outcome).WithArguments(ctx, bad).Should(Equal("2 Failed"))
		Eventually(status(ctx, binding)).Should(counts(0, 1, 2))

		By("requeuing all by the subresource, which the operator's Pods serve, as somebody who may do nothing else")
		kubectl("create", "rolebinding", "-n", w.namespace, "requeuer", "--clusterrole=queuebinding-requeuer", "--user=mary")
		request := filepath.Join(GinkgoT().TempDir(), "requeue.json")
		Expect(os.WriteFile(request, []byte(`{"spec": {"all": true}}`), 0o600)).To(Succeed())
		path := fmt.Sprintf("/apis/subresources.queuebinding.dev/v1alpha1/namespaces/%s/queuebindings/pings/requeue", w.namespace)
		Expect(kubectl("--as=mary", "create", "--raw", path, "-f", request)).To(And(
			ContainSubstring(w.jobs(ctx)[bad].Name), ContainSubstring(w.jobs(ctx)[worse].Name)))
		refused, err := kubectlCommand("--as=nobody", "create", "--raw", path, "-f", request).CombinedOutput()
		Expect(err).To(HaveOccurred())
		Expect(string(refused)).To(ContainSubstring("Forbidden"))
		Eventually(w.outcome).WithArguments(ctx, bad).Should(Equal("3 Failed"))
		Eventually(w.outcome).WithArguments(ctx, worse).Should(Equal("2 Failed"))
		Eventually(status(ctx, binding)).Should(counts(0, 1, 2))
		Expect(kubectl("get", "events", "-n", w.namespace)).To(ContainSubstring("mary"))

		By("scaling, suspending and deleting it")
		kubectl("scale", "-n", w.namespace, "queuebinding/pings", "--replicas=3")
		kubectl("patch", "-n", w.namespace, "queuebinding", "pings", "--type=merge", "-p", `{"spec":{"suspend":true}}`)
		Eventually(func() string {
			return kubectl("get", "-n", w.namespace, "queuebinding", "pings", "--no-headers")
		}).Should(ContainSubstring("Suspended"))
		kubectl("delete", "-n", w.namespace, "queuebinding", "pings")
		Eventually(w.jobs).WithArguments(ctx).Should(BeEmpty())
		w.send(ctx, `{"target": "127.0.0.1", "duration": "2"}`, nil)
		// A poll that was open may take it, and gives it back.
		Eventually(w.numbers(ctx)).Should(Equal([]string{"1", "0"}))
		Consistently(w.numbers(ctx)).Should(Equal([]string{"1", "0"}))
		Expect(w.jobs(ctx)).To(BeEmpty())
	})

	It("keeps no more records than the binding asks for", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, busybox("true"), func(b *v1alpha1.QueueBinding) { b.Spec.SuccessfulJobsHistoryLimit = new(int32(1)) })
		for range 3 {
			w.send(ctx, "x", nil)
		}
		Eventually(w.numbers(ctx)).Should(Equal(empty))
		Eventually(status(ctx, binding)).Should(counts(0, 1, 0))
		Eventually(w.jobs).WithArguments(ctx).Should(HaveLen(1))
	})

	It("goes on when the leader goes", func(ctx SpecContext) {
		Eventually(operators).WithArguments(ctx).Should(HaveLen(2))
		before := leader(ctx)
		Expect(operators(ctx)).To(ContainElement(before))
		w := newWorkspace(ctx)
		binding := w.binding(ctx, busybox("true"))
		w.send(ctx, "first", nil)
		Eventually(status(ctx, binding)).Should(counts(0, 1, 0))

		// Without grace, as a lost node takes it: the lease has to expire.
		kubectl("delete", "pod", "-n", system, before, "--grace-period=0", "--force")
		w.send(ctx, "second", nil)
		Eventually(status(ctx, binding)).Should(counts(0, 2, 0))
		Expect(leader(ctx)).NotTo(Equal(before))
		Eventually(operators).WithArguments(ctx).Should(HaveLen(2))

		// With grace: the lease is given back.
		before = leader(ctx)
		kubectl("delete", "pod", "-n", system, before)
		w.send(ctx, "third", nil)
		Eventually(status(ctx, binding)).Should(counts(0, 3, 0))
		Expect(leader(ctx)).NotTo(Equal(before))
		Eventually(operators).WithArguments(ctx).Should(HaveLen(2))
	})

	It("serves the subresource again after its certificate was lost", func(ctx SpecContext) {
		secret := &corev1.Secret{}
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: system, Name: "queuebinding-apiserver-tls"}, secret)).To(Succeed())
		lost := secret.DeepCopy()
		for key := range lost.Data {
			lost.Data[key] = nil
		}
		Expect(k8s.Update(ctx, lost)).To(Succeed())
		Eventually(func() map[string][]byte {
			Expect(k8s.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(Succeed())
			return secret.Data
		}).Should(HaveEach(Not(BeEmpty())))
		Eventually(func() string {
			answer, _ := kubectlCommand("get", "--raw", "/apis/subresources.queuebinding.dev/v1alpha1").CombinedOutput()
			return string(answer)
		}).Should(ContainSubstring("queuebindings/requeue"))
	})

	It("shows metrics to those who may read them", func(ctx SpecContext) {
		kubectl("create", "serviceaccount", "-n", system, "prometheus")
		kubectl("create", "clusterrolebinding", "prometheus", "--clusterrole=queuebinding-metrics-reader", "--serviceaccount="+system+":prometheus")
		kubectl("create", "serviceaccount", "-n", system, "stranger")
		address := kubectl("get", "service", "-n", system, "queuebinding-controller-manager-metrics-service", "-o=jsonpath={.spec.clusterIP}")
		https := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // its certificate is made by itself
		scrape := func(account string) (int, string) {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+":8443/metrics", nil)
			Expect(err).NotTo(HaveOccurred())
			request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(kubectl("create", "token", "-n", system, account)))
			response, err := https.Do(request)
			Expect(err).NotTo(HaveOccurred())
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			Expect(err).NotTo(HaveOccurred())
			return response.StatusCode, string(body)
		}
		code, metrics := scrape("prometheus")
		Expect(code).To(Equal(http.StatusOK))
		Expect(metrics).To(ContainSubstring("leader_election_master_status"))
		code, _ = scrape("stranger")
		Expect(code).To(Equal(http.StatusForbidden))
	})
})
