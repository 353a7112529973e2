package operator_test

import (
	"fmt"
	"maps"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

var _ = Describe("The lineage", func() {
	It("of a hundred failed Jobs survives an operator that is killed while it requeues them", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) {
			b.Spec.Concurrency.MaxActiveJobs = new(int32(200))
			b.Spec.Queue.VisibilityTimeoutSeconds = new(int32(2))
		})
		for from := range 10 {
			for i := range 10 {
				w.send(ctx, fmt.Sprintf("%d-%d.invalid", from, i))
			}
		}
		Eventually(status(ctx, binding), 2*time.Minute).Should(counts(0, 0, 100, 0))
		annotate(ctx, binding, "all")
		// Somewhere between the first message and the last mark.
		Eventually(func() int { return marked(w.jobs(ctx)) }).Should(BeNumerically(">", 3))
		operator.Kill()
		operator = startOperator()
		Eventually(func() map[string]int {
			all := map[string]int{}
			for _, n := range attempts(ctx, w) {
				all[n]++
			}
			return all
		}, 3*time.Minute).Should(Equal(map[string]int{"2": 100}))
		bodies := map[string]bool{}
		for _, body := range w.bodies(ctx) {
			bodies[body] = true
		}
		Expect(bodies).To(HaveLen(100))
		Eventually(w.queue.numbers(ctx), 2*time.Minute).Should(Equal(empty))
	})

	It("is not taken over by messages to which a worker copies its attributes", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx)
		w.queue.send(ctx, `{"target": "a.invalid"}`, func(in *sqs.SendMessageInput) {
			in.MessageAttributes = map[string]types.MessageAttributeValue{"color": text("red")}
		})
		Eventually(status(ctx, binding)).Should(counts(0, 0, 1, 0))
		edit(ctx, binding, func(b *v1alpha1.QueueBinding) { b.Spec.Suspend = true })
		Eventually(status(ctx, binding)).Should(ready(HavePrefix("True Suspended")))
		time.Sleep(21 * time.Second) // the poll that was open when the binding was suspended
		annotate(ctx, binding, "all")
		Eventually(w.queue.numbers(ctx)).Should(Equal([]string{"1", "0"}))
		received, err := w.queue.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &w.queue.url, MessageAttributeNames: []string{"All"}, VisibilityTimeout: 1})
		Expect(err).NotTo(HaveOccurred())
		Expect(received.Messages).To(HaveLen(1))
		Expect(received.Messages[0].MessageAttributes).To(And(HaveKey(v1alpha1.AttributeLineage), HaveKey("color")))
		for n := range 5 {
			w.queue.send(ctx, fmt.Sprintf(`{"target": "x", "n": %d}`, n), func(in *sqs.SendMessageInput) {
				in.MessageAttributes = received.Messages[0].MessageAttributes
			})
		}
		edit(ctx, binding, func(b *v1alpha1.QueueBinding) { b.Spec.Suspend = false })
		Eventually(attempts).WithArguments(ctx, w).Should(ConsistOf("1", "1", "1", "1", "1", "2"))
		Eventually(status(ctx, binding)).Should(counts(0, 5, 1, 0))
	})

	It("and all of ten attributes come back with a requeue", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx)
		sent := map[string]types.MessageAttributeValue{
			"raw": {DataType: aws.String("Binary"), BinaryValue: []byte{0, 1, 0xff}},
			"png": {DataType: aws.String("Binary.png"), BinaryValue: []byte("\x89PNG")},
			"n":   {DataType: aws.String("Number"), StringValue: aws.String("3.140")},
			"int": {DataType: aws.String("Number.int"), StringValue: aws.String("9007199254740993")},
		}
		for n := range 5 {
			sent[fmt.Sprintf("text.%d", n)] = text("$(HOME) \"'\n")
		}
		w.queue.send(ctx, `{"target": "a.invalid"}`, func(in *sqs.SendMessageInput) { in.MessageAttributes = sent })
		w.queue.send(ctx, `{"target": "b.invalid"}`, func(in *sqs.SendMessageInput) {
			ten := map[string]types.MessageAttributeValue{"tenth": text("no room for a lineage")}
			maps.Copy(ten, sent)
			in.MessageAttributes = ten
		})
		Eventually(status(ctx, binding)).Should(counts(0, 0, 2, 0))
		before := annotationsByTarget(ctx, w)
		annotate(ctx, binding, "all")
		// The one without room for the lineage is a new message; its Job stays, and is told of.
		Eventually(attempts).WithArguments(ctx, w).Should(ConsistOf("2", "1", "1"))
		Eventually(status(ctx, binding)).Should(counts(0, 0, 3, 0))
		Expect(annotationsByTarget(ctx, w)).To(Equal(before))
	})

	It("gets a requeue through the deduplication of a FIFO queue", func(ctx SpecContext) {
		w := newWorkspace(ctx, "FifoQueue", "true", "ContentBasedDeduplication", "true")
		binding := w.binding(ctx)
		w.queue.send(ctx, `{"target": "a.invalid"}`, func(in *sqs.SendMessageInput) { in.MessageGroupId = aws.String("g") })
		Eventually(status(ctx, binding)).Should(counts(0, 0, 1, 0))
		for _, want := range []string{"2", "3"} {
			annotate(ctx, binding, "all")
			Eventually(attempts).WithArguments(ctx, w).Should(ConsistOf(want))
			Eventually(func() job.State { return job.Observe(&w.jobs(ctx)[0]).State }).ShouldNot(Equal(job.Active))
		}
	})

	It("is recognized in a Job that a user relabelled", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) { b.Spec.Queue.VisibilityTimeoutSeconds = new(int32(2)) })
		w.send(ctx, "x.invalid")
		Eventually(status(ctx, binding)).Should(counts(0, 0, 1, 0))
		annotate(ctx, binding, "all")
		Eventually(attempts).WithArguments(ctx, w).Should(ConsistOf("2"))
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))
		Eventually(status(ctx, binding)).Should(counts(0, 0, 1, 0))
		// As if the operator had died between create and delete, and a user had taken the label off since.
		operator.Kill()
		made := w.jobs(ctx)[0]
		made.Labels = nil
		Expect(k8s.Update(ctx, &made)).To(Succeed())
		operator = startOperator()
		w.queue.send(ctx, made.Spec.Template.Annotations[v1alpha1.AnnotationBody], func(in *sqs.SendMessageInput) {
			in.MessageAttributes = map[string]types.MessageAttributeValue{v1alpha1.AttributeLineage: text(lineageOf(ctx, w, &made))}
		})
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))
		Consistently(w.jobs).WithArguments(ctx).Should(HaveLen(1))
	})
})

// lineageOf is the lineage attribute that the operator gave the message of a Job, which has no other attributes.
func lineageOf(ctx SpecContext, w *workspace, made *batchv1.Job) string {
	GinkgoHelper()
	lineage, ok := job.RecordedLineage(made)
	Expect(ok).To(BeTrue())
	secret := &corev1.Secret{}
	Expect(k8s.Get(ctx, client.ObjectKey{Namespace: "default", Name: "queuebinding-lineage"}, secret)).To(Succeed())
	keys := job.Keys{Current: secret.Data["key"]}
	return keys.Attribute(w.queue.url, lineage, made.Spec.Template.Annotations[v1alpha1.AnnotationBody], nil).StringValue
}

// marked is how many Jobs are marked as requeued.
func marked(jobs []batchv1.Job) int {
	n := 0
	for _, made := range jobs {
		if _, ok := made.Annotations[v1alpha1.AnnotationRequeuedAt]; ok {
			n++
		}
	}
	return n
}

// annotationsByTarget are the attributes, and their types, that the Jobs of a workspace hold, by body.
func annotationsByTarget(ctx SpecContext, w *workspace) map[string][2]string {
	all := map[string][2]string{}
	for _, made := range w.jobs(ctx) {
		pod := made.Spec.Template.Annotations
		all[pod[v1alpha1.AnnotationBody]] = [2]string{pod[v1alpha1.AnnotationAttributes], made.Annotations[v1alpha1.AnnotationAttributeTypes]}
	}
	return all
}
