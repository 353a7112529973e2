package operator_test

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/testenv"
)

var _ = Describe("A message", func() {
	It("becomes one Job, which the binding owns, and leaves the queue", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx)
		w.queue.send(ctx, `{"target": "127.0.0.1", "duration": 1}`, func(in *sqs.SendMessageInput) {
			in.MessageAttributes = map[string]types.MessageAttributeValue{"color": text("red")}
		})
		Eventually(w.jobs).WithArguments(ctx).Should(HaveLen(1))
		job := w.jobs(ctx)[0]
		Expect(metav1.IsControlledBy(&job, binding)).To(BeTrue())
		Expect(job.Spec.Template.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationAttributes, `{"color":"red"}`))
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))
		Eventually(status(ctx, binding)).Should(And(counts(0, 1, 0, 0), ready(HavePrefix("True Running"))))
		Expect(w.jobs(ctx)).To(HaveLen(1))
	})

	It("is run whatever it holds, or rejected with words, and stops nobody else", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx)
		good := []string{
			`{"target": "$(HOME) $$(duration) \"quoted\" \ud83c\udf89"}`, // escaped, as the emulator refuses a plain emoji

			"{\"target\": \"x\", \"n\": 9007199254740993,\n\"yaml\": \"a: [b]\\n\"}",
			`{"target": "x", "pad": "` + large(100<<10) + `"}`,
		}
		bad := []string{
			"target: yaml", " ", `{}`, `{"target": null}`, `{"target": "a\u0000b"}`, `[]`, `{"target": "x"`, large(200 << 10),
		}
		for _, body := range append(append([]string{}, bad...), good...) {
			w.queue.send(ctx, body)
		}
		Eventually(w.bodies).WithArguments(ctx).Should(ConsistOf(good))
		Eventually(w.queue.numbers(ctx)).Should(Equal([]string{"0", fmt.Sprint(len(bad))}))
		Eventually(status(ctx, binding)).Should(And(counts(0, len(good), 0, 0), ready(HavePrefix("True Running"))))
		rejection := status(ctx, binding)().LastRejection
		Expect(rejection).NotTo(BeNil())
		Expect(rejection.Message).NotTo(BeEmpty())
		Eventually(func() []string {
			events := &eventsv1.EventList{}
			Expect(k8s.List(ctx, events, client.InNamespace(w.namespace))).To(Succeed())
			var reasons []string
			for _, e := range events.Items {
				if e.Regarding.Kind == "QueueBinding" {
					reasons = append(reasons, e.Reason)
				}
			}
			return reasons
		}).Should(ContainElement(v1alpha1.EventMessageRejected))
		Expect(w.bodies(ctx)).To(ConsistOf(good))
	})

	It("that cannot become a Job is moved by the queue's own redrive policy", func(ctx SpecContext) {
		dead := deadLetterName(ctx)
		w := newWorkspace(ctx, redrive(dead, 1)...)
		binding := w.binding(ctx)
		w.queue.send(ctx, "not JSON")
		Eventually(status(ctx, binding)).Should(HaveField("LastRejection", Not(BeNil())))
		Eventually(status(ctx, binding)).Should(HaveField("Queue.DeadLetterQueueARN", HaveSuffix(dead)))
	})

	It("runs once though it is delivered again and the operator crashes", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.binding(ctx, func(b *v1alpha1.QueueBinding) {
			b.Spec.Queue.VisibilityTimeoutSeconds = new(int32(1))
			b.Spec.Concurrency.MaxActiveJobs = new(int32(100))
		})
		w.queue.sendMany(ctx, 100)
		for range 4 {
			time.Sleep(300 * time.Millisecond)
			operator.kill()
			operator = startOperator()
		}
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))
		seen := map[string]int{}
		for _, body := range w.bodies(ctx) {
			seen[body]++
		}
		Expect(seen).To(HaveLen(100))
		Expect(seen).To(HaveEach(1))
	})

	It("keeps its place in its group on a FIFO queue", func(ctx SpecContext) {
		w := newWorkspace(ctx, "FifoQueue", "true", "ContentBasedDeduplication", "true")
		w.binding(ctx, func(b *v1alpha1.QueueBinding) { b.Spec.Concurrency.MaxActiveJobs = new(int32(50)) })
		for n := range 8 {
			for _, group := range []string{"a", "b"} {
				w.queue.send(ctx, fmt.Sprintf(`{"target": "x", "group": %q, "n": %d}`, group, n), func(in *sqs.SendMessageInput) { in.MessageGroupId = aws.String(group) })
			}
		}
		Eventually(w.jobs).WithArguments(ctx).Should(HaveLen(16))
		newest := map[string]int64{}
		last := map[string]string{}
		for _, job := range byResourceVersionAtCreation(ctx, w) {
			group, body := job.Annotations[v1alpha1.AnnotationGroupID], job.Spec.Template.Annotations[v1alpha1.AnnotationBody]
			Expect(body > last[group]).To(BeTrue(), "%s after %s", body, last[group])
			last[group] = body
			newest[group]++
		}
		Expect(newest).To(Equal(map[string]int64{"a": 8, "b": 8}))
	})
})

// byResourceVersionAtCreation are the Jobs of a workspace in the order of their creation, as the watch from before
// shows them.
func byResourceVersionAtCreation(ctx SpecContext, w *workspace) []*batchv1.Job {
	GinkgoHelper()
	stream, err := k8s.Watch(ctx, &batchv1.JobList{}, client.InNamespace(w.namespace), &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: w.since}})
	Expect(err).NotTo(HaveOccurred())
	defer stream.Stop()
	var jobs []*batchv1.Job
	for len(jobs) < 16 {
		var e watch.Event
		Eventually(stream.ResultChan()).Should(Receive(&e))
		if e.Type == watch.Added {
			jobs = append(jobs, e.Object.(*batchv1.Job))
		}
	}
	return jobs
}

var _ = Describe("The limits", func() {
	It("hold while messages wait, in the API server's own watch", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		stream, err := k8s.Watch(ctx, &batchv1.JobList{}, client.InNamespace(w.namespace))
		Expect(err).NotTo(HaveOccurred())
		defer stream.Stop()
		w.queue.sendMany(ctx, 40)
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) { b.Spec.Concurrency.MaxActiveJobs = new(int32(7)) })

		active, most, finished := map[string]bool{}, 0, map[string]bool{}
		for len(finished) < 40 {
			var e watch.Event
			Eventually(stream.ResultChan()).Should(Receive(&e))
			job := e.Object.(*batchv1.Job)
			delete(active, job.Name)
			if isFinished(job) {
				finished[job.Name] = true
			} else if e.Type != watch.Deleted {
				active[job.Name] = true
			}
			most = max(most, len(active))
		}
		Expect(most).To(Equal(7))
		Eventually(status(ctx, binding)).Should(counts(0, 40, 0, 0))
	})

	It("let only so many wait for a node", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.queue.sendMany(ctx, 20)
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) {
			b.Spec.Concurrency.MaxPendingJobs = new(int32(3))
			b.Spec.JobTemplate.Spec.Template.Spec.NodeSelector = map[string]string{"no": "such-node"}
		})
		Eventually(status(ctx, binding)).Should(HaveField("PendingJobs", HaveValue(BeEquivalentTo(3))))
		Consistently(w.jobs).WithArguments(ctx).Should(HaveLen(3))
	})

	It("of 0, and suspend, receive nothing, and are no trouble", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.queue.sendMany(ctx, 3)
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) { b.Spec.Suspend = true })
		Eventually(status(ctx, binding)).Should(And(ready(HavePrefix("True Suspended")), HaveField("Queue.VisibleMessages", BeEquivalentTo(3))))
		edit(ctx, binding, func(b *v1alpha1.QueueBinding) {
			b.Spec.Suspend = false
			b.Spec.Concurrency.MaxActiveJobs = new(int32(0))
		})
		Eventually(status(ctx, binding)).Should(ready(ContainSubstring("maxActiveJobs is 0")))
		Consistently(w.jobs).WithArguments(ctx).Should(BeEmpty())
		edit(ctx, binding, func(b *v1alpha1.QueueBinding) { b.Spec.Concurrency.MaxActiveJobs = new(int32(1)) })
		Eventually(status(ctx, binding)).Should(And(counts(0, 3, 0, 0), ready(HavePrefix("True Running"))))
	})

	It("of history keep the newest, and pause at the failed ones", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) {
			b.Spec.SuccessfulJobsHistoryLimit = new(int32(2))
			b.Spec.FailedJobsHistoryLimit = new(int32(1))
		})
		w.queue.sendMany(ctx, 5)
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))
		Eventually(status(ctx, binding)).Should(counts(0, 2, 0, 0))
		w.send(ctx, "a.invalid")
		Eventually(status(ctx, binding)).Should(ready(HavePrefix("False FailedJobsLimitReached")))
		w.send(ctx, "b.invalid")
		Consistently(func() int { return len(w.jobs(ctx)) }).Should(Equal(3))

		edit(ctx, binding, func(b *v1alpha1.QueueBinding) { b.Spec.FailedJobsPolicy = v1alpha1.DeleteOldestFailedJobs })
		Eventually(func() []v1alpha1.Failure { return status(ctx, binding)().RecentFailures }).Should(
			ConsistOf(HaveField("JobName", Not(BeEmpty()))))
		Eventually(w.bodies).WithArguments(ctx).Should(And(ContainElement(ContainSubstring("b.invalid")), Not(ContainElement(ContainSubstring("a.invalid")))))
	})
})

func isFinished(job *batchv1.Job) bool {
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

var _ = Describe("A requeue", func() {
	It("of one, then of all, gives each a new Job, and the failed one goes when that exists", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx)
		w.send(ctx, "a.invalid", "b.invalid", "c.invalid")
		Eventually(status(ctx, binding)).Should(counts(0, 0, 3, 0))
		first := w.jobs(ctx)[0]
		annotate(ctx, binding, first.Name)
		Eventually(status(ctx, binding)).Should(And(HaveField("LastRequeue.RequeuedJobs", BeEquivalentTo(1)), counts(0, 0, 3, 0)))
		Eventually(attempts).WithArguments(ctx, w).Should(ConsistOf("1", "1", "2"))

		annotate(ctx, binding, "all")
		Eventually(attempts).WithArguments(ctx, w).Should(ConsistOf("2", "2", "3"))
		Eventually(status(ctx, binding)).Should(counts(0, 0, 3, 0))
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)).To(Succeed())
		Expect(binding.Annotations).NotTo(HaveKey(v1alpha1.AnnotationRequeue))
		Expect(w.bodies(ctx)).To(ConsistOf(ContainSubstring("a.invalid"), ContainSubstring("b.invalid"), ContainSubstring("c.invalid")))
	})

	It("refuses what is unknown, running, or another's, with words", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx)
		w.queue.send(ctx, `{"target": "x", "duration": 600}`)
		Eventually(status(ctx, binding)).Should(counts(1, 0, 0, 0))
		running := w.jobs(ctx)[0].Name
		other := w.jobs(ctx)[0].DeepCopy()
		other.ObjectMeta = metav1.ObjectMeta{Namespace: w.namespace, Name: "other"}
		other.Spec.Selector, other.Spec.Template.Labels = nil, nil
		Expect(k8s.Create(ctx, other)).To(Succeed())
		annotate(ctx, binding, "nosuch,other,Not_a_name,"+running)
		Eventually(status(ctx, binding)).Should(HaveField("LastRequeue.Refused", ConsistOf(
			And(HaveField("JobName", "nosuch"), HaveField("Reason", v1alpha1.RefusedNotFound)),
			And(HaveField("JobName", "other"), HaveField("Reason", v1alpha1.RefusedNotOwned)),
			And(HaveField("JobName", running), HaveField("Reason", v1alpha1.RefusedNotFailed)),
			And(HaveField("JobName", "Not_a_name"), HaveField("Reason", v1alpha1.RefusedInvalidRequest)),
		)))
		Expect(w.jobs(ctx)).To(HaveLen(2))
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(binding), binding)).To(Succeed())
		Expect(binding.Annotations).NotTo(HaveKey(v1alpha1.AnnotationRequeue))
	})

	It("whose message is purged loses nothing", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx)
		w.send(ctx, "a.invalid")
		Eventually(status(ctx, binding)).Should(counts(0, 0, 1, 0))
		edit(ctx, binding, func(b *v1alpha1.QueueBinding) { b.Spec.Suspend = true })
		Eventually(status(ctx, binding)).Should(ready(HavePrefix("True Suspended")))
		name := w.jobs(ctx)[0].Name
		annotate(ctx, binding, name)
		Eventually(status(ctx, binding)).Should(counts(0, 0, 0, 1))
		// The poll that was open when the binding was suspended gives back what it got.
		Eventually(w.queue.numbers(ctx)).Should(Equal([]string{"1", "0"}))
		_, err := w.queue.client.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: &w.queue.url})
		Expect(err).NotTo(HaveOccurred())

		edit(ctx, binding, func(b *v1alpha1.QueueBinding) { b.Spec.Suspend = false })
		annotate(ctx, binding, name)
		Eventually(attempts).WithArguments(ctx, w).Should(ConsistOf("2"))
		Eventually(status(ctx, binding)).Should(counts(0, 0, 1, 0))
	})
})

// attempts are the attempts that the Jobs of a workspace are.
func attempts(ctx SpecContext, w *workspace) []string {
	var all []string
	for _, job := range w.jobs(ctx) {
		all = append(all, job.Annotations[v1alpha1.AnnotationAttempt])
	}
	return all
}

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
		Expect(environment.PausePart(testenv.Queue)).To(Succeed())
		resumed := false
		DeferCleanup(func() {
			if !resumed {
				Expect(environment.ResumePart(testenv.Queue)).To(Succeed())
			}
		})
		Eventually(status(ctx, binding), 3*time.Minute).Should(ready(HavePrefix("False Unreachable")))
		Expect(environment.ResumePart(testenv.Queue)).To(Succeed())
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
		Expect(environment.StopPart(testenv.APIServer)).To(Succeed())
		w.queue.sendMany(ctx, 20)
		time.Sleep(5 * time.Second)
		Expect(environment.StartPart(testenv.APIServer)).To(Succeed())
		Eventually(status(ctx, binding), 3*time.Minute).Should(And(counts(0, 80, 0, 0), ready(HavePrefix("True Running"))))
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))
		Expect(operator.ended).NotTo(BeClosed())
	})
})

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
		w.queue.sendMany(ctx, 20)
		Expect(operator.terminate()).To(Equal(0))
		w.queue.sendMany(ctx, 20)
		operator = startOperator()
		Eventually(status(ctx, binding)).Should(counts(0, 40, 0, 0))
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))
	})
})

// inFiles has messages delivered in files.
func inFiles(b *v1alpha1.QueueBinding) {
	b.Spec.Message.Delivery = v1alpha1.DeliverFile
	b.Spec.Queue.VisibilityTimeoutSeconds = new(int32(2))
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

	It("is acknowledged only with its Secret, also after a crash between Job and Secret", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		quota := &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "secrets"},
			Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse("0")}},
		}
		Expect(k8s.Create(ctx, quota)).To(Succeed())
		Eventually(func() corev1.ResourceList {
			Expect(k8s.Get(ctx, client.ObjectKeyFromObject(quota), quota)).To(Succeed())
			return quota.Status.Hard
		}).ShouldNot(BeEmpty())
		binding := w.binding(ctx, inFiles)
		w.send(ctx, "x")
		Eventually(status(ctx, binding)).Should(And(ready(HavePrefix("False QuotaExceeded")), counts(0, 1, 0, 0)))
		operator.kill()
		Expect(w.queue.numbers(ctx)()).NotTo(Equal(empty))
		operator = startOperator()
		Expect(k8s.Delete(ctx, quota)).To(Succeed())
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))
		Expect(string(secretOf(ctx, w).Data["body"])).To(Equal(`{"target": "x"}`))
		Expect(w.jobs(ctx)).To(HaveLen(1))
	})

	It("whose Secret is refused for good takes its Job along and stays on the queue", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		refuse(ctx, w.namespace, "", "secrets", "true", "no Secrets here")
		binding := w.binding(ctx, inFiles)
		w.send(ctx, "x")
		Eventually(status(ctx, binding)).Should(HaveField("LastRejection.Message", ContainSubstring("no Secrets here")))
		Eventually(w.jobs).WithArguments(ctx).Should(BeEmpty())
		Expect(w.queue.numbers(ctx)()).To(Equal([]string{"0", "1"}))
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
