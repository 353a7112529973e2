package rights_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/rig"
)

// bound is a binding with a queue of its own.
type bound struct {
	*v1alpha1.QueueBinding
	queue *rig.Queue
}

// bind makes a queue and a binding.
func bind(ctx context.Context, namespace, name string, change func(*v1alpha1.QueueBindingSpec)) *bound {
	GinkgoHelper()
	queue, err := cluster.CreateQueue(ctx, namespace+"-"+name, "", 0)
	Expect(err).NotTo(HaveOccurred())
	b := rig.Binding(namespace, name, queue.URL)
	if change != nil {
		change(&b.Spec)
	}
	Eventually(func() error { return k8s.Create(ctx, b) }).Should(Succeed(), "policies have to see grants first")
	DeferCleanup(func(ctx SpecContext) { Expect(k8s.Delete(ctx, b)).To(Succeed()) })
	return &bound{b, queue}
}

func (b *bound) send(ctx context.Context, bodies ...string) {
	GinkgoHelper()
	for _, body := range bodies {
		_, err := b.queue.Send(ctx, body)
		Expect(err).NotTo(HaveOccurred())
	}
}

// status reads the binding's status, for Eventually.
func (b *bound) status(ctx context.Context) v1alpha1.QueueBindingStatus {
	current := &v1alpha1.QueueBinding{}
	if err := k8s.Get(ctx, client.ObjectKeyFromObject(b.QueueBinding), current); err != nil {
		return v1alpha1.QueueBindingStatus{}
	}
	return current.Status
}

// attempts are those of its Jobs.
func (b *bound) attempts(ctx context.Context) []string {
	GinkgoHelper()
	jobs := &batchv1.JobList{}
	Expect(k8s.List(ctx, jobs, client.InNamespace(b.Namespace), client.MatchingLabels{v1alpha1.LabelBinding: b.Name})).To(Succeed())
	var attempts []string
	for _, each := range jobs.Items {
		attempts = append(attempts, each.Annotations[v1alpha1.AnnotationAttempt])
	}
	return attempts
}

// ready matches a status by the beginning of the reason, and by what the message says.
func ready(reason, message string) OmegaMatcher {
	return HaveField("Conditions", ContainElement(And(HaveField("Type", v1alpha1.ConditionReady), HaveField("Reason", reason), HaveField("Message", ContainSubstring(message)))))
}

// untouched asserts that nobody receives from the binding's queue, which holds one message.
func (b *bound) untouched(ctx context.Context) {
	GinkgoHelper()
	Consistently(func() ([]int, error) {
		visible, hidden, err := b.queue.Visible(ctx)
		return []int{visible, hidden}, err
	}).Should(Equal([]int{1, 0}))
}

// credentials makes a Secret that a binding may name.
func credentials(ctx context.Context, namespace string) {
	GinkgoHelper()
	Expect(k8s.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "keys"},
		StringData: map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
	})).To(Succeed())
}

func inFiles(s *v1alpha1.QueueBindingSpec) { s.Message.Delivery = v1alpha1.DeliverFile }

func withKeys(s *v1alpha1.QueueBindingSpec) {
	s.Queue.Credentials = &v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: "keys"}}
}

func refused(s *v1alpha1.QueueBindingSpec) {
	inFiles(s)
	s.JobTemplate.Metadata.Labels = map[string]string{labelRefused: "true"}
}

// requeueAll asks for the failed Jobs of a binding by the annotation.
func requeueAll(ctx context.Context, b *bound) {
	GinkgoHelper()
	before := b.DeepCopy()
	metav1.SetMetaDataAnnotation(&b.ObjectMeta, v1alpha1.AnnotationRequeue, "all")
	Expect(k8s.Patch(ctx, b.QueueBinding, client.MergeFrom(before))).To(Succeed())
}

// work has messages become Jobs, rejects some, and requeues what failed, by the subresource or by the annotation.
func work(ctx context.Context, namespace string, bySubresource bool) {
	GinkgoHelper()
	pings := bind(ctx, namespace, "pings", nil)
	// What is no JSON is rejected; the second event of the kind is counted up.
	pings.send(ctx, rig.Body(1, "127.0.0.1", 0.1), rig.Body(2, "this.is.invalid", 0.1), "neither", "nor")
	Eventually(pings.status).WithArguments(ctx).Should(And(HaveField("SucceededJobs", HaveValue(BeEquivalentTo(1))), HaveField("FailedJobs", HaveValue(BeEquivalentTo(1)))))
	if bySubresource {
		Eventually(func() error { return requeue(ctx, namespace, pings.Name) }).Should(Succeed())
	} else {
		requeueAll(ctx, pings)
	}
	// The Job that failed is deleted once its successor exists.
	Eventually(pings.attempts).WithArguments(ctx).Should(ConsistOf("1", "2"))
	Eventually(func() string {
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pings.QueueBinding), pings.QueueBinding)).To(Succeed())
		return pings.Annotations[v1alpha1.AnnotationRequeue]
	}).Should(BeEmpty())
}

// workWithSecrets has messages kept in Secrets, one that becomes no Job included, and a queue opened with credentials.
func workWithSecrets(ctx context.Context, namespace string) {
	GinkgoHelper()
	credentials(ctx, namespace)
	files, denied, keys := bind(ctx, namespace, "files", inFiles), bind(ctx, namespace, "denied", refused), bind(ctx, namespace, "keys", withKeys)
	for _, each := range []*bound{files, denied, keys} {
		each.send(ctx, rig.Body(1, "127.0.0.1", 0.1))
	}
	for _, each := range []*bound{files, keys} {
		Eventually(each.status).WithArguments(ctx).Should(HaveField("SucceededJobs", HaveValue(BeEquivalentTo(1))))
	}
	Eventually(denied.status).WithArguments(ctx).Should(HaveField("LastRejection.Reason", v1alpha1.RejectedAdmissionDenied))
	Eventually(func() []string {
		secrets := &corev1.SecretList{}
		Expect(k8s.List(ctx, secrets, client.InNamespace(namespace), client.HasLabels{v1alpha1.LabelBinding})).To(Succeed())
		var owners []string
		for _, each := range secrets.Items {
			owners = append(owners, metav1.GetControllerOf(&each).Kind)
		}
		return owners
	}).Should(ConsistOf("Job"), "the Secret of the Job that was refused is gone, the other is its Job's")
}
