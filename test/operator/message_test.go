package operator_test

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
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
			operator.Kill()
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
