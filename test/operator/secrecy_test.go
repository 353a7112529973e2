package operator_test

import (
	"encoding/json"
	"fmt"
	"os"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// echo has the API server quote the bodies of messages when Jobs that meet a condition are created or updated.
func echo(ctx SpecContext, namespace, name string, operation admissionv1.OperationType, action admissionv1.ValidationAction, condition string) {
	GinkgoHelper()
	const body = "object.spec.template.metadata.annotations['queuebinding.dev/body']"
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: namespace + "-" + name},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{operation},
					Rule:       admissionv1.Rule{APIGroups: []string{"batch"}, APIVersions: []string{"v1"}, Resources: []string{"jobs"}},
				},
			}}},
			Validations: []admissionv1.Validation{{
				Expression:        fmt.Sprintf("request.namespace != %q || !(%s)", namespace, fmt.Sprintf(condition, body)),
				MessageExpression: "'quoted: ' + " + body,
				Reason:            new(metav1.StatusReasonInvalid),
			}},
		},
	}
	enforced := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: policy.ObjectMeta,
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: policy.Name, ValidationActions: []admissionv1.ValidationAction{action}},
	}
	for _, object := range []client.Object{policy, enforced} {
		Expect(k8s.Create(ctx, object)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(k8s.Delete(ctx, object)).To(Succeed()) })
	}
}

var _ = Describe("What a message holds", func() {
	It("is quoted by no status, event or line of the log, though policies quote it", func(ctx SpecContext) {
		const secret = "hunter2"
		operator.Kill()
		operator = startOperator("--zap-log-level=debug")
		DeferCleanup(func() {
			operator.Kill()
			operator = startOperator()
		})
		w := newWorkspace(ctx)
		binding := w.binding(ctx)
		echo(ctx, w.namespace, "deny", admissionv1.Create, admissionv1.Deny, "%s.contains('denied')")
		echo(ctx, w.namespace, "warn", admissionv1.Create, admissionv1.Warn, "%s.contains('{')")
		echo(ctx, w.namespace, "mark", admissionv1.Update, admissionv1.Deny, "'queuebinding.dev/requeued-at' in object.metadata.annotations && %s.contains('{')")
		trial := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "trial"}, Spec: *binding.Spec.JobTemplate.Spec.DeepCopy()}
		trial.Spec.Template.Annotations = map[string]string{v1alpha1.AnnotationBody: "denied"}
		Eventually(func() error { return k8s.Create(ctx, trial.DeepCopy(), client.DryRunAll) }).Should(MatchError(ContainSubstring("quoted: denied")))

		w.queue.send(ctx, fmt.Sprintf(`{"target": "this.is.invalid", "password": %q}`, secret))
		Eventually(status(ctx, binding)).Should(counts(0, 0, 1, 0))
		w.queue.send(ctx, fmt.Sprintf(`{"target": "denied", "password": %q}`, secret))
		Eventually(status(ctx, binding)).Should(HaveField("LastRejection", HaveValue(And(
			HaveField("Reason", v1alpha1.RejectedAdmissionDenied), HaveField("Message", ContainSubstring(w.namespace+"-deny"))))))
		edit(ctx, binding, func(b *v1alpha1.QueueBinding) {
			metav1.SetMetaDataAnnotation(&b.ObjectMeta, v1alpha1.AnnotationRequeue, "all")
		})

		told := func() string {
			list := &eventsv1.EventList{}
			Expect(k8s.List(ctx, list, client.InNamespace(w.namespace))).To(Succeed())
			var notes []string
			for _, event := range list.Items {
				if event.Regarding.Kind == "QueueBinding" {
					notes = append(notes, event.Reason+": "+event.Note)
				}
			}
			log, err := os.ReadFile(operator.Log)
			Expect(err).NotTo(HaveOccurred())
			text, err := json.Marshal(map[string]any{"status": status(ctx, binding)(), "events": notes, "log": string(log)})
			Expect(err).NotTo(HaveOccurred())
			return string(text)
		}
		Eventually(told).Should(And(
			ContainSubstring(v1alpha1.EventMessageRejected+": "), ContainSubstring(v1alpha1.EventRequeueDelayed+": "), ContainSubstring("mark Job "),
			ContainSubstring("Created a Job"), // what is logged for each message
		))
		Expect(told()).NotTo(ContainSubstring(secret))
		Expect(told()).NotTo(ContainSubstring("quoted: "))
	})
})
