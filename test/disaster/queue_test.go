package disaster_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/rig"
)

// lineageKey is the Secret with which the operator signs.
func lineageKey() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "queuebinding-lineage"}}
}

// requeuedOnTheQueue is a place with one failed Job whose message was sent again and waits.
func requeuedOnTheQueue(ctx SpecContext) *place {
	GinkgoHelper()
	p := newPlace(ctx)
	p.send(ctx, 1, "a.invalid", 0)
	Eventually(p.status).WithArguments(ctx).Should(counts(0, 0, 1, 0))
	p.suspend(ctx, true)
	p.requeueAll(ctx)
	Eventually(p.status).WithArguments(ctx).Should(counts(0, 0, 0, 1))
	Eventually(p.held(ctx, 1)).Should(BeEmpty())
	return p
}

var _ = Describe("The key of lineages", func() {
	It("deleted under a running operator costs nothing", func(ctx SpecContext) {
		p := requeuedOnTheQueue(ctx)
		before := lineageKey()
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(before), before)).To(Succeed())
		Expect(k8s.Delete(ctx, lineageKey())).To(Succeed())
		Eventually(func() []byte {
			after := lineageKey()
			if k8s.Get(ctx, client.ObjectKeyFromObject(after), after) != nil {
				return nil
			}
			return after.Data["previous"]
		}).Should(Equal(before.Data["key"]))
		p.suspend(ctx, false)
		Eventually(p.attempts).WithArguments(ctx).Should(ConsistOf("2"))
		Eventually(p.status).WithArguments(ctx).Should(counts(0, 0, 1, 0))
	})

	It("gone with the operator's namespace makes new messages of requeues, whose failed Jobs stay", func(ctx SpecContext) {
		p := requeuedOnTheQueue(ctx)
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: home}}
		operator.Kill()
		Expect(k8s.Delete(ctx, namespace)).To(Succeed())
		Eventually(func() bool {
			return apierrors.IsNotFound(k8s.Get(ctx, client.ObjectKeyFromObject(namespace), namespace))
		}).Should(BeTrue())
		Expect(cluster.CreateNamespace(ctx, home)).To(Succeed())
		operator = startOperator(cluster, "operator")
		p.suspend(ctx, false)
		Eventually(p.attempts).WithArguments(ctx).Should(ConsistOf("1", "1"))
		Eventually(p.status).WithArguments(ctx).Should(counts(0, 0, 1, 1))
	})
})

var _ = Describe("The queue deleted and made again under its name", func() {
	It("keeps the Jobs, is told of meanwhile, and is used again without a restart", func(ctx SpecContext) {
		created, succeeded := newPlace(ctx), newPlace(ctx, onJobSucceeded)
		for _, p := range []*place{created, succeeded} {
			p.send(ctx, 1, "running", 8)
			Eventually(p.status).WithArguments(ctx).Should(counts(1, 0, 0, 0))
			Expect(p.queue.Delete(ctx)).To(Succeed())
		}
		for _, p := range []*place{created, succeeded} {
			Eventually(p.status).WithArguments(ctx).Should(ready("False QueueNotFound"))
			_, err := cluster.CreateQueue(ctx, p.queue.Name, "", 0)
			Expect(err).NotTo(HaveOccurred())
		}
		for _, p := range []*place{created, succeeded} {
			Eventually(p.status).WithArguments(ctx).Should(And(counts(0, 1, 0, 0), ready("True Running")))
			p.send(ctx, 2, "afterwards", 0)
			Eventually(p.status).WithArguments(ctx).Should(counts(0, 2, 0, 0))
			Eventually(p.held(ctx, 0)).Should(BeEmpty())
		}
	})
})

var _ = Describe("A purged queue", func() {
	It("lets the Job of a message that it held succeed, under OnJobSucceeded, and not be tried again", func(ctx SpecContext) {
		p := newPlace(ctx, onJobSucceeded)
		p.send(ctx, 1, "running", 8)
		p.send(ctx, 2, "a.invalid", 8)
		Eventually(p.status).WithArguments(ctx).Should(counts(2, 0, 0, 0))
		Expect(p.queue.Purge(ctx)).To(Succeed())
		Eventually(p.status).WithArguments(ctx).Should(counts(0, 1, 1, 0))
		Expect(p.queue.Holds(ctx, 0)).To(BeEmpty())
		p.send(ctx, 3, "afterwards", 0)
		Eventually(p.status).WithArguments(ctx).Should(counts(0, 2, 1, 0))
	})
})

var _ = Describe("Two clusters on one queue", func() {
	It("run each message in one of them, and a requeue that comes to the other as a new message", func(ctx SpecContext) {
		other, err := rig.StartCluster(ctx, GinkgoWriter)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() error { return other.End(false) })
		Expect(other.CreateNamespace(ctx, home)).To(Succeed())
		second := startOperator(other, "second", "AWS_ENDPOINT_URL_SQS="+cluster.SQSEndpoint)
		DeferCleanup(func() { second.Kill() })

		a := newPlace(ctx)
		b := newPlaceOn(ctx, other, a.queue)
		for number := range 20 {
			a.send(ctx, number, "shared", 0)
		}
		Eventually(func() int { return len(a.jobs(ctx)) + len(b.jobs(ctx)) }).Should(Equal(20))
		Eventually(a.held(ctx, 0)).Should(BeEmpty())
		roots := map[string]bool{}
		for _, job := range append(a.jobs(ctx), b.jobs(ctx)...) {
			roots[job.Annotations[v1alpha1.AnnotationMessageID]] = true
		}
		Expect(roots).To(HaveLen(20))

		b.suspend(ctx, true)
		a.send(ctx, 21, "a.invalid", 0)
		Eventually(func() int32 { return ptr.Deref(a.status(ctx).FailedJobs, 0) }).Should(Equal(int32(1)))
		a.suspend(ctx, true)
		a.requeueAll(ctx)
		Eventually(a.held(ctx, 1)).Should(BeEmpty())
		b.suspend(ctx, false)
		Eventually(func() int32 { return ptr.Deref(b.status(ctx).FailedJobs, 0) }).Should(Equal(int32(1)))
		Expect(b.attempts(ctx)).NotTo(ContainElement("2"))
		Eventually(func() int32 { return ptr.Deref(a.status(ctx).RequeuedJobs, 0) }).Should(Equal(int32(1)))
	})
})
