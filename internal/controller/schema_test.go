package controller_test

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// The whole schema is tested beside it, in api/v1alpha1.
var _ = Describe("The schema", func() {
	DescribeTable("refuses",
		func(ctx SpecContext, change func(*v1alpha1.QueueBinding), words string) {
			binding := newBinding("default")
			change(binding)
			Expect(k8s.Create(ctx, binding)).To(MatchError(ContainSubstring(words)))
		},
		Entry("a name that leaves no room for those of Jobs", func(b *v1alpha1.QueueBinding) { b.Name = strings.Repeat("x", 51) }, "at most 50 characters"),
		Entry("two kinds of credentials", func(b *v1alpha1.QueueBinding) {
			b.Spec.Queue.Credentials = &v1alpha1.Credentials{RoleARN: "arn:aws:iam::123456789012:role/a", SecretRef: &v1alpha1.SecretReference{Name: "a"}}
		}, "exactly one of roleARN and secretRef"),
		Entry("a template whose failed Jobs would vanish", func(b *v1alpha1.QueueBinding) {
			b.Spec.JobTemplate.Spec.TTLSecondsAfterFinished = new(int32(60))
		}, "use successfulJobsHistoryLimit"),
		Entry("a template whose Pods never end", func(b *v1alpha1.QueueBinding) {
			b.Spec.JobTemplate.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyAlways
		}, "must be set to Never or OnFailure"),
	)

	It("refuses another queue for a binding that exists", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		before := w.current(ctx)
		changed := before.DeepCopy()
		changed.Spec.Queue.URL += "-other"
		Expect(k8s.Patch(ctx, changed, client.MergeFrom(before))).To(MatchError(ContainSubstring("is immutable")))
	})
})
