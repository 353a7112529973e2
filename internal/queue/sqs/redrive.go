package sqs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/queuebinding/queuebinding/internal/queue"
)

// deadLetterAgain is how long a dead-letter queue that cannot be counted is not asked again.
const deadLetterAgain = 5 * time.Minute

// taskRunning is the status of a message move task that moves messages.
const taskRunning = "RUNNING"

// Redrive implements queue.Queue.
func (q *sqsQueue) Redrive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	output, err := q.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl:       &q.url,
		AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameRedrivePolicy},
	})
	if err != nil {
		return classify(err, queue.InvalidQueue)
	}
	deadLetterARN, err := deadLetterTarget(output.Attributes)
	if err != nil {
		return err
	}
	if deadLetterARN == "" {
		return queue.Errorf(queue.NoDeadLetterQueue, "the queue has no redrive policy: a message stays on it and is tried again until its retention period ends")
	}
	deadLetterURL, err := q.urlOf(ctx, deadLetterARN)
	if err != nil {
		return classify(err, queue.InvalidQueue)
	}
	client := q.client
	if q.redriveAs != nil {
		if client, err = q.redriveAs(deadLetterARN); err != nil {
			return err
		}
	}
	sources, err := client.ListDeadLetterSourceQueues(ctx, &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: &deadLetterURL})
	if err != nil {
		return classify(err, queue.InvalidQueue)
	}
	if n := len(sources.QueueUrls); n > 1 {
		return queue.Errorf(queue.DeadLetterQueueShared, "%s is the dead-letter queue of %d queues, and moving its messages would move those of all: redrive it in SQS, or give the queue one of its own", deadLetterARN, n)
	}
	if running, err := taskRuns(ctx, client, deadLetterARN); running || err != nil {
		return err
	}
	// Without a destination each message goes to the queue that it came from, which is this one.
	_, err = client.StartMessageMoveTask(ctx, &sqs.StartMessageMoveTaskInput{SourceArn: &deadLetterARN})
	if _, refused := errors.AsType[smithy.APIError](err); refused {
		// Somebody else may have started one just now: SQS has one at a time.
		if running, listErr := taskRuns(ctx, client, deadLetterARN); running && listErr == nil {
			return nil
		}
	}
	if err != nil {
		return classify(err, queue.InvalidQueue)
	}
	return nil
}

// taskRuns reports whether messages are being moved out of a dead-letter queue.
func taskRuns(ctx context.Context, client *sqs.Client, deadLetterARN string) (bool, error) {
	tasks, err := client.ListMessageMoveTasks(ctx, &sqs.ListMessageMoveTasksInput{SourceArn: &deadLetterARN})
	if err != nil {
		return false, classify(err, queue.InvalidQueue)
	}
	for _, task := range tasks.Results {
		if aws.ToString(task.Status) == taskRunning {
			return true, nil
		}
	}
	return false, nil
}

// deadLetterTarget is the ARN of the dead-letter queue that a queue's attributes name, or empty.
func deadLetterTarget(attributes map[string]string) (string, error) {
	policy := attributes[string(types.QueueAttributeNameRedrivePolicy)]
	if policy == "" {
		return "", nil
	}
	var redrive struct {
		DeadLetterTargetARN string `json:"deadLetterTargetArn"`
	}
	if err := json.Unmarshal([]byte(policy), &redrive); err != nil {
		return "", queue.Errorf(queue.Unreachable, "redrive policy of the queue: %w", err)
	}
	return redrive.DeadLetterTargetARN, nil
}

// urlOf is the URL of a dead-letter queue.
func (q *sqsQueue) urlOf(ctx context.Context, deadLetterARN string) (string, error) {
	q.mu.Lock()
	known, url := q.deadLetterARN, q.deadLetterURL
	q.mu.Unlock()
	if known == deadLetterARN {
		return url, nil
	}
	parsed, err := arn.Parse(deadLetterARN)
	if err != nil {
		return "", queue.Errorf(queue.InvalidQueue, "ARN of the dead-letter queue: %w", err)
	}
	output, err := q.client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &parsed.Resource, QueueOwnerAWSAccountId: &parsed.AccountID})
	if err != nil {
		return "", err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.deadLetterARN, q.deadLetterURL = deadLetterARN, aws.ToString(output.QueueUrl)
	return q.deadLetterURL, nil
}

// deadLetterMessages counts the messages in the dead-letter queue. It needs rights on that queue that the operator can
// do without, so that an error only leaves the number out.
func (q *sqsQueue) deadLetterMessages(ctx context.Context, deadLetterARN string) *int64 {
	q.mu.Lock()
	after := q.deadLetterAfter
	q.mu.Unlock()
	if time.Now().Before(after) {
		return nil
	}
	n, err := q.countDeadLetters(ctx, deadLetterARN)
	if err != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.deadLetterAfter = time.Now().Add(deadLetterAgain)
		return nil
	}
	return &n
}

func (q *sqsQueue) countDeadLetters(ctx context.Context, deadLetterARN string) (int64, error) {
	url, err := q.urlOf(ctx, deadLetterARN)
	if err != nil {
		return 0, err
	}
	name := types.QueueAttributeNameApproximateNumberOfMessages
	output, err := q.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{name}})
	if err != nil {
		return 0, err
	}
	var n int64
	if _, err := fmt.Sscan(output.Attributes[string(name)], &n); err != nil {
		return 0, fmt.Errorf("number of messages in the dead-letter queue: %w", err)
	}
	return n, nil
}
