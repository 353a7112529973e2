package e2e_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

var serial atomic.Int64

// workspace is a namespace and a queue for one test.
type workspace struct {
	namespace string
	sqs       *sqs.Client
	url       string
}

func newWorkspace(ctx context.Context) *workspace {
	GinkgoHelper()
	w := &workspace{
		namespace: fmt.Sprintf("test-%d", serial.Add(1)),
		sqs: sqs.New(sqs.Options{
			BaseEndpoint: aws.String(environment.SQSEndpoint),
			Region:       "eu-west-1",
			Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
		}),
	}
	Expect(k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})).To(Succeed())
	created, err := w.sqs.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &w.namespace})
	Expect(err).NotTo(HaveOccurred())
	w.url = *created.QueueUrl
	DeferCleanup(func(ctx SpecContext) {
		Expect(k8s.DeleteAllOf(ctx, &v1alpha1.QueueBinding{}, client.InNamespace(w.namespace))).To(Succeed())
	})
	return w
}

// send sends a message and returns its ID.
func (w *workspace) send(ctx context.Context, body string, attributes map[string]types.MessageAttributeValue) string {
	GinkgoHelper()
	sent, err := w.sqs.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &w.url, MessageBody: &body, MessageAttributes: attributes})
	Expect(err).NotTo(HaveOccurred())
	return *sent.MessageId
}

// numbers are how many messages are visible and in flight, for Eventually.
func (w *workspace) numbers(ctx context.Context) func() []string {
	return func() []string {
		output, err := w.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &w.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
		if err != nil {
			return []string{err.Error()}
		}
		return []string{output.Attributes["ApproximateNumberOfMessages"], output.Attributes["ApproximateNumberOfMessagesNotVisible"]}
	}
}

var empty = []string{"0", "0"}

// busybox is a container that runs a command.
func busybox(command ...string) corev1.Container {
	return corev1.Container{Name: "work", Image: "busybox:1.37", Command: command}
}

// binding makes a binding whose Jobs have one container, changed by change.
func (w *workspace) binding(ctx context.Context, container corev1.Container, change ...func(*v1alpha1.QueueBinding)) *v1alpha1.QueueBinding {
	GinkgoHelper()
	b := &v1alpha1.QueueBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "work"},
		Spec: v1alpha1.QueueBindingSpec{
			Queue: v1alpha1.Queue{URL: w.url},
			JobTemplate: v1alpha1.JobTemplate{Spec: batchv1.JobSpec{
				BackoffLimit: new(int32(0)),
				Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
					RestartPolicy: corev1.RestartPolicyNever,
					// What ignores SIGTERM, as the first process of a container does, is not waited for.
					TerminationGracePeriodSeconds: new(int64(1)),
					Containers:                    []corev1.Container{container},
				}},
			}},
		},
	}
	for _, c := range change {
		c(b)
	}
	Expect(k8s.Create(ctx, b)).To(Succeed())
	return b
}

// status reads a binding's status, for Eventually.
func status(ctx context.Context, binding *v1alpha1.QueueBinding) func() v1alpha1.QueueBindingStatus {
	return func() v1alpha1.QueueBindingStatus {
		current := &v1alpha1.QueueBinding{}
		if err := k8s.Get(ctx, client.ObjectKeyFromObject(binding), current); err != nil {
			return v1alpha1.QueueBindingStatus{}
		}
		return current.Status
	}
}

// counts matches a status by its numbers of active, succeeded and failed Jobs.
func counts(active, succeeded, failed int32) OmegaMatcher {
	return WithTransform(func(s v1alpha1.QueueBindingStatus) []int32 {
		return []int32{ptr.Deref(s.ActiveJobs, -1), ptr.Deref(s.SucceededJobs, -1), ptr.Deref(s.FailedJobs, -1)}
	}, Equal([]int32{active, succeeded, failed}))
}

// jobs are the Jobs of the namespace by the ID of their message, of each the one of the newest attempt.
func (w *workspace) jobs(ctx context.Context) map[string]batchv1.Job {
	GinkgoHelper()
	list := &batchv1.JobList{}
	Expect(k8s.List(ctx, list, client.InNamespace(w.namespace))).To(Succeed())
	found := map[string]batchv1.Job{}
	for _, each := range list.Items {
		id := each.Annotations[v1alpha1.AnnotationMessageID]
		before, known := found[id]
		Expect(known && attempt(before) == attempt(each)).To(BeFalse(), "two Jobs for attempt %d at message %s", attempt(each), id)
		if !known || attempt(before) < attempt(each) {
			found[id] = each
		}
	}
	return found
}

func attempt(of batchv1.Job) int {
	GinkgoHelper()
	number, err := strconv.Atoi(of.Annotations[v1alpha1.AnnotationAttempt])
	Expect(err).NotTo(HaveOccurred())
	return number
}

// outcome is the newest attempt at a message and the state of its Job, such as `2 Failed`.
func (w *workspace) outcome(ctx context.Context, messageID string) string {
	newest, ok := w.jobs(ctx)[messageID]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d %s", attempt(newest), job.Observe(&newest).State)
}

// podsOf are the Pods of a message's Job.
func (w *workspace) podsOf(ctx context.Context, messageID string) []corev1.Pod {
	GinkgoHelper()
	list := &corev1.PodList{}
	Expect(k8s.List(ctx, list, client.InNamespace(w.namespace), client.MatchingLabels{batchv1.JobNameLabel: w.jobs(ctx)[messageID].Name})).To(Succeed())
	return list.Items
}

// runningPod is the name of the only Pod of a message's Job, if its containers run and nobody deleted it.
func (w *workspace) runningPod(ctx context.Context, messageID string) string {
	found := w.podsOf(ctx, messageID)
	if len(found) != 1 || found[0].Status.Phase != corev1.PodRunning || found[0].DeletionTimestamp != nil {
		return ""
	}
	return found[0].Name
}

// printed is what a container of a message's only Pod printed.
func (w *workspace) printed(ctx context.Context, messageID, container string) string {
	GinkgoHelper()
	found := w.podsOf(ctx, messageID)
	Expect(found).To(HaveLen(1))
	log, err := pods.CoreV1().Pods(w.namespace).GetLogs(found[0].Name, &corev1.PodLogOptions{Container: container}).DoRaw(ctx)
	Expect(err).NotTo(HaveOccurred())
	return string(log)
}
