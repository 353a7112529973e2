package operator_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/testenv"
)

var _ = Describe("Trouble", func() {
	It("with a queue that is not there is told, and ends when it is", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) { b.Spec.Queue.URL += "-late" })
		Eventually(status(ctx, binding)).Should(ready(HavePrefix("False QueueNotFound")))
		late := createQueue(ctx, w.namespace+"-late")
		late.sendMany(ctx, 1)
		Eventually(status(ctx, binding), 2*time.Minute).Should(And(counts(0, 1, 0, 0), ready(HavePrefix("True Running"))))
	})

	It("with an expression is told with its place, and nothing is received", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.send(ctx, "x")
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) { b.Spec.Message.Variables[0].Expression = "message.jsn.target" })
		Eventually(status(ctx, binding)).Should(condition(v1alpha1.ConditionJobTemplateValid, And(
			HavePrefix("False ExpressionInvalid"), ContainSubstring("variables[0]"), ContainSubstring("column 8"))))
		Eventually(status(ctx, binding)).Should(ready(HavePrefix("False ExpressionInvalid")))
		Consistently(w.queue.numbers(ctx)).Should(Equal([]string{"1", "0"}))
		edit(ctx, binding, func(b *v1alpha1.QueueBinding) { b.Spec.Message.Variables[0].Expression = "message.json.target" })
		Eventually(status(ctx, binding)).Should(And(counts(0, 1, 0, 0), ready(HavePrefix("True Running"))))
	})

	It("with a template is told in the API server's words, and nothing is received", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.send(ctx, "x")
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) {
			b.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Name = "Not_a_name"
		})
		Eventually(status(ctx, binding)).Should(ready(And(HavePrefix("False JobInvalid"), ContainSubstring("spec.template.spec.containers[0].name"))))
		Consistently(w.queue.numbers(ctx)).Should(Equal([]string{"1", "0"}))
		edit(ctx, binding, func(b *v1alpha1.QueueBinding) { b.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Name = "a-name" })
		Eventually(status(ctx, binding)).Should(counts(0, 1, 0, 0))
	})

	It("with a quota keeps the messages and counts no receive for it", func(ctx SpecContext) {
		dead := deadLetterName(ctx)
		w := newWorkspace(ctx, redrive(dead, 1)...)
		quota := &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "jobs"},
			Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/jobs.batch": resource.MustParse("0")}},
		}
		Expect(k8s.Create(ctx, quota)).To(Succeed())
		Eventually(func() error {
			Expect(k8s.Get(ctx, client.ObjectKeyFromObject(quota), quota)).To(Succeed())
			if len(quota.Status.Hard) == 0 {
				return fmt.Errorf("the quota is not in force")
			}
			return nil
		}).Should(Succeed())
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) { b.Spec.Queue.VisibilityTimeoutSeconds = new(int32(1)) })
		w.queue.sendMany(ctx, 3)
		Eventually(status(ctx, binding)).Should(ready(HavePrefix("False QuotaExceeded")))
		// Held for several times their visibility timeout, they are received once: at the second receive they would be
		// moved to the dead-letter queue.
		Consistently(w.queue.numbers(ctx), 4*time.Second).Should(Equal([]string{"0", "3"}))
		Expect(k8s.Delete(ctx, quota)).To(Succeed())
		Eventually(status(ctx, binding)).Should(And(counts(0, 3, 0, 0), ready(HavePrefix("True Running"))))
	})

	It("with SQS is told and passes", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx)
		w.queue.sendMany(ctx, 1)
		Eventually(status(ctx, binding)).Should(counts(0, 1, 0, 0))
		Expect(cluster.PausePart(testenv.Queue)).To(Succeed())
		resumed := false
		DeferCleanup(func() {
			if !resumed {
				Expect(cluster.ResumePart(testenv.Queue)).To(Succeed())
			}
		})
		Eventually(status(ctx, binding), 3*time.Minute).Should(ready(HavePrefix("False Unreachable")))
		Expect(cluster.ResumePart(testenv.Queue)).To(Succeed())
		resumed = true
		w.queue.sendMany(ctx, 3)
		Eventually(status(ctx, binding), 2*time.Minute).Should(And(counts(0, 4, 0, 0), ready(HavePrefix("True Running"))))
	})

	It("with the API server loses nothing and runs nothing twice", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) {
			b.Spec.Queue.VisibilityTimeoutSeconds = new(int32(2))
			b.Spec.Concurrency.MaxActiveJobs = new(int32(20))
		})
		w.queue.sendMany(ctx, 60)
		Expect(cluster.StopPart(testenv.APIServer)).To(Succeed())
		w.queue.sendMany(ctx, 20)
		time.Sleep(5 * time.Second)
		Expect(cluster.StartPart(testenv.APIServer)).To(Succeed())
		Eventually(status(ctx, binding), 3*time.Minute).Should(And(counts(0, 80, 0, 0), ready(HavePrefix("True Running"))))
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))
		Expect(operator.Alive()).To(Succeed())
	})
})

// refuse has the API server refuse objects of a namespace for which a CEL condition holds.
func refuse(ctx SpecContext, namespace, group, resource, condition, message string) {
	GinkgoHelper()
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{group}, APIVersions: []string{"v1"}, Resources: []string{resource}},
				},
			}}},
			Validations: []admissionv1.Validation{{Expression: fmt.Sprintf("request.namespace != %q || !(%s)", namespace, condition), Message: message}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: namespace, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
	}
	Expect(k8s.Create(ctx, policy)).To(Succeed())
	Expect(k8s.Create(ctx, binding)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(k8s.Delete(ctx, binding)).To(Succeed())
		Expect(k8s.Delete(ctx, policy)).To(Succeed())
	})
	// It takes the API server a moment to enforce it.
	trial := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "trial"}}
	if resource == "secrets" {
		Eventually(func() error { return k8s.Create(ctx, trial.DeepCopy(), client.DryRunAll) }).Should(MatchError(ContainSubstring(message)))
	}
}

var _ = Describe("A template that comes to be refused", func() {
	It("stops the receives after some rejections, and goes on when it is accepted again", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx)
		w.queue.sendMany(ctx, 1)
		Eventually(status(ctx, binding)).Should(counts(0, 1, 0, 0))
		refuse(ctx, w.namespace, "batch", "jobs", "true", "no Jobs here")
		Eventually(func() error {
			trial := w.jobs(ctx)[0]
			trial.ObjectMeta = metav1.ObjectMeta{Namespace: w.namespace, Name: "trial"}
			trial.Spec.Selector, trial.Spec.Template.Labels = nil, nil
			return k8s.Create(ctx, &trial, client.DryRunAll)
		}).Should(MatchError(ContainSubstring("no Jobs here")))
		w.queue.sendMany(ctx, 60)
		Eventually(status(ctx, binding)).Should(ready(And(HavePrefix("False JobInvalid"), ContainSubstring("no Jobs here"))))
		// The ones that were under way were rejected too; the others were not received.
		Expect(w.queue.numbers(ctx)()[0]).NotTo(Equal("0"))
	})
})

var _ = Describe("Credentials in a Secret", func() {
	It("are waited for, and used once they are there", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.queue.sendMany(ctx, 2)
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) {
			b.Spec.Queue.Credentials = &v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: "pings-aws"}}
		})
		Eventually(status(ctx, binding)).Should(ready(And(HavePrefix("False CredentialsUnavailable"), ContainSubstring("pings-aws"))))
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "pings-aws"},
			StringData: map[string]string{"AWS_ACCESS_KEY_ID": "key"},
		}
		Expect(k8s.Create(ctx, secret)).To(Succeed())
		Eventually(status(ctx, binding)).Should(ready(ContainSubstring("needs the keys")))
		secret.StringData = map[string]string{"AWS_SECRET_ACCESS_KEY": "secret"}
		Expect(k8s.Update(ctx, secret)).To(Succeed())
		Eventually(status(ctx, binding)).Should(And(counts(0, 2, 0, 0), ready(HavePrefix("True Running"))))
	})
})
