package controller_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// workspace is a namespace with a queue and a binding named pings.
type workspace struct {
	namespace string
	queue     *memoryQueue
	binding   *v1alpha1.QueueBinding
	// ended is when the last Job ended: they do so a second apart, as Kubernetes' times have whole seconds.
	ended time.Time
}

// newBinding returns a valid binding for a queue.
func newBinding(namespace string) *v1alpha1.QueueBinding {
	return &v1alpha1.QueueBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "pings"},
		Spec: v1alpha1.QueueBindingSpec{
			Queue:   v1alpha1.Queue{URL: "https://sqs.eu-west-1.amazonaws.com/123456789012/" + namespace},
			Message: v1alpha1.Message{Variables: []v1alpha1.Variable{{Name: "target", Expression: "message.json.target"}}},
			JobTemplate: v1alpha1.JobTemplate{Spec: batchv1.JobSpec{
				Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
					RestartPolicy: corev1.RestartPolicyNever,
					Containers:    []corev1.Container{{Name: "ping", Image: "alpine", Command: []string{"ping", "$(target)"}}},
				}},
			}},
		},
	}
}

// allowed are the annotations of a namespace whose bindings may use the queues of tests.
var allowed = map[string]string{
	v1alpha1.AnnotationAllowedQueues: "arn:aws:sqs:eu-west-1:123456789012:test-*", v1alpha1.AnnotationOperatorIdentity: "true",
}

// newWorkspace makes a namespace with a binding, as changed.
func newWorkspace(ctx SpecContext, change ...func(*v1alpha1.QueueBindingSpec)) *workspace {
	GinkgoHelper()
	return newWorkspaceIn(ctx, allowed, change...)
}

// newWorkspaceIn makes a namespace with these annotations, and a binding in it, as changed.
func newWorkspaceIn(ctx SpecContext, annotations map[string]string, change ...func(*v1alpha1.QueueBindingSpec)) *workspace {
	GinkgoHelper()
	return newWorkspaceWith(ctx, annotations, nil, change...)
}

// newWorkspaceWith makes a namespace with these annotations, and a binding in it with these labels, as changed.
func newWorkspaceWith(ctx SpecContext, annotations, labels map[string]string, change ...func(*v1alpha1.QueueBindingSpec)) *workspace {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Annotations: annotations}}
	Expect(k8s.Create(ctx, namespace)).To(Succeed())
	w := &workspace{namespace: namespace.Name, binding: newBinding(namespace.Name), ended: time.Now().Add(-time.Minute).Truncate(time.Second)}
	w.binding.Labels = labels
	for _, c := range change {
		c(&w.binding.Spec)
	}
	w.queue = queues.at(w.binding.Spec.Queue.URL)
	Expect(k8s.Create(ctx, w.binding)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(client.IgnoreNotFound(k8s.Delete(ctx, w.binding))).To(Succeed())
	})
	return w
}

// send sends a message for each target, and returns their IDs.
func (w *workspace) send(targets ...string) []string {
	var ids []string
	for _, target := range targets {
		ids = append(ids, w.queue.send(fmt.Sprintf(`{"target": %q}`, target)))
	}
	return ids
}

// jobs returns the Jobs of the namespace, ordered by target.
func (w *workspace) jobs(ctx context.Context) []batchv1.Job {
	list := &batchv1.JobList{}
	if err := k8s.List(ctx, list, client.InNamespace(w.namespace)); err != nil {
		AddReportEntry("listing Jobs", err.Error())
	}
	slices.SortFunc(list.Items, func(a, b batchv1.Job) int {
		return slices.Compare([]string{body(a), a.Name}, []string{body(b), b.Name})
	})
	return list.Items
}

func body(job batchv1.Job) string { return job.Spec.Template.Annotations[v1alpha1.AnnotationBody] }

// started waits until there are so many Jobs, and returns them.
func (w *workspace) started(ctx SpecContext, count int) []batchv1.Job {
	GinkgoHelper()
	Eventually(w.jobs).WithArguments(ctx).Should(HaveLen(count))
	return w.jobs(ctx)
}

// edit changes the binding's spec.
func (w *workspace) edit(ctx SpecContext, change func(*v1alpha1.QueueBindingSpec)) {
	GinkgoHelper()
	w.patch(ctx, func(b *v1alpha1.QueueBinding) { change(&b.Spec) })
}

// annotate asks for a requeue.
func (w *workspace) annotate(ctx SpecContext, requeue string) {
	GinkgoHelper()
	w.patch(ctx, func(b *v1alpha1.QueueBinding) { b.Annotations = map[string]string{v1alpha1.AnnotationRequeue: requeue} })
}

func (w *workspace) patch(ctx SpecContext, change func(*v1alpha1.QueueBinding)) {
	GinkgoHelper()
	before := w.current(ctx)
	after := before.DeepCopy()
	change(after)
	Expect(k8s.Patch(ctx, after, client.MergeFrom(before))).To(Succeed())
}

// current reads the binding.
func (w *workspace) current(ctx context.Context) *v1alpha1.QueueBinding {
	current := &v1alpha1.QueueBinding{}
	if err := k8s.Get(ctx, client.ObjectKeyFromObject(w.binding), current); err != nil {
		AddReportEntry("reading the binding", err.Error())
	}
	return current
}

// status reads the binding's status.
func (w *workspace) status(ctx context.Context) v1alpha1.QueueBindingStatus {
	return w.current(ctx).Status
}

// running says of a Job that its Pod is ready.
func (w *workspace) running(ctx SpecContext, job batchv1.Job) {
	GinkgoHelper()
	w.report(ctx, job, func(status *batchv1.JobStatus) { status.Active, status.Ready = 1, new(int32(1)) })
}

// succeed ends Jobs as the Job controller does: the API server wants the criteria to be met before.
func (w *workspace) succeed(ctx SpecContext, jobs ...batchv1.Job) {
	GinkgoHelper()
	for _, job := range jobs {
		w.end(ctx, job, batchv1.JobSuccessCriteriaMet, batchv1.JobComplete, batchv1.JobReasonCompletionsReached)
	}
}

// fail ends Jobs as the Job controller does when their retries are used up.
func (w *workspace) fail(ctx SpecContext, jobs ...batchv1.Job) {
	GinkgoHelper()
	for _, job := range jobs {
		w.end(ctx, job, batchv1.JobFailureTarget, batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded)
	}
}

func (w *workspace) end(ctx SpecContext, job batchv1.Job, before, final batchv1.JobConditionType, reason string) {
	GinkgoHelper()
	w.ended = w.ended.Add(time.Second)
	now := metav1.NewTime(w.ended)
	w.report(ctx, job, func(status *batchv1.JobStatus) {
		status.Active, status.Ready = 0, new(int32(0))
		status.StartTime = new(ptr.Deref(status.StartTime, now))
		if final == batchv1.JobComplete {
			status.Succeeded, status.CompletionTime = 1, &now
		} else {
			status.Failed = 1
		}
		for _, kind := range []batchv1.JobConditionType{before, final} {
			status.Conditions = append(status.Conditions, batchv1.JobCondition{
				Type: kind, Status: corev1.ConditionTrue, Reason: reason, LastProbeTime: now, LastTransitionTime: now,
			})
		}
	})
}

func (w *workspace) report(ctx SpecContext, job batchv1.Job, change func(*batchv1.JobStatus)) {
	GinkgoHelper()
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(&job), &job)).To(Succeed())
	before := job.DeepCopy()
	change(&job.Status)
	Expect(k8s.Status().Patch(ctx, &job, client.MergeFrom(before))).To(Succeed())
}

// failed makes so many Jobs that have failed, as Jobs of messages that the queue has no more.
func (w *workspace) failed(ctx SpecContext, count int, change ...func(*batchv1.Job)) {
	GinkgoHelper()
	binding := w.current(ctx)
	now := metav1.NewTime(time.Now().Add(-time.Minute).Truncate(time.Second))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := range count {
		group.Go(func() error {
			id := fmt.Sprintf("failed-%d", i)
			made, err := job.Render(groupCtx, binding, &job.Variables{}, &queue.Message{ID: id, Body: id}, job.Lineage{Root: id, Attempt: 1}, job.Trace{})
			if err != nil {
				return err
			}
			made.Name = fmt.Sprintf("failed-%03d", i)
			for _, c := range change {
				c(made)
			}
			if err := k8s.Create(groupCtx, made); err != nil {
				return err
			}
			made.Status.StartTime, made.Status.Failed = &now, 1
			for _, kind := range []batchv1.JobConditionType{batchv1.JobFailureTarget, batchv1.JobFailed} {
				made.Status.Conditions = append(made.Status.Conditions, batchv1.JobCondition{
					Type: kind, Status: corev1.ConditionTrue, Reason: batchv1.JobReasonBackoffLimitExceeded, LastProbeTime: now, LastTransitionTime: now,
				})
			}
			return k8s.Status().Update(groupCtx, made)
		})
	}
	Expect(group.Wait()).To(Succeed())
}

// condition matches a status by one of its conditions, as `<status> <reason>: <message>`.
func condition(kind string, want gomegatypes.GomegaMatcher) gomegatypes.GomegaMatcher {
	return WithTransform(func(s v1alpha1.QueueBindingStatus) string {
		for _, c := range s.Conditions {
			if c.Type == kind {
				return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
			}
		}
		return ""
	}, want)
}

// counts matches a status by its numbers of active, succeeded, failed and requeued Jobs.
func counts(active, succeeded, failed, requeued int32) gomegatypes.GomegaMatcher {
	return WithTransform(func(s v1alpha1.QueueBindingStatus) []int32 {
		return []int32{ptr.Deref(s.ActiveJobs, -1), ptr.Deref(s.SucceededJobs, -1), ptr.Deref(s.FailedJobs, -1), ptr.Deref(s.RequeuedJobs, -1)}
	}, Equal([]int32{active, succeeded, failed, requeued}))
}

// attempts returns the attempts that the Jobs of a workspace are, ordered by target.
func (w *workspace) attempts(ctx context.Context) []string {
	var all []string
	for _, job := range w.jobs(ctx) {
		all = append(all, job.Annotations[v1alpha1.AnnotationAttempt])
	}
	return all
}

func names(jobs []batchv1.Job) []string {
	var all []string
	for _, job := range jobs {
		all = append(all, job.Name)
	}
	return all
}
