package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
)

// A request of the operator's, as the API server recorded it.
type request struct{ verb, group, resource, namespace, name, path string }

func (r request) String() string {
	if r.resource == "" {
		return r.verb + " " + r.path
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s in %q", r.right(), r.name, r.namespace))
}

// right is what a rule has to grant for it.
func (r request) right() string { return r.verb + " " + r.resource + "." + r.group }

// requests are all of a ServiceAccount's, the refused ones and the others.
func requests(account string) (allowed, forbidden []request) {
	GinkgoHelper()
	logs, err := filepath.Glob(filepath.Join(environment.Dir, "audit*.log"))
	Expect(err).NotTo(HaveOccurred())
	Expect(logs).NotTo(BeEmpty())
	for _, path := range logs {
		log, err := os.Open(path)
		Expect(err).NotTo(HaveOccurred())
		defer log.Close()
		lines := bufio.NewReader(log)
		for {
			line, err := lines.ReadBytes('\n')
			if errors.Is(err, io.EOF) {
				break // what may be there of a line is still being written
			}
			Expect(err).NotTo(HaveOccurred())
			var event struct {
				User       struct{ Username string }
				Verb       string
				RequestURI string
				ObjectRef  struct{ APIGroup, Resource, Subresource, Namespace, Name string }
				// Of what was asked for, not of how it went: a webhook may refuse too.
				Annotations map[string]string
			}
			Expect(json.Unmarshal(line, &event)).To(Succeed())
			if event.User.Username != "system:serviceaccount:"+system+":"+account {
				continue
			}
			r := request{event.Verb, event.ObjectRef.APIGroup, event.ObjectRef.Resource, event.ObjectRef.Namespace, event.ObjectRef.Name, event.RequestURI}
			if event.ObjectRef.Subresource != "" {
				r.resource += "/" + event.ObjectRef.Subresource
			}
			if event.Annotations["authorization.k8s.io/decision"] == "forbid" {
				forbidden = append(forbidden, r)
			} else {
				allowed = append(allowed, r)
			}
		}
	}
	return allowed, forbidden
}

// rights are what the cluster grants a ServiceAccount by rules for it.
func rights(ctx context.Context, account string) []string {
	GinkgoHelper()
	isOurs := func(subject rbacv1.Subject) bool {
		return subject.Kind == rbacv1.ServiceAccountKind && subject.Namespace == system && subject.Name == account
	}
	var rules []rbacv1.PolicyRule
	addRules := func(namespace string, ref rbacv1.RoleRef) {
		if ref.Kind == "Role" {
			role := &rbacv1.Role{}
			Expect(k8s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, role)).To(Succeed())
			rules = append(rules, role.Rules...)
			return
		}
		role := &rbacv1.ClusterRole{}
		Expect(k8s.Get(ctx, client.ObjectKey{Name: ref.Name}, role)).To(Succeed())
		rules = append(rules, role.Rules...)
	}
	everywhere := &rbacv1.ClusterRoleBindingList{}
	Expect(k8s.List(ctx, everywhere)).To(Succeed())
	for _, binding := range everywhere.Items {
		if slices.ContainsFunc(binding.Subjects, isOurs) {
			addRules("", binding.RoleRef)
		}
	}
	inNamespaces := &rbacv1.RoleBindingList{}
	Expect(k8s.List(ctx, inNamespaces)).To(Succeed())
	for _, binding := range inNamespaces.Items {
		if slices.ContainsFunc(binding.Subjects, isOurs) {
			addRules(binding.Namespace, binding.RoleRef)
		}
	}
	var granted []string
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					granted = append(granted, request{verb: verb, group: group, resource: resource}.right())
				}
			}
		}
	}
	slices.Sort(granted)
	return slices.Compact(granted)
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
		Expect(k8s.Get(ctx, client.ObjectKey{Name: "queuebinding-manager-role"}, role)).To(Succeed())
		whole := role.DeepCopy()
		role.Rules = slices.DeleteFunc(role.Rules, func(rule rbacv1.PolicyRule) bool { return slices.Contains(rule.Resources, "secrets") })
		Expect(role.Rules).To(HaveLen(len(whole.Rules) - 1))
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
			_, forbidden := requests(account)
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
		for name, requests := range tooMuch {
			for _, args := range requests {
				answer, _ := kubectlCommand(append([]string{"auth", "can-i", "--as=system:serviceaccount:" + system + ":" + name}, args...)...).CombinedOutput() // no is an exit code
				Expect(string(answer)).To(HaveSuffix("no\n"), name+": "+strings.Join(args, " "))
			}
		}
	})
})

// unused are the rights that a ServiceAccount did not use.
var unused = map[string][]string{}

// Whatever the specs did, they did it through the operator in the cluster.
var _ = AfterSuite(func(ctx SpecContext) {
	if k8s == nil {
		return // it did not get as far
	}
	for name := range idle {
		allowed, forbidden := requests(name)
		forbidden = slices.DeleteFunc(forbidden, func(r request) bool {
			return taken != "" && r.namespace == taken && strings.HasPrefix(r.resource, "secrets")
		})
		Expect(forbidden).To(BeEmpty(), name+" asked for what its manifests do not allow")
		Expect(allowed).NotTo(BeEmpty(), "the audit log does not know "+name)
		unused[name] = rights(ctx, name)
		for _, r := range allowed {
			unused[name] = slices.DeleteFunc(unused[name], func(right string) bool { return right == r.right() })
		}
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
