package controller_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// deny has a policy deny Jobs of the namespace that do not pass a validation, and waits until it denies an example.
func (w *workspace) deny(ctx SpecContext, validation admissionv1.Validation, example *batchv1.Job) {
	GinkgoHelper()
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{"batch"}, APIVersions: []string{"v1"}, Resources: []string{"jobs"}},
				},
			}}, NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.namespace}}},
			Validations: []admissionv1.Validation{validation},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: w.namespace, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
	}
	Expect(k8s.Create(ctx, policy)).To(Succeed())
	Expect(k8s.Create(ctx, binding)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(k8s.Delete(ctx, binding)).To(Succeed())
		Expect(k8s.Delete(ctx, policy)).To(Succeed())
	})
	Eventually(func() error { return k8s.Create(ctx, example.DeepCopy(), client.DryRunAll) }).Should(MatchError(ContainSubstring("ValidatingAdmissionPolicy")))
}

var _ = Describe("A template", func() {
	It("is not checked where a policy minds the sample's values, and messages become Jobs", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		Eventually(w.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionJobTemplateValid, HavePrefix("True")))
		sample := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "x"}, Spec: w.binding.Spec.JobTemplate.Spec}
		sample.Spec.Template.Spec.Containers[0].Env = append(sample.Spec.Template.Spec.Containers[0].Env, corev1.EnvVar{Name: "target", Value: "sample"})
		w.deny(ctx, admissionv1.Validation{
			Expression: `!object.spec.template.spec.containers[0].env.exists(e, e.name == "target" && e.value == "sample")`, Reason: new(metav1.StatusReasonInvalid),
		}, sample)
		w.edit(ctx, func(s *v1alpha1.QueueBindingSpec) { s.Concurrency.MaxActiveJobs = new(int32(9)) })
		Eventually(w.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionJobTemplateValid, HavePrefix("Unknown NotChecked")))
		w.send("a")
		w.started(ctx, 1)
	})
})
