package operator_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var _ = Describe("A binding", func() {
	It("that is deleted takes its Jobs along and leaves the queue alone", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx)
		w.queue.sendMany(ctx, 2)
		Eventually(status(ctx, binding)).Should(counts(0, 2, 0, 0))
		Expect(k8s.Delete(ctx, binding)).To(Succeed())
		Eventually(w.jobs).WithArguments(ctx).Should(BeEmpty())
		w.queue.sendMany(ctx, 2)
		// The poll that was open may receive once more, and gives back what it got.
		Eventually(w.queue.numbers(ctx)).Should(Equal([]string{"2", "0"}))
		Consistently(w.queue.numbers(ctx)).Should(Equal([]string{"2", "0"}))
		Expect(w.jobs(ctx)).To(BeEmpty())
	})

	It("that is created again under its name gets the messages, and its predecessor none", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx)
		Eventually(status(ctx, binding)).Should(ready(HavePrefix("True Running")))
		Expect(k8s.Delete(ctx, binding)).To(Succeed())
		again := w.binding(ctx)
		w.queue.sendMany(ctx, 5)
		Eventually(status(ctx, again)).Should(counts(0, 5, 0, 0))
		for _, job := range w.jobs(ctx) {
			Expect(metav1.IsControlledBy(&job, again)).To(BeTrue())
		}
	})

	It("that is deleted with its namespace holds nothing up", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx)
		w.queue.sendMany(ctx, 2)
		Eventually(status(ctx, binding)).Should(counts(0, 2, 0, 0))
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
		Expect(k8s.Delete(ctx, namespace)).To(Succeed())
		Eventually(func() bool {
			return apierrors.IsNotFound(k8s.Get(ctx, client.ObjectKeyFromObject(namespace), namespace))
		}).Should(BeTrue())
	})
})

var _ = Describe("The operator", func() {
	It("ends on SIGTERM with 0 and its successor goes on", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx)
		Eventually(status(ctx, binding)).Should(ready(HavePrefix("True"))) // one that is just starting does not know the signal yet
		w.queue.sendMany(ctx, 20)
		Expect(operator.Terminate(ctx)).To(Succeed())
		w.queue.sendMany(ctx, 20)
		operator = startOperator()
		Eventually(status(ctx, binding)).Should(counts(0, 40, 0, 0))
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))
	})
})
