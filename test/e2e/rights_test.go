package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/audit"
)

// accounts are the operator's and that of the server of the subresource.
var accounts = []audit.Account{{Namespace: system, Name: account}, {Namespace: system, Name: serverAccount}}

// requests are all of an account's, the refused ones and the others.
func requests(account audit.Account) (allowed, forbidden []audit.Request) {
	GinkgoHelper()
	allowed, forbidden, err := audit.Requests(environment.Dir, account)
	Expect(err).NotTo(HaveOccurred())
	return allowed, forbidden
}

// idle are rights that this suite never uses, and why they are granted all the same.
var idle = map[string][]string{
	account: {
		// The first reading of a watch; an API server that cannot send it in the watch is asked for it by a list.
		"list queuebindings.queuebinding.dev",
		// An event that says who leads is counted up where the same replica leads again.
		"patch events.",
		// Asked about by an admission plugin that few clusters run, on behalf of whoever sets an owner.
		"update queuebindings/finalizers.queuebinding.dev",
	},
	serverAccount: {
		"list apiservices.apiregistration.k8s.io",
		"list configmaps.",
		"list jobs.batch",
		"list namespaces.",
		"list secrets.",
		// The APIService goes with the namespace, which test/apiserver tries.
		"delete apiservices.apiregistration.k8s.io",
		// Of a few Jobs that are asked for by name, and that the cache does not have yet.
		"get jobs.batch",
		"patch events.",
		"patch events.events.k8s.io",
	},
}

// taken is the namespace of the test that takes a right away.
var taken string

var _ = Describe("The operator's rights", func() {
	It("are missed when one is gone: in its status, and in the audit log that this suite goes by", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		taken = w.namespace
		binding := w.binding(ctx, busybox("true"), func(b *v1alpha1.QueueBinding) { b.Spec.Message.Delivery = v1alpha1.DeliverFile })
		Eventually(status(ctx, binding)).Should(counts(0, 0, 0))

		role := &rbacv1.ClusterRole{}
		Expect(k8s.Get(ctx, client.ObjectKey{Name: "queuebinding-file-delivery-role"}, role)).To(Succeed())
		whole := role.DeepCopy()
		role.Rules = nil
		Expect(k8s.Patch(ctx, role, client.MergeFrom(whole))).To(Succeed())
		restore := func(ctx context.Context) {
			GinkgoHelper()
			current := &rbacv1.ClusterRole{}
			Expect(k8s.Get(ctx, client.ObjectKeyFromObject(role), current)).To(Succeed())
			current.Rules = whole.Rules
			Expect(k8s.Update(ctx, current)).To(Succeed())
		}
		DeferCleanup(func(ctx SpecContext) { restore(ctx) })

		w.send(ctx, "x", nil)
		Eventually(func() []string {
			_, forbidden := requests(accounts[0])
			var said []string
			for _, r := range forbidden {
				said = append(said, r.String())
			}
			return said
		}).Should(ContainElement(And(HavePrefix("create secrets. "), HaveSuffix(" in %q", taken))))
		Eventually(status(ctx, binding)).Should(HaveField("Conditions", ContainElement(And(
			HaveField("Type", v1alpha1.ConditionReady), HaveField("Reason", v1alpha1.ReasonForbidden)))))

		restore(ctx)
		Eventually(status(ctx, binding)).Should(counts(0, 1, 0))
		Eventually(w.numbers(ctx)).Should(Equal(empty))
	})

	It("suffice to leave nothing of a message that is refused", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, busybox("true"), func(b *v1alpha1.QueueBinding) { b.Spec.Message.Delivery = v1alpha1.DeliverFile })
		Eventually(status(ctx, binding)).Should(counts(0, 0, 0))
		policy := &admissionv1.ValidatingAdmissionPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
			Spec: admissionv1.ValidatingAdmissionPolicySpec{
				MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
					RuleWithOperations: admissionv1.RuleWithOperations{
						Operations: []admissionv1.OperationType{admissionv1.Create},
						Rule:       admissionv1.Rule{APIGroups: []string{"batch"}, APIVersions: []string{"v1"}, Resources: []string{"jobs"}},
					},
				}}},
				Validations: []admissionv1.Validation{{Expression: fmt.Sprintf("request.namespace != %q", w.namespace), Message: "no Jobs here"}},
			},
		}
		enforced := &admissionv1.ValidatingAdmissionPolicyBinding{
			ObjectMeta: policy.ObjectMeta,
			Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: policy.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
		}
		for _, each := range []client.Object{policy, enforced} {
			Expect(k8s.Create(ctx, each)).To(Succeed())
			DeferCleanup(func(ctx SpecContext) { Expect(k8s.Delete(ctx, each)).To(Succeed()) })
		}
		trial := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "trial"}, Spec: binding.Spec.JobTemplate.Spec}
		Eventually(func() error { return k8s.Create(ctx, trial.DeepCopy(), client.DryRunAll) }).Should(MatchError(ContainSubstring("no Jobs here")))

		w.send(ctx, "x", nil)
		Eventually(status(ctx, binding)).Should(HaveField("LastRejection.Message", ContainSubstring("ValidatingAdmissionPolicy %q", w.namespace)))
		Eventually(func() []corev1.Secret {
			list := &corev1.SecretList{}
			Expect(k8s.List(ctx, list, client.InNamespace(w.namespace))).To(Succeed())
			return list.Items
		}).Should(BeEmpty())
	})

	It("do not suffice for more than the work", func() {
		tooMuch := map[string][][]string{
			account: {
				{"list", "secrets", "-A"}, {"create", "pods"}, {"delete", "namespaces"}, {"create", "queuebindings"}, {"delete", "queuebindings"},
				{"update", "deployments", "-n", system}, {"create", "clusterrolebindings"}, {"get", "apiservices"},
			},
			serverAccount: {
				{"get", "secrets"}, {"get", "secrets/queuebinding-lineage", "-n", system}, {"create", "jobs"}, {"delete", "jobs"}, {"patch", "jobs"},
				{"create", "queuebindings"}, {"delete", "apiservices/v1.apps"}, {"get", "pods"}, {"create", "tokenreviews"},
			},
		}
		for name, attempts := range tooMuch {
			for _, args := range attempts {
				answer, _ := kubectlCommand(append([]string{"auth", "can-i", "--as=system:serviceaccount:" + system + ":" + name}, args...)...).CombinedOutput() // no is an exit code
				Expect(string(answer)).To(HaveSuffix("no\n"), name+": "+strings.Join(args, " "))
			}
		}
	})
})

// unused are the rights that an account did not use.
var unused = map[string][]string{}

// Whatever the specs did, they did it through the operator in the cluster.
var _ = AfterSuite(func(ctx SpecContext) {
	if k8s == nil {
		return // it did not get as far
	}
	for _, account := range accounts {
		allowed, forbidden := requests(account)
		forbidden = slices.DeleteFunc(forbidden, func(r audit.Request) bool {
			return taken != "" && r.Namespace == taken && strings.HasPrefix(r.Resource, "secrets")
		})
		Expect(forbidden).To(BeEmpty(), account.Name+" asked for what its manifests do not allow")
		Expect(allowed).NotTo(BeEmpty(), "the audit log does not know "+account.Name)
		granted, err := audit.Granted(ctx, k8s, account)
		Expect(err).NotTo(HaveOccurred())
		unused[account.Name] = audit.Unused(granted, allowed)
	}
})

// A rule that nothing uses could go missing without a test that fails.
var _ = ReportAfterSuite("Every right was used", func(report types.Report) {
	ran := func(spec types.SpecReport) bool { return spec.State.Is(types.SpecStatePassed) }
	if !slices.ContainsFunc(report.SpecReports, func(spec types.SpecReport) bool { return !ran(spec) }) {
		for name, want := range idle {
			Expect(unused[name]).To(ConsistOf(want), name)
		}
	}
})

var _ = Describe("The operator's Pods", func() {
	It("run as their manifest says, under what the namespace enforces", func(ctx SpecContext) {
		Eventually(operators).WithArguments(ctx).Should(HaveLen(2))
		for _, name := range operators(ctx) {
			pod := &corev1.Pod{}
			Expect(k8s.Get(ctx, client.ObjectKey{Namespace: system, Name: name}, pod)).To(Succeed())
			Expect(pod.Spec.ServiceAccountName).To(Equal(account))
			Expect(pod.Spec.Containers[0].LivenessProbe).NotTo(BeNil())
			Expect(pod.Status.ContainerStatuses[0].RestartCount).To(BeZero())
		}
		namespace := &corev1.Namespace{}
		Expect(k8s.Get(ctx, client.ObjectKey{Name: system}, namespace)).To(Succeed())
		Expect(namespace.Labels).To(HaveKeyWithValue("pod-security.kubernetes.io/enforce", "restricted"))
		Expect(kubectl("get", "apiservice", "v1alpha1.subresources.queuebinding.dev", "-o=jsonpath={.spec.service.name} {.spec.insecureSkipTLSVerify}")).To(Equal("queuebinding-apiserver "))
	})
})
