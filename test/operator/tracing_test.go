package operator_test

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/collector"
)

var _ = Describe("A trace", func() {
	const (
		traceID  = "4bf92f3577b34da6a3ce929d0e0e4736"
		producer = "00f067aa0ba902b7"
	)

	It("leads from the producer to the worker, over a new leader and a requeue", func(ctx SpecContext) {
		traces := collector.Start()
		DeferCleanup(traces.Close)
		startTraced(traces)
		w := newWorkspace(ctx)
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) { b.Spec.Queue.VisibilityTimeoutSeconds = new(int32(2)) })
		w.queue.send(ctx, `{"target": "secret.invalid", "duration": 4}`, func(in *sqs.SendMessageInput) {
			in.MessageAttributes = map[string]types.MessageAttributeValue{"traceparent": text("00-" + traceID + "-" + producer + "-01"), "tracestate": text("vendor=1")}
		})
		// named is the one span of a name within the trace of which some attribute has a value, once it is there.
		named := func(name, key, value string) (found collector.Span) {
			GinkgoHelper()
			Eventually(func() (all []collector.Span) {
				for _, span := range traces.Spans() {
					if span.TraceID == traceID && span.Name == name && span.Attributes[key] == value {
						all = append(all, span)
						found = span
					}
				}
				return all
			}).Should(HaveLen(1), "%s with %s %s, of %v", name, key, value, traces.Spans())
			return found
		}
		queueName := w.namespace

		By("the way of the message into its Job")
		var first batchv1.Job
		Eventually(w.jobs).WithArguments(ctx).Should(HaveLen(1))
		first = w.jobs(ctx)[0]
		create := named("create Job", "k8s.job.name", first.Name)
		process := named("process "+queueName, "k8s.job.name", first.Name)
		Expect(process.Parent).To(Equal(producer))
		Expect(process.Attributes).To(And(HaveKeyWithValue("messaging.system", "aws_sqs"), HaveKeyWithValue("k8s.namespace.name", w.namespace),
			HaveKeyWithValue("queuebinding.binding", "pings"), HaveKeyWithValue("queuebinding.result", "created")))
		Expect(create.Parent).To(Equal(process.SpanID))
		Expect(named("render Job", "k8s.namespace.name", w.namespace).Parent).To(Equal(process.SpanID))
		Expect(named("settle "+queueName, "messaging.operation.name", "delete").Parent).To(Equal(process.SpanID))
		Expect(receiveOf(traces, process).Links).To(ConsistOf(traceID + "-" + producer))

		By("the context that the worker sees, and the Job that a new leader sees end")
		worker := environmentOfPod(ctx, w, first.Name)
		Expect(worker["TRACEPARENT"]).To(MatchRegexp("^00-" + traceID + "-[0-9a-f]{16}-01$"))
		Expect(worker["TRACESTATE"]).To(Equal("vendor=1"))
		operator.Kill()
		startTraced(traces)
		Eventually(status(ctx, binding)).Should(counts(0, 0, 1, 0))
		ended := named("Job pings", "k8s.job.name", first.Name)
		Expect(worker["TRACEPARENT"]).To(Equal("00-" + traceID + "-" + ended.SpanID + "-01"))
		Expect(ended.Parent).To(Equal(create.SpanID))
		Expect(ended.Failed).To(BeTrue())
		Expect(ended.Attributes).To(And(HaveKeyWithValue("queuebinding.job.outcome", "failed"), HaveKeyWithValue("queuebinding.job.reason", "BackoffLimitExceeded")))

		By("the attempt after it")
		annotate(ctx, binding, "all")
		Eventually(attempts).WithArguments(ctx, w).Should(ConsistOf("2"))
		second := w.jobs(ctx)[0]
		before := traceID + "-" + ended.SpanID
		sent := named("send "+queueName, "k8s.job.name", first.Name)
		Expect(sent.Links).To(ConsistOf(before))
		Expect(named("create Job", "k8s.job.name", second.Name).Links).To(ConsistOf(before))
		again := named("Job pings", "k8s.job.name", second.Name)
		Expect(again.Links).To(ConsistOf(before))
		Expect(again.Parent).To(Equal(named("create Job", "k8s.job.name", second.Name).SpanID))
		Expect(second.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationTraceparent, "00-"+traceID+"-"+again.SpanID+"-01"))

		By("nothing of what the message holds")
		for _, span := range traces.Spans() {
			Expect(span.Service).To(Equal("queuebinding"))
			Expect(fmt.Sprint(span)).NotTo(ContainSubstring("secret"))
		}
	})

	It("is there without a producer's, and its deletion under OnJobSucceeded is the Job's", func(ctx SpecContext) {
		traces := collector.Start()
		DeferCleanup(traces.Close)
		startTraced(traces)
		w := newWorkspace(ctx)
		w.binding(ctx, func(b *v1alpha1.QueueBinding) { b.Spec.Acknowledge = v1alpha1.AcknowledgeOnJobSucceeded })
		w.send(ctx, "a")
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))
		parts := map[string]collector.Span{}
		Eventually(func() map[string]collector.Span {
			for _, span := range traces.Spans() {
				parts[span.Name] = span
			}
			return parts
		}).Should(And(HaveKey("process "+w.namespace), HaveKey("create Job"), HaveKey("Job pings"), HaveKey("settle "+w.namespace)))
		job := parts["Job pings"]
		Expect(job.Attributes).To(HaveKeyWithValue("queuebinding.job.outcome", "succeeded"))
		Expect(parts["settle "+w.namespace].Parent).To(Equal(job.SpanID))
		Expect(parts["process "+w.namespace].Parent).To(BeEmpty())
		for _, name := range []string{"process " + w.namespace, "create Job", "settle " + w.namespace} {
			Expect(parts[name].TraceID).To(Equal(job.TraceID), name)
		}
	})

	It("that nobody takes stops nothing", func(ctx SpecContext) {
		traces := collector.StartHanging()
		DeferCleanup(traces.Close)
		// A queue that is full after a few messages, so that the others meet one that is.
		startTraced(traces, "OTEL_BSP_MAX_QUEUE_SIZE=8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=4")
		w := newWorkspace(ctx)
		binding := w.binding(ctx, func(b *v1alpha1.QueueBinding) { b.Spec.Concurrency.MaxActiveJobs = new(int32(200)) })
		w.queue.sendMany(ctx, 100)
		Eventually(status(ctx, binding)).Should(counts(0, 100, 0, 0))
		Eventually(w.queue.numbers(ctx)).Should(Equal(empty))
		Expect(traces.Asked()).To(BeNumerically(">", 0))
		Expect(operator.Terminate(ctx)).To(Succeed())
	})

	It("that is a producer's own reaches the worker though tracing is off, and other Jobs are as ever", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.binding(ctx)
		given := "00-" + traceID + "-" + producer + "-00"
		w.queue.send(ctx, `{"target": "with"}`, func(in *sqs.SendMessageInput) {
			in.MessageAttributes = map[string]types.MessageAttributeValue{"traceparent": text(given)}
		})
		w.queue.send(ctx, `{"target": "without"}`)
		Eventually(w.jobs).WithArguments(ctx).Should(HaveLen(2))
		for _, job := range w.jobs(ctx) {
			seen := environmentOfPod(ctx, w, job.Name)
			if strings.Contains(job.Spec.Template.Annotations[v1alpha1.AnnotationBody], "without") {
				Expect(seen).NotTo(HaveKey("TRACEPARENT"))
				Expect(job.Annotations).NotTo(HaveKey(v1alpha1.AnnotationTraceparent))
				continue
			}
			Expect(seen).To(HaveKeyWithValue("TRACEPARENT", given))
			Expect(seen).NotTo(HaveKey("TRACESTATE"))
		}
	})
})

// startTraced starts the operator anew, with a collector for its spans. The next spec has an operator without one.
func startTraced(traces *collector.Collector, more ...string) {
	GinkgoHelper()
	operator.Kill()
	environment := append([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + traces.Endpoint(), "OTEL_BSP_SCHEDULE_DELAY=100"}, more...)
	var err error
	operator, err = cluster.StartOperator(program, cluster.DirectEndpoints("operator", environment...))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(operator.Kill)
}

// receiveOf is the receive that brought the message of a process span.
func receiveOf(traces *collector.Collector, process collector.Span) (receive collector.Span) {
	GinkgoHelper()
	Expect(process.Links).To(HaveLen(1))
	Eventually(func() string {
		for _, span := range traces.Spans() {
			if span.TraceID+"-"+span.SpanID == process.Links[0] {
				receive = span
			}
		}
		return receive.Name
	}).Should(HavePrefix("receive "))
	return receive
}

// environmentOfPod is what the container of a Job's Pod gets by values.
func environmentOfPod(ctx SpecContext, w *workspace, job string) map[string]string {
	GinkgoHelper()
	pods := &corev1.PodList{}
	Eventually(func() ([]corev1.Pod, error) {
		err := k8s.List(ctx, pods, client.InNamespace(w.namespace), client.MatchingLabels{batchv1.JobNameLabel: job})
		return pods.Items, err
	}).ShouldNot(BeEmpty())
	seen := map[string]string{}
	for _, v := range pods.Items[0].Spec.Containers[0].Env {
		seen[v.Name] = v.Value
	}
	return seen
}
