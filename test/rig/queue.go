package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/sync/errgroup"
)

// Queue is a queue as a producer sees it, and one who may look inside the emulator.
type Queue struct {
	Name, URL string

	client   *sqs.Client
	endpoint string
}

// CreateQueue makes a queue, a FIFO one where the name ends in `.fifo`. With the name of another queue, messages go there that
// were received more than receives times.
func (c *Cluster) CreateQueue(ctx context.Context, name, dead string, receives int) (*Queue, error) {
	q := &Queue{Name: name, endpoint: c.SQSEndpoint, client: sqs.New(sqs.Options{
		BaseEndpoint: aws.String(c.SQSEndpoint),
		Region:       "eu-west-1",
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
	})}
	input := &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{}}
	if q.isFIFO() {
		input.Attributes["FifoQueue"], input.Attributes["ContentBasedDeduplication"] = "true", "true"
	}
	if dead != "" {
		input.Attributes["RedrivePolicy"] = fmt.Sprintf(`{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:000000000000:%s","maxReceiveCount":%d}`, dead, receives)
	}
	output, err := q.client.CreateQueue(ctx, input)
	if err != nil {
		return nil, fmt.Errorf("creating queue %s: %w", name, err)
	}
	q.URL = aws.ToString(output.QueueUrl)
	return q, nil
}

func (q *Queue) isFIFO() bool { return strings.HasSuffix(q.Name, ".fifo") }

// Send sends a message and returns its ID. On a FIFO queue all are of one message group.
func (q *Queue) Send(ctx context.Context, body string) (string, error) {
	return q.SendWith(ctx, body, nil)
}

// SendWith sends a message with attributes, which are strings.
func (q *Queue) SendWith(ctx context.Context, body string, attributes map[string]string) (string, error) {
	return q.SendTo(ctx, "group", body, attributes)
}

// SendTo sends a message with attributes to a message group, where the queue is a FIFO one.
func (q *Queue) SendTo(ctx context.Context, group, body string, attributes map[string]string) (string, error) {
	input := &sqs.SendMessageInput{QueueUrl: &q.URL, MessageBody: &body, MessageAttributes: map[string]types.MessageAttributeValue{}}
	for name, value := range attributes {
		input.MessageAttributes[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
	}
	if q.isFIFO() {
		input.MessageGroupId = &group
	}
	output, err := q.client.SendMessage(ctx, input)
	if err != nil {
		return "", fmt.Errorf("sending to queue %s: %w", q.Name, err)
	}
	return aws.ToString(output.MessageId), nil
}

// SendLater sends a message that cannot be received for some seconds yet, at most 900.
func (q *Queue) SendLater(ctx context.Context, body string, seconds int32) error {
	if _, err := q.client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &q.URL, MessageBody: &body, DelaySeconds: seconds}); err != nil {
		return fmt.Errorf("sending to queue %s: %w", q.Name, err)
	}
	return nil
}

// sendersAtATime is how many batches SendAll has under way.
const sendersAtATime = 4

// SendAll sends messages in batches, in no order.
func (q *Queue) SendAll(ctx context.Context, bodies []string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(sendersAtATime)
	for batch := range slices.Chunk(bodies, 10) {
		group.Go(func() error {
			entries := make([]types.SendMessageBatchRequestEntry, len(batch))
			for i := range batch {
				entries[i] = types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: &batch[i]}
			}
			output, err := q.client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &q.URL, Entries: entries})
			if err == nil && len(output.Failed) > 0 {
				err = errors.New(aws.ToString(output.Failed[0].Message))
			}
			if err != nil {
				return fmt.Errorf("sending to queue %s: %w", q.Name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// Purge deletes what the queue holds.
func (q *Queue) Purge(ctx context.Context) error {
	if _, err := q.client.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: &q.URL}); err != nil {
		return fmt.Errorf("purging queue %s: %w", q.Name, err)
	}
	return nil
}

// Delete deletes the queue with what it holds.
func (q *Queue) Delete(ctx context.Context) error {
	if _, err := q.client.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &q.URL}); err != nil {
		return fmt.Errorf("deleting queue %s: %w", q.Name, err)
	}
	return nil
}

// QueuedMessage is a message that a queue holds, visible or not.
type QueuedMessage struct{ ID, Lineage string }

// held is a message as the emulator tells of it.
type held struct {
	MessageID string                                  `json:"messageId"`
	OfMessage map[string]struct{ StringValue string } `json:"messageAttributes"`
}

// inside is what a queue holds: messages that can be received, that cannot yet, and that were.
type inside struct {
	Messages struct {
		Ready, Delayed []held
		Inflight       []struct {
			Message held
			// VisibilityDeadline is in milliseconds since 1970. The emulator leaves a message here after that until somebody
			// receives.
			VisibilityDeadline int64
		}
	}
}

func (q *Queue) look(ctx context.Context) (inside, error) {
	var seen inside
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, q.endpoint+"/_fauxqs/queues/"+q.Name, nil)
	if err != nil {
		return seen, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return seen, fmt.Errorf("looking into queue %s: %w", q.Name, err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&seen); err != nil {
		return seen, fmt.Errorf("looking into queue %s: %w", q.Name, err)
	}
	return seen, nil
}

// Contents are all messages that the queue holds. Looking does not change them.
func (q *Queue) Contents(ctx context.Context) ([]QueuedMessage, error) {
	seen, err := q.look(ctx)
	if err != nil {
		return nil, err
	}
	all := append(seen.Messages.Ready, seen.Messages.Delayed...)
	for _, hidden := range seen.Messages.Inflight {
		all = append(all, hidden.Message)
	}
	contents := make([]QueuedMessage, len(all))
	for i, m := range all {
		contents[i] = QueuedMessage{ID: m.MessageID, Lineage: m.OfMessage["queuebinding.dev.lineage"].StringValue}
	}
	return contents, nil
}

// Visible is how many messages can be received now, hidden how many were received and are neither deleted nor visible again.
func (q *Queue) Visible(ctx context.Context) (visible, hidden int, err error) {
	seen, err := q.look(ctx)
	if err != nil {
		return 0, 0, err
	}
	visible = len(seen.Messages.Ready)
	for _, each := range seen.Messages.Inflight {
		if each.VisibilityDeadline > time.Now().UnixMilli() {
			hidden++
		} else {
			visible++
		}
	}
	return visible, hidden, nil
}

// Holds says how many messages the queue holds, or nothing where that is as many as wanted.
func (q *Queue) Holds(ctx context.Context, want int) string {
	contents, err := q.Contents(ctx)
	if err != nil {
		return err.Error()
	}
	if len(contents) != want {
		return fmt.Sprintf("queue %s holds %d messages, not %d", q.Name, len(contents), want)
	}
	return ""
}

// SetRetention sets how long the queue keeps a message, in seconds.
func (q *Queue) SetRetention(ctx context.Context, seconds int) error {
	_, err := q.client.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{
		QueueUrl: &q.URL, Attributes: map[string]string{"MessageRetentionPeriod": strconv.Itoa(seconds)},
	})
	if err != nil {
		return fmt.Errorf("setting the retention period of queue %s: %w", q.Name, err)
	}
	return nil
}
