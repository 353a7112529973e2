package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/test/rig"
)

const (
	// parallelCreates is how many Jobs the operator creates at a time for one binding, and so how many the bare client does.
	parallelCreates = 16
	// receivers is how many receives the bare client has under way while it drains.
	receivers = 4
	// bareName is that of the object that owns the bare client's Jobs.
	bareName = "bare"
)

// bare is a client that does only what nobody could do without: receive, create, delete. It remembers nothing, verifies
// nothing, and keeps no limit.
type bare struct {
	client client.Client
	queue  *sqs.Client
	url    *string
	// model is a Job as the operator would make it, down to the length of its labels.
	model *batchv1.Job
	made  atomic.Int64
}

// newBare makes a bare client for a queue, whose Jobs belong to an object in a namespace.
func newBare(ctx context.Context, cluster *rig.Cluster, namespace string, q *rig.Queue) (*bare, error) {
	reached, err := client.New(cluster.Config, client.Options{Scheme: cluster.Client.Scheme()})
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	// The garbage collector would take Jobs whose owner is not there, and the operator those of a binding.
	standIn := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: bareName}}
	if err := reached.Create(ctx, standIn); err != nil {
		return nil, fmt.Errorf("creating the owner of the bare client's Jobs: %w", err)
	}
	model, err := modelJob(ctx, namespace, q.URL, standIn)
	if err != nil {
		return nil, err
	}
	made := &bare{client: reached, url: &q.URL, model: model}
	made.at(cluster.SQSEndpoint)
	return made, nil
}

// at has the client speak to SQS at an endpoint.
func (b *bare) at(endpoint string) {
	transport := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = 2 * parallelCreates })
	b.queue = sqs.New(sqs.Options{
		BaseEndpoint: aws.String(endpoint),
		Region:       "eu-west-1",
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient:   transport,
	})
}

func modelJob(ctx context.Context, namespace, queueURL string, owner *corev1.ConfigMap) (*batchv1.Job, error) {
	binding := benchBinding(namespace, bareName, queueURL)
	binding.UID = owner.UID
	variables, err := job.CompileVariables(binding.Spec.Message.Variables)
	if err != nil {
		return nil, err
	}
	message := &queue.Message{ID: strings.Repeat("0", 36), Body: body(0), ReceiveCount: 1}
	model, err := job.Render(ctx, binding, variables, message, job.Lineage{Root: message.ID, Attempt: 1}, job.Trace{})
	if err != nil {
		return nil, err
	}
	model.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, corev1.SchemeGroupVersion.WithKind("ConfigMap"))}
	model.Labels = foreign(model.Labels)
	model.Spec.Template.Labels = foreign(model.Spec.Template.Labels)
	return model, nil
}

// foreign changes the keys by which the operator knows its own, and not their length.
func foreign(labels map[string]string) map[string]string {
	changed := map[string]string{}
	for key, value := range labels {
		changed[strings.Replace(key, v1alpha1.KeyPrefix, strings.Repeat("x", len(v1alpha1.KeyPrefix)-5)+".dev/", 1)] = value
	}
	return changed
}

// receive waits for messages.
func (b *bare) receive(ctx context.Context, limit, seconds int32) ([]types.Message, error) {
	output, err := b.queue.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: b.url, MaxNumberOfMessages: limit, WaitTimeSeconds: seconds, VisibilityTimeout: 60,
		MessageAttributeNames: []string{"All"},
	})
	if err != nil {
		return nil, fmt.Errorf("receiving: %w", err)
	}
	return output.Messages, nil
}

// create makes a message's Job.
func (b *bare) create(ctx context.Context, message *types.Message) error {
	made := b.model.DeepCopy()
	made.Name = fmt.Sprintf("%s-%012d", bareName, b.made.Add(1))
	made.Spec.Template.Annotations[v1alpha1.AnnotationBody] = aws.ToString(message.Body)
	if err := b.client.Create(ctx, made); err != nil {
		return fmt.Errorf("creating: %w", err)
	}
	return nil
}

// remove deletes messages, at most ten.
func (b *bare) remove(ctx context.Context, messages []types.Message) error {
	entries := make([]types.DeleteMessageBatchRequestEntry, len(messages))
	for i := range messages {
		entries[i] = types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: messages[i].ReceiptHandle}
	}
	if _, err := b.queue.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: b.url, Entries: entries}); err != nil {
		return fmt.Errorf("deleting: %w", err)
	}
	return nil
}

// drain makes n messages into Jobs.
func (b *bare) drain(ctx context.Context, n int) error {
	group, ctx := errgroup.WithContext(ctx)
	received := make(chan types.Message, receivers*queue.MaxBatch)
	done := make(chan types.Message, receivers*queue.MaxBatch)
	var count atomic.Int64
	var receiving, creating sync.WaitGroup
	receiving.Add(receivers)
	for range receivers {
		group.Go(func() error {
			defer receiving.Done()
			for count.Load() < int64(n) {
				messages, err := b.receive(ctx, queue.MaxBatch, 1)
				if err != nil {
					return err
				}
				count.Add(int64(len(messages)))
				for _, message := range messages {
					select {
					case received <- message:
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			}
			return nil
		})
	}
	go func() { receiving.Wait(); close(received) }()
	creating.Add(parallelCreates)
	for range parallelCreates {
		group.Go(func() error {
			defer creating.Done()
			for message := range received {
				if err := b.create(ctx, &message); err != nil {
					return err
				}
				done <- message
			}
			return nil
		})
	}
	go func() { creating.Wait(); close(done) }()
	var batch []types.Message
	remove := func(messages []types.Message) {
		group.Go(func() error { return b.remove(ctx, messages) })
	}
	for message := range done {
		if batch = append(batch, message); len(batch) == queue.MaxBatch {
			remove(batch)
			batch = nil
		}
	}
	if len(batch) > 0 {
		remove(batch)
	}
	return group.Wait()
}

// one makes the next message into a Job, from an open long poll. It says when it has begun to wait.
func (b *bare) one(ctx context.Context, waiting chan<- struct{}) error {
	close(waiting)
	for {
		messages, err := b.receive(ctx, queue.MaxBatch, 20)
		if err != nil {
			return err
		}
		for i := range messages {
			if err := b.create(ctx, &messages[i]); err != nil {
				return err
			}
		}
		if len(messages) > 0 {
			return b.remove(ctx, messages)
		}
	}
}
