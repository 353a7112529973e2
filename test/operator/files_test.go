package operator_test

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// inFiles has messages delivered in files.
func inFiles(b *v1alpha1.QueueBinding) {
	b.Spec.Message.Delivery = v1alpha1.DeliverFile
	b.Spec.Queue.VisibilityTimeoutSeconds = new(int32(2))
}

// noSecrets has a quota refuse all Secrets in a namespace.
func noSecrets(ctx SpecContext, namespace string) *corev1.ResourceQuota {
	GinkgoHelper()
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "secrets"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse("0")}},
	}
	Expect(k8s.Create(ctx, quota)).To(Succeed())
	Eventually(func() corev1.ResourceList {
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(quota), quota)).To(Succeed())
		return quota.Status.Hard
	}).ShouldNot(BeEmpty())
	return quota
}

var _ = Describe("A message in files", func() {
	// The only Secret of the namespace, as there is one Job.
	secretOf := func(ctx SpecContext, w *workspace) corev1.Secret {
		GinkgoHelper()
		list := &corev1.SecretList{}
		Expect(k8s.List(ctx, list, client.InNamespace(w.namespace))).To(Succeed())
		Expect(list.Items).To(HaveLen(1))
		return list.Items[0]
	}

	It("of 900 KiB is in a Secret of its Job, goes with it, and is requeued whole", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, inFiles)
		body := `{"target": "x.invalid", "pad": "` + large(900<<10) + `"}`
		w.queue.send(ctx, body, func(in *sqs.SendMessageInput) {
			in.MessageAttributes = map[string]types.MessageAttributeValue{
				"raw": {DataType: aws.String("Binary.x"), BinaryValue: []byte{0, 0xff}},
			}
		})
		Eventually(status(ctx, binding)).Should(counts(0, 0, 1, 0))
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))
		first := secretOf(ctx, w)
		Expect(string(first.Data["body"])).To(Equal(body), "the body is not what was sent")
		Expect(string(first.Data["attributes.json"])).To(Equal(`{"raw":{"type":"Binary.x","binary":"AP8="}}`))
		Expect(metav1.IsControlledBy(&first, &w.jobs(ctx)[0])).To(BeTrue())

		annotate(ctx, binding, "all")
		Eventually(attempts).WithArguments(ctx, w).Should(ConsistOf("2"))
		Eventually(func() string {
			list := &corev1.SecretList{}
			Expect(k8s.List(ctx, list, client.InNamespace(w.namespace))).To(Succeed())
			if len(list.Items) != 1 {
				return fmt.Sprintf("%d Secrets", len(list.Items))
			}
			return list.Items[0].Name
		}).Should(Equal(w.jobs(ctx)[0].Name))
		second := secretOf(ctx, w)
		Expect(second.Data).To(Equal(first.Data))
	})

	It("has its Secret before there is a Job that would wait for it, also over a crash", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		quota := noSecrets(ctx, w.namespace)
		binding := w.binding(ctx, inFiles)
		w.send(ctx, "x")
		Eventually(status(ctx, binding)).Should(And(ready(HavePrefix("False QuotaExceeded")), counts(0, 0, 0, 0)))
		Expect(w.jobs(ctx)).To(BeEmpty())
		operator.Kill()
		Expect(w.queue.numbers(ctx)()).NotTo(Equal(empty))
		operator = startOperator()
		Expect(k8s.Delete(ctx, quota)).To(Succeed())
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))
		Expect(w.jobs(ctx)).To(HaveLen(1))
		secret := secretOf(ctx, w)
		Expect(string(secret.Data["body"])).To(Equal(`{"target": "x"}`))
		Expect(metav1.GetControllerOf(&secret).UID).To(Equal(w.jobs(ctx)[0].UID))
	})

	It("whose Secret is refused for good has no Job and stays on the queue", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		refuse(ctx, w.namespace, "", "secrets", "true", "no Secrets here")
		binding := w.binding(ctx, inFiles)
		w.send(ctx, "x")
		Eventually(status(ctx, binding)).Should(HaveField("LastRejection.Message", ContainSubstring("ValidatingAdmissionPolicy %q", w.namespace)))
		Expect(w.jobs(ctx)).To(BeEmpty())
		Expect(w.queue.numbers(ctx)()).To(Equal([]string{"0", "1"}))
	})

	It("whose Job is refused for good leaves no Secret", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, inFiles)
		Eventually(status(ctx, binding)).Should(ready(HavePrefix("True")))
		refuse(ctx, w.namespace, "batch", "jobs", "true", "no Jobs here")
		trial := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "trial"}, Spec: binding.Spec.JobTemplate.Spec}
		Eventually(func() error { return k8s.Create(ctx, trial.DeepCopy(), client.DryRunAll) }).Should(MatchError(ContainSubstring("no Jobs here")))
		w.send(ctx, "x")
		Eventually(status(ctx, binding)).Should(HaveField("LastRejection.Message", ContainSubstring("ValidatingAdmissionPolicy %q", w.namespace)))
		list := &corev1.SecretList{}
		Expect(k8s.List(ctx, list, client.InNamespace(w.namespace))).To(Succeed())
		Expect(list.Items).To(BeEmpty())
		Expect(w.queue.numbers(ctx)()).To(Equal([]string{"0", "1"}))
	})
})
