package operator_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

// onJobSucceeded keeps messages on the queue until their Jobs have succeeded, and hides them for so many seconds.
func onJobSucceeded(visibility int32) func(*v1alpha1.QueueBinding) {
	return func(b *v1alpha1.QueueBinding) {
		b.Spec.Acknowledge = v1alpha1.AcknowledgeOnJobSucceeded
		b.Spec.Queue.VisibilityTimeoutSeconds = &visibility
	}
}

var _ = Describe("OnJobSucceeded", func() {
	It("holds a message for ten times its visibility timeout, through three crashes of the operator, for one Job", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, onJobSucceeded(4))
		w.queue.send(ctx, `{"target": "127.0.0.1", "duration": 40}`)
		Eventually(status(ctx, binding)).Should(counts(1, 0, 0, 0))
		for range 3 {
			// Each crash leaves it hidden for a part of the timeout only.
			time.Sleep(9 * time.Second)
			Expect(w.queue.numbers(ctx)()).To(Equal([]string{"0", "1"}))
			operator.Kill()
			operator = startOperator()
		}
		Eventually(status(ctx, binding)).Should(counts(0, 1, 0, 0))
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))
		Expect(created(ctx, w)).To(HaveLen(1))
		// 1 unless a restart took longer than what was left: the Job then answered for the message anew.
		By("receives: " + w.jobs(ctx)[0].Annotations[v1alpha1.AnnotationReceiveCount])
	})

	It("leaves a message that cannot succeed to the dead-letter queue, which a requeue of all empties", func(ctx SpecContext) {
		dead := deadLetterName(ctx)
		w := newWorkspace(ctx, redrive(dead, 1)...)
		binding := w.binding(ctx, onJobSucceeded(10))
		w.send(ctx, "a.invalid")
		Eventually(status(ctx, binding)).Should(counts(0, 0, 1, 0))
		failed := w.jobs(ctx)[0].Name

		annotate(ctx, binding, failed)
		Eventually(status(ctx, binding)).Should(HaveField("LastRequeue", HaveField("Refused", ConsistOf(And(
			HaveField("Reason", v1alpha1.RefusedMessageOnQueue), HaveField("JobName", failed))))))
		Eventually(status(ctx, binding), 3*time.Minute).Should(HaveField("Queue", HaveField("DeadLetterMessages", HaveValue(BeEquivalentTo(1)))))
		Expect(created(ctx, w)).To(HaveLen(1))

		annotate(ctx, binding, "all")
		Eventually(func() []job.Lineage { return created(ctx, w) }).Should(HaveLen(2))
		Eventually(func() map[string]string { return annotationsOf(ctx, binding) }).ShouldNot(HaveKey(v1alpha1.AnnotationRequeue))
		Eventually(status(ctx, binding)).Should(counts(0, 0, 2, 0))
	})

	It("tells that there is no dead-letter queue to requeue from", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, onJobSucceeded(10))
		annotate(ctx, binding, "all")
		Eventually(status(ctx, binding)).Should(HaveField("LastRequeue", HaveField("Refused", ConsistOf(HaveField("Reason", v1alpha1.RefusedNoDeadLetterQueue)))))
	})

	It("brings back the message of a Job that was deleted, after its Pods' grace period", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, onJobSucceeded(600), func(b *v1alpha1.QueueBinding) {
			b.Spec.JobTemplate.Spec.Template.Spec.TerminationGracePeriodSeconds = new(int64(4))
		})
		w.queue.send(ctx, `{"target": "127.0.0.1", "duration": 6}`)
		Eventually(status(ctx, binding)).Should(counts(1, 0, 0, 0))
		first := w.jobs(ctx)[0]
		Expect(k8s.Delete(ctx, &first, client.PropagationPolicy(metav1.DeletePropagationBackground))).To(Succeed())
		deleted := time.Now()
		Eventually(func() bool {
			jobs := w.jobs(ctx)
			return len(jobs) == 1 && jobs[0].UID != first.UID
		}).Should(BeTrue())
		Expect(time.Since(deleted)).To(BeNumerically(">=", 3*time.Second))
		Eventually(status(ctx, binding)).Should(counts(0, 1, 0, 0))
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))
	})

	It("holds up neither a binding nor a namespace that is deleted, though the queue is gone and no operator runs", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, onJobSucceeded(10))
		w.queue.send(ctx, `{"target": "127.0.0.1", "duration": 600}`)
		Eventually(status(ctx, binding)).Should(counts(1, 0, 0, 0))
		_, err := w.queue.client.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &w.queue.url})
		Expect(err).NotTo(HaveOccurred())
		operator.Kill()
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
		Expect(k8s.Delete(ctx, namespace)).To(Succeed())
		Eventually(func() bool {
			return apierrors.IsNotFound(k8s.Get(ctx, client.ObjectKeyFromObject(namespace), namespace))
		}).Should(BeTrue())
		operator = startOperator()
	})

	It("keeps the order of FIFO groups through failures and restarts, and runs them side by side", func(ctx SpecContext) {
		const groups, messages, failures, restarts = 5, 20, 6, 3
		w := newWorkspace(ctx, "FifoQueue", "true", "ContentBasedDeduplication", "true")
		for number := range messages {
			for group := range groups {
				w.queue.send(ctx, fmt.Sprintf(`{"target": "127.0.0.1", "duration": 0.5, "group": "g%d", "number": %d}`, group, number), func(in *sqs.SendMessageInput) {
					in.MessageGroupId = new(fmt.Sprintf("g%d", group))
				})
			}
		}
		binding := w.binding(ctx, onJobSucceeded(10), func(b *v1alpha1.QueueBinding) {
			b.Spec.Concurrency.MaxActiveJobs = new(int32(groups))
			b.Spec.SuccessfulJobsHistoryLimit = new(int32(groups * messages))
		})

		seed := rand.Uint64()
		By(fmt.Sprintf("failing and restarting by seed %d", seed))
		random := rand.New(rand.NewPCG(seed, 0))
		for n := range failures {
			time.Sleep(time.Duration(1+random.IntN(3)) * time.Second)
			failOne(ctx, w, random)
			if n%(failures/restarts) == 0 {
				operator.Kill()
				operator = startOperator()
			}
		}
		Eventually(status(ctx, binding), 6*time.Minute).Should(counts(0, groups*messages, failures, 0))
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))

		side := false
		for group, jobs := range byGroup(w.jobs(ctx)) {
			next := 0
			for i, each := range jobs {
				Expect(numberOf(each)).To(Equal(next), "in group %s, Job %d in order of their starts is %s", group, i, each.Name)
				if job.Observe(&each).State == job.Succeeded {
					next++
				}
				if i > 0 {
					Expect(each.Status.StartTime.Before(new(metav1.NewTime(job.Observe(&jobs[i-1]).Finished)))).To(BeFalse(), "in group %s, Job %d began before the one before it had ended", group, i)
				}
			}
			Expect(next).To(Equal(messages))
			for other, others := range byGroup(w.jobs(ctx)) {
				side = side || other != group && others[0].Status.StartTime.Before(new(metav1.NewTime(job.Observe(&jobs[0]).Finished))) &&
					jobs[0].Status.StartTime.Before(new(metav1.NewTime(job.Observe(&others[0]).Finished)))
			}
		}
		Expect(side).To(BeTrue(), "no two groups ran side by side")
	})
})

// failOne makes a Job that runs fail, by deleting its Pod.
func failOne(ctx SpecContext, w *workspace, random *rand.Rand) {
	GinkgoHelper()
	Eventually(func() error {
		var running []batchv1.Job
		for _, each := range w.jobs(ctx) {
			if job.Observe(&each).State == job.Active && each.Status.Active > 0 {
				running = append(running, each)
			}
		}
		if len(running) == 0 {
			return fmt.Errorf("no Job runs")
		}
		chosen := running[random.IntN(len(running))]
		if err := k8s.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(w.namespace), client.MatchingLabels{batchv1.JobNameLabel: chosen.Name}); err != nil {
			return err
		}
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			if err := k8s.Get(ctx, client.ObjectKeyFromObject(&chosen), &chosen); err != nil {
				return err
			}
			switch job.Observe(&chosen).State {
			case job.Failed:
				return nil
			case job.Succeeded:
				return fmt.Errorf("Job %s was quicker", chosen.Name)
			}
		}
		return fmt.Errorf("Job %s did not fail", chosen.Name)
	}).Should(Succeed())
}

// byGroup are Jobs by message group, in the order of their starts.
func byGroup(jobs []batchv1.Job) map[string][]batchv1.Job {
	groups := map[string][]batchv1.Job{}
	for _, each := range jobs {
		group := each.Annotations[v1alpha1.AnnotationGroupID]
		groups[group] = append(groups[group], each)
	}
	for _, each := range groups {
		slices.SortFunc(each, func(a, b batchv1.Job) int {
			if c := a.Status.StartTime.Compare(b.Status.StartTime.Time); c != 0 {
				return c
			}
			return numberOf(a) - numberOf(b) // within a second
		})
	}
	return groups
}

func numberOf(of batchv1.Job) int {
	var body struct{ Number int }
	Expect(json.Unmarshal([]byte(of.Spec.Template.Annotations[v1alpha1.AnnotationBody]), &body)).To(Succeed())
	return body.Number
}

// created are the lineages of all Jobs that were ever created in the namespace, one for each Job.
func created(ctx SpecContext, w *workspace) []job.Lineage {
	GinkgoHelper()
	var all []job.Lineage
	for _, each := range w.jobs(ctx) {
		lineage, ok := job.RecordedLineage(&each)
		Expect(ok).To(BeTrue())
		all = append(all, lineage)
	}
	return all
}

func annotationsOf(ctx SpecContext, binding *v1alpha1.QueueBinding) map[string]string {
	GinkgoHelper()
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)).To(Succeed())
	return binding.Annotations
}
