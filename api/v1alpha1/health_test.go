package v1alpha1_test

import (
	"os"
	"os/exec"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/health"
)

// There is no operator in this suite: a binding is as its author made it, and its status as a test writes it. What each state of the
// operator's gives is tested in internal/controller.
var _ = Describe("The health of a binding", func() {
	current := func(ctx SpecContext, name string) *unstructured.Unstructured {
		GinkgoHelper()
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("QueueBinding"))
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: "default", Name: name}, object)).To(Succeed())
		return object
	}
	// observe writes a status as the operator does, of the generation that there is.
	observe := func(ctx SpecContext, name string) {
		GinkgoHelper()
		binding := &v1alpha1.QueueBinding{}
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: "default", Name: name}, binding)).To(Succeed())
		before := binding.DeepCopy()
		binding.Status.ObservedGeneration = binding.Generation
		binding.Status.Conditions = []metav1.Condition{{
			Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRunning, Message: "m",
			ObservedGeneration: binding.Generation, LastTransitionTime: metav1.Now(),
		}}
		Expect(k8s.Status().Patch(ctx, binding, client.MergeFrom(before))).To(Succeed())
	}
	// waits runs `kubectl wait`, and returns whether that was told of the condition in time.
	waits := func(ctx SpecContext, name, timeout string) bool {
		command := exec.CommandContext(ctx, "/usr/bin/env", "kubectl", "wait", "--for=condition=Ready", "--timeout="+timeout, "queuebinding/"+name)
		command.Env = append(os.Environ(), environment.Env...)
		output, err := command.CombinedOutput()
		AddReportEntry(filepath.Base(command.Path), string(output))
		return err == nil
	}

	It("is waited for, until the operator has seen the binding, and again with each change", func(ctx SpecContext) {
		Expect(k8s.Create(ctx, parsed("health", nil))).To(Succeed())
		pending := func() {
			GinkgoHelper()
			Expect(health.KStatus(current(ctx, "health"))).To(Equal("InProgress"))
			Expect(health.ArgoCD(current(ctx, "health"))).To(HavePrefix("Progressing"))
			Expect(waits(ctx, "health", "1s")).To(BeFalse())
		}
		done := func() {
			GinkgoHelper()
			Expect(health.KStatus(current(ctx, "health"))).To(Equal("Current"))
			Expect(health.ArgoCD(current(ctx, "health"))).To(HavePrefix("Healthy"))
			Expect(waits(ctx, "health", "1m")).To(BeTrue())
		}
		pending()
		observe(ctx, "health")
		done()

		changed := current(ctx, "health")
		Expect(unstructured.SetNestedField(changed.Object, true, "spec", "suspend")).To(Succeed())
		Expect(k8s.Update(ctx, changed)).To(Succeed())
		pending()
		observe(ctx, "health")
		done()
	})
})
