package controller_test

import (
	"context"
	"encoding/json"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

var _ = Describe("A binding", func() {
	It("gives each message one Job, and deletes the message once that exists", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		ids := w.send("a", "b")
		jobs := w.started(ctx, 2)
		Eventually(w.queue.remaining).Should(BeEmpty())
		for i, job := range jobs {
			Expect(metav1.IsControlledBy(&job, w.binding)).To(BeTrue())
			Expect(job.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationMessageID, ids[i]))
			Expect(job.Spec.Template.Spec.Containers[0].Env).To(ContainElement(And(HaveField("Name", "target"), HaveField("Value", []string{"a", "b"}[i]))))
		}

		w.queue.redeliver(ids[0], `{"target": "a"}`)
		Eventually(w.queue.remaining).Should(BeEmpty())
		Expect(names(w.jobs(ctx))).To(Equal(names(jobs)))
	})

	It("keeps a message under OnJobSucceeded until its Job has succeeded", func(ctx SpecContext) {
		w := newWorkspace(ctx, func(s *v1alpha1.QueueBindingSpec) { s.Acknowledge = v1alpha1.AcknowledgeOnJobSucceeded })
		w.send("a")
		jobs := w.started(ctx, 1)
		Eventually(w.status).WithArguments(ctx).Should(counts(1, 0, 0, 0))
		Consistently(w.queue.remaining).Should(HaveLen(1))
		w.succeed(ctx, jobs...)
		Eventually(w.queue.remaining).Should(BeEmpty())
		Eventually(w.status).WithArguments(ctx).Should(counts(0, 1, 0, 0))
	})

	It("leaves a message on the queue that cannot become a Job, and goes on with the others", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		bad := w.queue.send("no JSON")
		w.send("a")
		w.started(ctx, 1)
		Eventually(w.status).WithArguments(ctx).Should(HaveField("LastRejection", HaveValue(And(
			HaveField("MessageID", bad), HaveField("Reason", v1alpha1.RejectedExpressionFailed)))))
		Eventually(w.queue.remaining).Should(ConsistOf(HaveField("ID", bad)))
	})

	It("shows in kubectl get what it does", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.send("a", "b", "c")
		jobs := w.started(ctx, 3)
		w.running(ctx, jobs[0])
		w.fail(ctx, jobs[1])
		Eventually(columns).WithArguments(ctx, w).Should(And(
			HaveKeyWithValue("Ready", "True"), HaveKeyWithValue("Status", "Running"), HaveKeyWithValue("Active", 2.0),
			HaveKeyWithValue("Pending", 1.0), HaveKeyWithValue("Failed", 1.0), HaveKey("Waiting"), HaveKey("Age"),
			HaveKeyWithValue("Max", 10.0), HaveKeyWithValue("Queue", w.binding.Spec.Queue.URL)))
	})

	It("is scaled by its maxActiveJobs", func(ctx SpecContext) {
		w := newWorkspace(ctx, func(s *v1alpha1.QueueBindingSpec) { s.Concurrency.MaxActiveJobs = new(int32(1)) })
		w.send("a", "b", "c")
		w.started(ctx, 1)
		Eventually(w.status).WithArguments(ctx).Should(counts(1, 0, 0, 0))
		scale := &autoscalingv1.Scale{}
		Expect(k8s.SubResource("scale").Get(ctx, w.binding, scale)).To(Succeed())
		Expect(scale.Spec.Replicas).To(BeEquivalentTo(1))
		Expect(scale.Status.Replicas).To(BeEquivalentTo(1))
		Expect(scale.Status.Selector).To(Equal("queuebinding.dev/binding=pings"))

		scale.Spec.Replicas = 2
		Expect(k8s.SubResource("scale").Update(ctx, w.binding, client.WithSubResourceBody(scale))).To(Succeed())
		w.started(ctx, 2)
		Consistently(w.jobs).WithArguments(ctx).Should(HaveLen(2))
	})

	It("that is deleted leaves what waits on its queue", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		Eventually(w.status).WithArguments(ctx).Should(condition(v1alpha1.ConditionReady, HavePrefix("True Running")))
		w.queue.hold(true)
		w.send("a")
		Expect(k8s.Delete(ctx, w.binding)).To(Succeed())
		Eventually(w.queue.quiet).Should(BeTrue())
		w.queue.hold(false)
		Consistently(w.queue.remaining).Should(HaveLen(1))
		Expect(w.jobs(ctx)).To(BeEmpty())
	})
})

// columns returns what `kubectl get -o wide` shows of the workspace's binding.
func columns(ctx context.Context, w *workspace) (map[string]any, error) {
	raw, err := clientset.RESTClient().Get().
		AbsPath("/apis/queuebinding.dev/v1alpha1/namespaces", w.namespace, "queuebindings", w.binding.Name).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(ctx)
	if err != nil {
		return nil, err
	}
	table := metav1.Table{}
	if err := json.Unmarshal(raw, &table); err != nil {
		return nil, err
	}
	shown := map[string]any{}
	for i, column := range table.ColumnDefinitions {
		shown[column.Name] = table.Rows[0].Cells[i]
	}
	return shown, nil
}
