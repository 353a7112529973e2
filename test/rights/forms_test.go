package rights_test

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/audit"
	"github.com/queuebinding/queuebinding/test/rig"
)

// Rights that are not used here, and why they are granted all the same.
var (
	idle = []string{
		// The first reading of a watch; an API server that cannot send it in the watch is asked for it by a list.
		"list queuebindings.queuebinding.dev",
		// An event that says who leads is counted up where the same replica leads again.
		"patch events.",
		// Asked about by an admission plugin that few clusters run, on behalf of whoever sets an owner.
		"update queuebindings/finalizers.queuebinding.dev",
	}
	idleOfServer = []string{
		"list apiservices.apiregistration.k8s.io", "list configmaps.", "list jobs.batch", "list namespaces.", "list secrets.",
		// The APIService goes with the namespace, which test/apiserver tries.
		"delete apiservices.apiregistration.k8s.io",
		// Of a few Jobs that are asked for by name, and that the cache does not have yet.
		"get jobs.batch",
		"patch events.", "patch events.events.k8s.io",
		// The certificate is rotated after months.
		"update secrets.",
	}
)

// What the full namespaced form has more than the one in config.
var allOfNamespaced = []edit{
	uncomment("namespaced/operator/kustomization.yaml", "- ../../metrics"),
	{"namespaced/operator/kustomization.yaml", `patches:
- target: {kind: Deployment, name: controller-manager}
  patch: |-
    - op: test
      path: /spec/template/spec/containers/0/args/1
      value: --metrics-bind-address=:8443
    - op: remove
      path: /spec/template/spec/containers/0/args/1
    - op: test
      path: /spec/template/spec/containers/0/ports/0/name
      value: metrics
    - op: remove
      path: /spec/template/spec/containers/0/ports/0
`, ""},
	uncomment("namespaced/operator/kustomization.yaml", "- ../apiserver"),
	uncomment("namespaced/operator/kustomization.yaml", "- ../tenancy"),
	uncomment("namespaced/rights/kustomization.yaml", "- ../../rights/apiserver"),
	uncomment("namespaced/rights/kustomization.yaml", "- ../../rights/tenancy"),
	{"namespaced/kustomization.yaml", "# With the subresource:\n# - source: {kind: ServiceAccount, name: apiserver, fieldPath: metadata.name}\n#   targets:\n#   - select: {kind: RoleBinding, name: apiserver-bindings-rolebinding}\n#     fieldPaths: [subjects.0.name]\n",
		"- source: {kind: ServiceAccount, name: apiserver, fieldPath: metadata.name}\n  targets:\n  - select: {kind: RoleBinding, name: apiserver-bindings-rolebinding}\n    fieldPaths: [subjects.0.name]\n"},
}

var _ = Describe("The rights of", ContinueOnFailure, Ordered, func() {
	DescribeTable("each form suffice for the work, and are all needed for it",
		func(ctx SpecContext, i *installation, secrets, metrics, tenancy bool, clusterRoles []string, alsoIdle ...string) {
			i.install(ctx)
			if tenancy {
				grant(ctx, i.namespace("a"))
			}
			i.start(ctx)
			DeferCleanup(i.stop)
			for program := range i.args {
				Eventually(i.ready(program)).Should(Equal(200), "%s: %v", program, i.processes[program].LastLines(20))
			}
			_, served := i.args[server]
			work(ctx, i.namespace("a"), served)
			if secrets {
				workWithSecrets(ctx, i.namespace("a"))
			}
			if metrics {
				i.scrape(ctx)
			}

			_, forbidden := i.requests(operator)
			Expect(forbidden).To(BeEmpty(), "the operator asked for what its manifests do not allow")
			Eventually(func() []string { return i.unused(ctx, operator) }).Should(ConsistOf(append(alsoIdle, idle...)))
			granted, err := audit.OfTheCluster(ctx, k8s, i.account(operator))
			Expect(err).NotTo(HaveOccurred())
			for n := range granted {
				granted[n] = strings.TrimPrefix(granted[n], i.name+"-")
			}
			Expect(granted).To(ConsistOf(clusterRoles))
			if served {
				_, forbidden := i.requests(server)
				Expect(forbidden).To(BeEmpty(), "the server asked for what its manifests do not allow")
				Eventually(func() []string { return i.unused(ctx, server) }).Should(ConsistOf(idleOfServer))
			}
		},
		Entry("config/default", &installation{name: "all", kustomization: "default"}, true, true, false,
			[]string{"manager-role", "file-delivery-role", "credentials-role", "metrics-auth-role"}),
		Entry("config/default without the subresource, Secrets and metrics", &installation{name: "least", kustomization: "default", edits: []edit{
			without("default/kustomization.yaml", "- ../apiserver"), without("default/kustomization.yaml", "- ../metrics"),
			without("default/kustomization.yaml", "- ../rights/file-delivery"), without("default/kustomization.yaml", "- ../rights/credentials"),
		}}, false, false, false, []string{"manager-role"}),
		Entry("config/default with tenancy", &installation{name: "tenants", kustomization: "default", edits: []edit{
			uncomment("default/kustomization.yaml", "- ../tenancy"), without("default/kustomization.yaml", "- ../apiserver"),
		}}, true, true, true, []string{"manager-role", "file-delivery-role", "credentials-role", "metrics-auth-role", "tenancy-role"}, "list namespaces."),
		Entry("config/namespaced", &installation{name: "some", kustomization: "namespaced"}, true, false, false, nil),
		Entry("config/namespaced with all that can be added", &installation{name: "rich", kustomization: "namespaced", edits: allOfNamespaced}, true, true, true,
			[]string{"metrics-auth-role"}),
	)

	It("some namespaces reach no other, and one that lacks them keeps nothing from the others", func(ctx SpecContext) {
		i := &installation{name: "part", kustomization: "namespaced"}
		i.install(ctx)
		roles := &rbacv1.RoleBindingList{}
		Expect(k8s.List(ctx, roles, client.InNamespace(i.namespace("b")))).To(Succeed())
		Expect(roles.Items).To(HaveLen(3))
		Expect(k8s.DeleteAllOf(ctx, &rbacv1.RoleBinding{}, client.InNamespace(i.namespace("b")))).To(Succeed())
		i.start(ctx)
		DeferCleanup(i.stop)
		bindings := map[string]*bound{}
		for _, suffix := range []string{"a", "b", "c"} {
			bindings[suffix] = bind(ctx, i.namespace(suffix), "pings", nil)
			bindings[suffix].send(ctx, rig.Body(1, "127.0.0.1", 0.1))
		}
		Eventually(bindings["a"].status).WithArguments(ctx).Should(HaveField("SucceededJobs", HaveValue(BeEquivalentTo(1))))
		Expect(i.ready(operator)()).To(Equal(500))
		Expect(i.processes[operator].LastLines(1000)).To(ContainSubstring("namespace part-b: no right to list queuebindings.queuebinding.dev there. Create the namespace"))
		for _, suffix := range []string{"b", "c"} {
			bindings[suffix].untouched(ctx)
			Expect(bindings[suffix].status(ctx).Conditions).To(BeEmpty())
		}
		_, forbidden := i.requests(operator)
		Expect(forbidden).To(BeEmpty(), "it does not try what it may not do")

		By("Starting again once the rights are there")
		i.stop()
		i.apply(ctx, i.manifests(ctx, i.edits...))
		i.start(ctx)
		Eventually(bindings["b"].status).WithArguments(ctx).Should(HaveField("SucceededJobs", HaveValue(BeEquivalentTo(1))))
		Eventually(i.ready(operator)).Should(Equal(200))
		bindings["c"].untouched(ctx)
		i.stop()

		By("Refusing to start where there is nothing to work in")
		i.startProgram(ctx, operator, "--namespaces=nosuch,part-c")
		Eventually(i.processes[operator].Ended()).Should(BeClosed())
		Expect(i.processes[operator].LastLines(1000)).To(And(
			ContainSubstring("namespace nosuch: no right to list queuebindings.queuebinding.dev there. Create the namespace, if there is none"), ContainSubstring("namespace part-c: ")))
		i.startProgram(ctx, operator, "--namespaces=")
		Eventually(i.processes[operator].Ended()).Should(BeClosed())
		Expect(i.processes[operator].LastLines(10)).To(ContainSubstring("--namespaces: it names no namespace"))
	})

	It("all namespaces do not hide that one is misspelt", func(ctx SpecContext) {
		i := &installation{name: "typo", kustomization: "default", edits: []edit{without("default/kustomization.yaml", "- ../apiserver")}}
		i.install(ctx)
		i.startProgram(ctx, operator, "--namespaces=typo-a,nosuch")
		DeferCleanup(i.stop)
		within, without := bind(ctx, i.namespace("a"), "pings", nil), bind(ctx, i.namespace("b"), "pings", nil)
		for _, each := range []*bound{within, without} {
			each.send(ctx, rig.Body(1, "127.0.0.1", 0.1))
		}
		Eventually(within.status).WithArguments(ctx).Should(HaveField("SucceededJobs", HaveValue(BeEquivalentTo(1))))
		without.untouched(ctx)
		Expect(i.ready(operator)()).To(Equal(500))
		Expect(i.processes[operator].LastLines(1000)).To(ContainSubstring("namespace nosuch: it does not exist. Create it, or take it off --namespaces"))
		_, forbidden := i.requests(operator)
		Expect(forbidden).To(BeEmpty())
	})

	It("Secrets can be left out: such bindings say so, receive nothing, and go on once the rights are granted", func(ctx SpecContext) {
		i := &installation{name: "later", kustomization: "namespaced", edits: []edit{
			without("namespaced/rights/kustomization.yaml", "- ../../rights/file-delivery"),
			without("namespaced/rights/kustomization.yaml", "- ../../rights/credentials"),
		}}
		i.install(ctx)
		i.start(ctx)
		DeferCleanup(i.stop)
		namespace := i.namespace("a")
		credentials(ctx, namespace)
		pings, files, keys := bind(ctx, namespace, "pings", nil), bind(ctx, namespace, "files", inFiles), bind(ctx, namespace, "keys", withKeys)
		for _, each := range []*bound{pings, files, keys} {
			each.send(ctx, rig.Body(1, "127.0.0.1", 0.1))
		}
		Eventually(files.status).WithArguments(ctx).Should(ready(v1alpha1.ReasonForbidden, "may not create Secrets in namespace later-a: ask an administrator to grant it file-delivery-role there"))
		Eventually(keys.status).WithArguments(ctx).Should(ready("CredentialsUnavailable", "may not get Secret keys: ask an administrator to grant it credentials-role in namespace later-a"))
		Eventually(pings.status).WithArguments(ctx).Should(HaveField("SucceededJobs", HaveValue(BeEquivalentTo(1))))
		files.untouched(ctx)
		keys.untouched(ctx)
		_, forbidden := i.requests(operator)
		for _, r := range forbidden {
			Expect(r.Right()).To(BeElementOf("create secrets.", "get secrets."), r.String())
		}

		i.apply(ctx, i.manifests(ctx))
		for _, each := range []*bound{files, keys} {
			Eventually(each.status).WithArguments(ctx).Should(HaveField("SucceededJobs", HaveValue(BeEquivalentTo(1))))
		}

		By("Refusing a requeue whose message is in a Secret that may not be read any more, and no other")
		for _, each := range []*bound{pings, files} {
			each.send(ctx, rig.Body(2, "this.is.invalid", 0.1))
			Eventually(each.status).WithArguments(ctx).Should(HaveField("FailedJobs", HaveValue(BeEquivalentTo(1))))
		}
		Expect(k8s.Delete(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "later-file-delivery-rolebinding"}})).To(Succeed())
		Expect(k8s.Delete(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "later-credentials-rolebinding"}})).To(Succeed())
		for _, each := range []*bound{pings, files} {
			requeueAll(ctx, each)
		}
		Eventually(files.status).WithArguments(ctx).Should(HaveField("LastRequeue.Refused", ConsistOf(And(
			HaveField("Reason", v1alpha1.RefusedNotSendable), HaveField("Message", ContainSubstring("ask an administrator to grant it file-delivery-role"))))))
		Expect(files.status(ctx)).To(HaveField("FailedJobs", HaveValue(BeEquivalentTo(1))))
		Eventually(pings.attempts).WithArguments(ctx).Should(ContainElement("2"))
	})

	It("the server of the subresource end with its namespaces", func(ctx SpecContext) {
		i := &installation{name: "served", kustomization: "namespaced", edits: allOfNamespaced}
		i.install(ctx)
		i.start(ctx)
		DeferCleanup(i.stop)
		Eventually(i.ready(server)).Should(Equal(200))
		grant(ctx, i.namespace("a"))
		within, without := bind(ctx, i.namespace("a"), "pings", nil), bind(ctx, i.namespace("c"), "pings", nil)
		Eventually(func() error { return requeue(ctx, within.Namespace, within.Name) }).Should(Succeed())
		Expect(requeue(ctx, without.Namespace, without.Name)).To(MatchError(ContainSubstring("requeues are not served in namespace served-c: add it to --namespaces")))
	})
})

// grant lets bindings in a namespace use every queue, with the operator's identity.
func grant(ctx SpecContext, namespace string) {
	GinkgoHelper()
	object := &corev1.Namespace{}
	Expect(k8s.Get(ctx, client.ObjectKey{Name: namespace}, object)).To(Succeed())
	before := object.DeepCopy()
	metav1.SetMetaDataAnnotation(&object.ObjectMeta, v1alpha1.AnnotationAllowedQueues, "arn:aws:sqs:*:*:*")
	metav1.SetMetaDataAnnotation(&object.ObjectMeta, v1alpha1.AnnotationOperatorIdentity, "true")
	Expect(k8s.Patch(ctx, object, client.MergeFrom(before))).To(Succeed())
}
