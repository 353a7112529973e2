package kueue_test

import (
	"context"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/recorder"
)

var _ = Describe("Jobs that wait for quota", func() {
	// P2, P3
	It("are suspended, hold their slots but are not pending, and run as the quota has room", func(ctx SpecContext) {
		const messages, limit, atOnce = 30, 20, 4
		w := newWorkspace(ctx, "0")
		most := followRunning(ctx, w)
		queue := w.queue(ctx, "work")
		send(ctx, queue, messages, 1)
		binding := w.binding(ctx, "work", queue, maxActive(limit), func(b *v1alpha1.QueueBinding) {
			b.Spec.Concurrency.MaxPendingJobs = new(int32(2)) // suspended Jobs do not count
		})

		By("having no quota")
		Eventually(status(ctx, binding)).Should(And(counts(limit, 0), condition(v1alpha1.ConditionReady, HavePrefix("True Running"))))
		Consistently(w.count(ctx, binding, waiting)).Should(Equal(limit))
		Expect(queue.Holds(ctx, messages-limit)).To(BeEmpty())

		By("having a quota of one CPU")
		w.setQuota(ctx)
		Eventually(status(ctx, binding)).Should(counts(0, messages))
		Expect(most()).To(Equal(atOnce), "Jobs that ran at once")
		Eventually(queue.Holds).WithArguments(ctx, 0).Should(BeEmpty())
		w.expectOnce(messages, binding)
	})

	It("keep what the template says of Kueue, and the message, when Kueue starts them on its flavor's nodes", func(ctx SpecContext) {
		w := newWorkspace(ctx, "1")
		queue := w.queue(ctx, "work")
		binding := w.binding(ctx, "work", queue, func(b *v1alpha1.QueueBinding) {
			b.Spec.JobTemplate.Metadata.Annotations = map[string]string{"kueue.x-k8s.io/queue-reason": "as the template has it"}
		})
		id, err := queue.Send(ctx, `{"target": "127.0.0.1", "duration": 1}`)
		Expect(err).NotTo(HaveOccurred())
		Eventually(status(ctx, binding)).Should(counts(0, 1))

		job := w.jobs(ctx, binding)[0]
		Expect(job.Labels).To(HaveKeyWithValue(labelQueue, localQueue))
		Expect(job.Annotations).To(HaveKeyWithValue("kueue.x-k8s.io/queue-reason", "as the template has it"))
		Expect(job.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationMessageID, id))
		Expect(job.Spec.Template.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationBody, `{"target": "127.0.0.1", "duration": 1}`))
		Expect(job.Spec.Template.Spec.NodeSelector).To(Equal(map[string]string{corev1.LabelOSStable: "linux"}))
	})

	It("stay suspended, and hold their slots, when Kueue has ended them for good", func(ctx SpecContext) {
		w := newWorkspace(ctx, "1")
		queue := w.queue(ctx, "work")
		send(ctx, queue, 2, 600)
		binding := w.binding(ctx, "work", queue, maxActive(1), func(b *v1alpha1.QueueBinding) {
			b.Spec.JobTemplate.Metadata.Labels["kueue.x-k8s.io/max-exec-time-seconds"] = "1"
		})
		Eventually(w.count(ctx, binding, running)).Should(Equal(1))
		Eventually(w.count(ctx, binding, waiting)).Should(Equal(1))
		Eventually(status(ctx, binding)).Should(counts(1, 0))
		Consistently(w.count(ctx, binding, waiting)).Should(Equal(1))
		Expect(w.jobs(ctx, binding)).To(HaveLen(1))
		Expect(queue.Holds(ctx, 1)).To(BeEmpty())
	})

	It("go with their binding, while their messages stay under OnJobSucceeded", func(ctx SpecContext) {
		const messages = 3
		w := newWorkspace(ctx, "0")
		queue := w.queue(ctx, "work")
		send(ctx, queue, messages, 1)
		binding := w.binding(ctx, "work", queue, onJobSucceeded(600), func(b *v1alpha1.QueueBinding) {
			b.Spec.JobTemplate.Spec.Template.Spec.TerminationGracePeriodSeconds = new(int64(1)) // messages wait for it
		})
		Eventually(w.count(ctx, binding, waiting)).Should(Equal(messages))
		Eventually(w.workloads).WithArguments(ctx).Should(HaveLen(messages))

		deleteBackground(ctx, binding)
		Eventually(w.jobs).WithArguments(ctx, binding).Should(BeEmpty())
		Eventually(w.workloads).WithArguments(ctx).Should(BeEmpty())
		Eventually(visible(ctx, queue)).Should(Equal([]int{messages, 0}))
	})
})

// followRunning follows the Jobs of a workspace from now on, and returns how many were ever admitted and unfinished at once: as
// the API server stored it, nothing between is missed.
func followRunning(ctx SpecContext, w *workspace) (most func() int) {
	GinkgoHelper()
	var mu sync.Mutex
	now, peak := map[types.UID]bool{}, 0
	see := func(object client.Object, gone bool) {
		if object.GetNamespace() != w.namespace {
			return
		}
		delete(now, object.GetUID())
		if !gone && running(object.(*batchv1.Job)) {
			now[object.GetUID()] = true
		}
		peak = max(peak, len(now))
	}
	follower := &recorder.Follower{
		Client: k8s, Kind: &batchv1.JobList{},
		Observe: func(event watch.EventType, object client.Object) {
			mu.Lock()
			defer mu.Unlock()
			see(object, event == watch.Deleted)
		},
		Replace: func(objects []client.Object) {
			mu.Lock()
			defer mu.Unlock()
			clear(now)
			for _, object := range objects {
				see(object, false)
			}
		},
	}
	Expect(follower.List(ctx)).To(Succeed())
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	var followed sync.WaitGroup
	followed.Go(func() { follower.Follow(following) })
	DeferCleanup(func() {
		stop()
		followed.Wait()
	})
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return peak
	}
}
