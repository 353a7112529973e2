package apiserver_test

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var codecs = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()

var _ = Describe("The plugin", func() {
	It("shows what failed and with which message, and puts it back", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		jobs := w.fail(ctx, 2)
		Expect(w.plugin(ctx, "list").out).To(MatchRegexp(`NAME +STATUS.*\npings +\w+ `))
		Expect(w.plugin(ctx, "list", "-o", "name").out).To(Equal("queuebinding.queuebinding.dev/pings\n"))
		Expect(w.plugin(ctx, "describe", "pings").out).To(And(ContainSubstring("maxActiveJobs"), ContainSubstring("this.is.invalid"), ContainSubstring("Ready=")))
		Expect(w.plugin(ctx, "failures", "pings").out).To(And(ContainSubstring(jobs[0]), ContainSubstring("BackoffLimitExceeded"), ContainSubstring("this.is.invalid")))
		Expect(w.plugin(ctx, "failures", "pings", "--reason", "DeadlineExceeded").out).To(BeEmpty())
		Expect(w.plugin(ctx, "failures", "pings", "--since", "1h", "-o", "jsonpath={.items[*].metadata.name}").out).To(ContainSubstring(jobs[1]))
		Expect(w.plugin(ctx, "message", jobs[0])).To(Equal(result{out: `{"target": "this.is.invalid"}`}))
		file := filepath.Join(GinkgoT().TempDir(), "message")
		Expect(w.plugin(ctx, "message", jobs[0], "--file", file)).To(BeZero())
		Expect(os.ReadFile(file)).To(HaveLen(len(`{"target": "this.is.invalid"}`)))

		bundle := filepath.Join(GinkgoT().TempDir(), "bundle.tar.gz")
		Expect(w.plugin(ctx, "debug", "bundle", "pings", "--file", bundle).code).To(BeZero())
		unpacked := GinkgoT().TempDir()
		Expect(run(ctx, "", "tar", "-xzf", bundle, "-C", unpacked)).To(BeZero())
		Expect(run(ctx, "", "grep", "-r", "this.is.invalid", unpacked)).To(Equal(result{code: 1}), "the message is in the bundle")
		Expect(os.ReadFile(filepath.Join(unpacked, "jobs.yaml"))).To(And(ContainSubstring(jobs[0]), ContainSubstring(jobs[1]), ContainSubstring("BackoffLimitExceeded")))
		Expect(os.ReadFile(filepath.Join(unpacked, "events.yaml"))).To(ContainSubstring("regarding:"))

		Expect(w.plugin(ctx, "requeue", "pings", jobs[0], "--dry-run")).To(Equal(result{out: "job.batch/" + jobs[0] + " would be requeued\n"}))
		Expect(w.asked(ctx)).To(BeEmpty())
		partly := w.plugin(ctx, "requeue", "pings", jobs[0], "no-such-job", "--wait")
		Expect(partly.out).To(Equal("job.batch/" + jobs[0] + " to be requeued\n"))
		Expect(partly.err).To(And(ContainSubstring("refused job.batch/no-such-job"), ContainSubstring("NotFound")))
		Expect(partly.code).To(Equal(3))
		Eventually(w.attempts).WithArguments(ctx).Should(Equal(map[string]int{"1": 1, "2": 1}))
	})

	It("ends with codes that mean something, and says what to do next", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		for _, tc := range []struct {
			args []string
			code int
			next string
		}{
			{[]string{"requeue", "pings"}, 2, "requeue --help"},
			{[]string{"requeue", "pings", "--all", "job"}, 2, "requeue --help"},
			{[]string{"send", "pings"}, 2, "--help"},
			{[]string{"lst"}, 2, "--help"},
			{[]string{"describe", "nobody"}, 1, "kubectl queuebinding list -A"},
			{[]string{"message", "nobody"}, 1, "failures NAME"},
			{[]string{"requeue", "pings", "--all", "--as=nobody"}, 1, "queuebinding-requeuer"},
			{[]string{"peek", "pings", "--dead-letter"}, 1, "redrive policy"},
		} {
			r := w.plugin(ctx, tc.args...)
			Expect(r.code).To(Equal(tc.code), "%v: %s", tc.args, r.err)
			Expect(r.err).To(And(HavePrefix("error: "), ContainSubstring("next: "), ContainSubstring(tc.next)), "%v", tc.args)
			Expect(r.out).To(BeEmpty(), "%v", tc.args)
		}
	})

	It("looks into the queue and leaves the messages there", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		kubectl(ctx, "scale", "queuebinding/pings", "-n", w.namespace, "--replicas=0")
		Eventually(func() string { return w.plugin(ctx, "list").out }).Should(ContainSubstring("Suspended"))
		Expect(w.plugin(ctx, "send", "pings", "--body", `{"target": "a"}`, "--attribute", "color=red").code).To(BeZero())
		// A poll that was open when the binding was scaled may have taken it, and gives it back.
		Eventually(func() string { return w.plugin(ctx, "peek", "pings").out }).Should(ContainSubstring(`{"target": "a"}`))
		Expect(w.plugin(ctx, "peek", "pings").out).To(ContainSubstring(`{"target": "a"}`))
		kubectl(ctx, "scale", "queuebinding/pings", "-n", w.namespace, "--replicas=1")
		Eventually(w.jobs).WithArguments(ctx).Should(HaveLen(1))
	})
})

var _ = Describe("Without the aggregated API", Ordered, Serial, func() {
	BeforeAll(func(ctx SpecContext) {
		registered := &apiregistrationv1.APIService{}
		Expect(k8s.Get(ctx, client.ObjectKey{Name: apiService}, registered)).To(Succeed())
		server.Kill()
		Expect(k8s.Delete(ctx, registered)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) {
			server.Kill()
			Expect(k8s.Create(ctx, &apiregistrationv1.APIService{
				ObjectMeta: metav1.ObjectMeta{Name: apiService, Labels: registered.Labels}, Spec: registered.Spec,
			})).To(Succeed())
			server = startServer()
			Eventually(cluster.SubresourceAvailable).WithArguments(ctx).Should(BeTrue(), logged)
		})
	})

	It("the operator, the annotation and the plugin work", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		jobs := w.fail(ctx, 2)
		Eventually(func() string { return w.plugin(ctx, "requeue", "pings", "--all", "--dry-run").err }).Should(ContainSubstring("does not serve the requeue subresource"))
		Expect(w.asked(ctx)).To(BeEmpty())
		r := w.plugin(ctx, "requeue", "pings", jobs[0], "no-such-job", "--wait")
		Expect(r.code).To(Equal(3), r.err)
		Expect(r.out).To(ContainSubstring(jobs[0]))
		Expect(r.err).To(And(ContainSubstring("note: "), ContainSubstring("refused job.batch/no-such-job")))
		Eventually(w.attempts).WithArguments(ctx).Should(Equal(map[string]int{"1": 1, "2": 1}))
		Eventually(w.failed).WithArguments(ctx).Should(HaveLen(2))
		Expect(w.plugin(ctx, "requeue", "pings", "--reason", "BackoffLimitExceeded", "--wait").code).To(BeZero())
		Eventually(w.attempts).WithArguments(ctx).Should(Equal(map[string]int{"2": 1, "3": 1}))
		Eventually(w.failed).WithArguments(ctx).Should(HaveLen(2))
		kubectl(ctx, "annotate", "queuebinding", "pings", "-n", w.namespace, "queuebinding.dev/requeue=all")
		Eventually(w.attempts).WithArguments(ctx).Should(Equal(map[string]int{"3": 1, "4": 1}))
	})

	It("a server on this machine registers it, and leaves nothing behind", func(ctx SpecContext) {
		server = start("queuebinding-apiserver", cluster.Kubeconfig, "--bind-address=127.0.0.1:0", "--register-locally")
		Eventually(cluster.SubresourceAvailable).WithArguments(ctx).Should(BeTrue())
		Expect(kubectl(ctx, "get", "--raw", root)).To(ContainSubstring("queuebindings/requeue"))
		Expect(server.Terminate(ctx)).To(Succeed())
		Expect(kubectl(ctx, "get", "apiservices", "-o", "name")).NotTo(ContainSubstring("subresources"))
		services := &corev1.ServiceList{}
		Expect(k8s.List(ctx, services, client.InNamespace("default"))).To(Succeed())
		for _, service := range services.Items {
			Expect(strings.HasPrefix(service.Name, "queuebinding")).To(BeFalse())
		}
	})

	// An APIService that nobody answers for keeps every namespace from being deleted, also the one that it is in.
	It("a server whose namespace is deleted takes its APIService along", func(ctx SpecContext) {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
		Expect(k8s.Create(ctx, namespace)).To(Succeed())
		server = start("queuebinding-apiserver", cluster.Kubeconfig, "--bind-address=127.0.0.1:0", "--register-locally", "--namespace="+namespace.Name)
		Eventually(cluster.SubresourceAvailable).WithArguments(ctx).Should(BeTrue(), logged)
		Expect(k8s.Delete(ctx, namespace)).To(Succeed())
		Eventually(func() error { return k8s.Get(ctx, client.ObjectKey{Name: apiService}, &apiregistrationv1.APIService{}) }).Should(MatchError(apierrors.IsNotFound, "IsNotFound"))
		Eventually(func() error { return k8s.Get(ctx, client.ObjectKeyFromObject(namespace), namespace) }).Should(MatchError(apierrors.IsNotFound, "IsNotFound"))
	})
})

var _ = Describe("An operator that is gone", Ordered, Serial, func() {
	It("takes no API with it: namespaces can be deleted, and what is asked for is done when it is back", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.fail(ctx, 1)
		operator.Kill()
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
		Expect(k8s.Create(ctx, namespace)).To(Succeed())
		Expect(k8s.Delete(ctx, namespace)).To(Succeed())
		Eventually(func() error { return k8s.Get(ctx, client.ObjectKeyFromObject(namespace), namespace) }).Should(MatchError(apierrors.IsNotFound, "IsNotFound"))

		Expect(w.plugin(ctx, "requeue", "pings", "--all").code).To(BeZero())
		Expect(w.asked(ctx)).To(Equal("all"))
		operator = startOperator()
		// The long poll that the killed operator left open may take the message, which SQS then hides for its visibility timeout.
		Eventually(w.attempts).WithArguments(ctx).WithTimeout(3 * time.Minute).Should(Equal(map[string]int{"2": 1}))
	})
})
