package sqs

import (
	"context"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/queuebinding/queuebinding/internal/queue"
)

// answerTimeout is how long SQS may take to answer, long polling aside.
const answerTimeout = 15 * time.Second

// sqsQueue is a queue.Queue in SQS.
type sqsQueue struct {
	client *sqs.Client
	url    string
	// redriveAs, where the client's session is narrowed to the queue, returns one that may also move the messages of a dead-letter queue.
	redriveAs func(deadLetterARN string) (*sqs.Client, error)

	mu            sync.Mutex
	deadLetterARN string // of deadLetterURL
	deadLetterURL string
	// deadLetterAfter is when to ask again after a dead-letter queue could not be counted.
	deadLetterAfter time.Time
}

// Receive implements queue.Queue.
func (q *sqsQueue) Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]queue.Message, error) {
	ctx, cancel := withinTime(ctx, wait+answerTimeout)
	defer cancel()
	output, err := q.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:              &q.url,
		MaxNumberOfMessages:   int32(min(limit, queue.MaxBatch)),
		WaitTimeSeconds:       seconds(wait),
		VisibilityTimeout:     seconds(visibility),
		MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{
			types.MessageSystemAttributeNameSentTimestamp,
			types.MessageSystemAttributeNameApproximateReceiveCount,
			types.MessageSystemAttributeNameMessageGroupId,
			types.MessageSystemAttributeNameAWSTraceHeader,
		},
	})
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, classify(err, queue.InvalidQueue)
	}
	messages := make([]queue.Message, 0, len(output.Messages))
	for i := range output.Messages {
		messages = append(messages, received(&output.Messages[i]))
	}
	return messages, nil
}

func received(m *types.Message) queue.Message {
	message := queue.Message{
		ID:            aws.ToString(m.MessageId),
		ReceiptHandle: aws.ToString(m.ReceiptHandle),
		Body:          aws.ToString(m.Body),
		GroupID:       m.Attributes[string(types.MessageSystemAttributeNameMessageGroupId)],
		ReceiveCount:  1,
		TraceHeader:   m.Attributes[string(types.MessageSystemAttributeNameAWSTraceHeader)],
	}
	if sent, err := strconv.ParseInt(m.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64); err == nil {
		message.SentTime = time.UnixMilli(sent).UTC()
	}
	if count, err := strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)]); err == nil {
		message.ReceiveCount = count
	}
	if len(m.MessageAttributes) > 0 {
		message.Attributes = make(queue.Attributes, len(m.MessageAttributes))
		for name, value := range m.MessageAttributes {
			message.Attributes[name] = queue.Attribute{
				DataType:    aws.ToString(value.DataType),
				StringValue: aws.ToString(value.StringValue),
				BinaryValue: value.BinaryValue,
			}
		}
	}
	return message
}

// Delete implements queue.Queue.
func (q *sqsQueue) Delete(ctx context.Context, receiptHandles []string) []error {
	return inBatches(receiptHandles, func(handles []string) ([]types.BatchResultErrorEntry, error) {
		entries := make([]types.DeleteMessageBatchRequestEntry, len(handles))
		for i := range handles {
			entries[i] = types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &handles[i]}
		}
		ctx, cancel := context.WithTimeout(ctx, answerTimeout)
		defer cancel()
		output, err := q.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &q.url, Entries: entries})
		if err != nil {
			return nil, err
		}
		return output.Failed, nil
	})
}

// ChangeVisibility implements queue.Queue.
func (q *sqsQueue) ChangeVisibility(ctx context.Context, receiptHandles []string, timeout time.Duration) []error {
	return inBatches(receiptHandles, func(handles []string) ([]types.BatchResultErrorEntry, error) {
		entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(handles))
		for i := range handles {
			entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{
				Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &handles[i], VisibilityTimeout: seconds(timeout),
			}
		}
		ctx, cancel := context.WithTimeout(ctx, answerTimeout)
		defer cancel()
		output, err := q.client.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &q.url, Entries: entries})
		if err != nil {
			return nil, err
		}
		return output.Failed, nil
	})
}

// inBatches calls do with at most queue.MaxBatch handles at a time and gives each handle its error.
func inBatches(handles []string, do func(handles []string) ([]types.BatchResultErrorEntry, error)) []error {
	errs := make([]error, len(handles))
	for from := 0; from < len(handles); from += queue.MaxBatch {
		batch := handles[from:min(from+queue.MaxBatch, len(handles))]
		failed, err := do(batch)
		if err != nil {
			err = classify(err, queue.ReceiptHandleInvalid)
			for i := range batch {
				errs[from+i] = err
			}
			continue
		}
		for _, entry := range failed {
			i, err := strconv.Atoi(aws.ToString(entry.Id))
			if err != nil || i < 0 || i >= len(batch) {
				continue
			}
			errs[from+i] = entryError(aws.ToString(entry.Code), aws.ToString(entry.Message), queue.ReceiptHandleInvalid)
		}
	}
	return errs
}

// Send implements queue.Queue.
func (q *sqsQueue) Send(ctx context.Context, message queue.Outgoing) error {
	if err := message.Validate(); err != nil {
		return err
	}
	input := &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: &message.Body}
	if message.GroupID != "" {
		input.MessageGroupId = &message.GroupID
	}
	if message.DeduplicationID != "" {
		input.MessageDeduplicationId = &message.DeduplicationID
	}
	input.MessageAttributes = outgoing(message.Attributes)
	input.MessageSystemAttributes = systemAttributes(&message)
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if _, err := q.client.SendMessage(ctx, input); err != nil {
		return classify(err, queue.InvalidMessage)
	}
	return nil
}

// SendBatch implements queue.Queue.
func (q *sqsQueue) SendBatch(ctx context.Context, messages []queue.Outgoing) []error {
	batches, errs := queue.Batches(messages)
	for _, batch := range batches {
		q.sendBatch(ctx, messages, batch, errs)
	}
	return errs
}

// sendBatch sends the messages of a batch and notes their errors.
func (q *sqsQueue) sendBatch(ctx context.Context, messages []queue.Outgoing, batch []int, errs []error) {
	output, err := q.requestBatch(ctx, messages, batch)
	if err != nil {
		err = classify(err, queue.InvalidMessage)
		alone := len(batch) > 1 && queue.ReasonOf(err) == queue.InvalidMessage
		for _, index := range batch {
			if errs[index] = err; alone {
				// One of them had all refused: it is to be told from the others.
				errs[index] = q.Send(ctx, messages[index])
			}
		}
		return
	}
	// What the answer does not name is not known to be on the queue.
	for _, index := range batch {
		errs[index] = queue.Errorf(queue.Unreachable, "SQS's answer to a batch leaves the message out")
	}
	for _, entry := range output.Successful {
		if i, ok := entryOf(entry.Id, batch); ok {
			errs[i] = nil
		}
	}
	for _, entry := range output.Failed {
		if i, ok := entryOf(entry.Id, batch); ok {
			errs[i] = entryError(aws.ToString(entry.Code), aws.ToString(entry.Message), queue.InvalidMessage)
		}
	}
}

// entryOf returns which of a batch's messages an entry of the answer is about.
func entryOf(id *string, batch []int) (index int, ok bool) {
	i, err := strconv.Atoi(aws.ToString(id))
	if err != nil || i < 0 || i >= len(batch) {
		return 0, false
	}
	return batch[i], true
}

// requestBatch sends a batch in one request.
func (q *sqsQueue) requestBatch(ctx context.Context, messages []queue.Outgoing, batch []int) (*sqs.SendMessageBatchOutput, error) {
	entries := make([]types.SendMessageBatchRequestEntry, len(batch))
	for i, index := range batch {
		message := &messages[index]
		entries[i] = types.SendMessageBatchRequestEntry{
			Id: aws.String(strconv.Itoa(i)), MessageBody: &message.Body, MessageAttributes: outgoing(message.Attributes),
			MessageSystemAttributes: systemAttributes(message),
		}
		if message.GroupID != "" {
			entries[i].MessageGroupId = &message.GroupID
		}
		if message.DeduplicationID != "" {
			entries[i].MessageDeduplicationId = &message.DeduplicationID
		}
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return q.client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &q.url, Entries: entries})
}

// systemAttributes are those that a sender can set.
func systemAttributes(message *queue.Outgoing) map[string]types.MessageSystemAttributeValue {
	if message.TraceHeader == "" {
		return nil
	}
	return map[string]types.MessageSystemAttributeValue{
		string(types.MessageSystemAttributeNameForSendsAWSTraceHeader): {DataType: aws.String("String"), StringValue: &message.TraceHeader},
	}
}

// outgoing are attributes as the SDK wants them.
func outgoing(attributes queue.Attributes) map[string]types.MessageAttributeValue {
	if len(attributes) == 0 {
		return nil
	}
	values := make(map[string]types.MessageAttributeValue, len(attributes))
	for name, a := range attributes {
		value := types.MessageAttributeValue{DataType: aws.String(a.DataType)}
		if a.IsBinary() {
			value.BinaryValue = a.BinaryValue
		} else {
			value.StringValue = aws.String(a.StringValue)
		}
		values[name] = value
	}
	return values
}

// Settings implements queue.Queue.
func (q *sqsQueue) Stats(ctx context.Context) (queue.Stats, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	output, err := q.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl:       &q.url,
		AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	if err != nil {
		return queue.Stats{}, classify(err, queue.InvalidQueue)
	}
	number := func(name types.QueueAttributeName) int64 {
		n, _ := strconv.ParseInt(output.Attributes[string(name)], 10, 64) // absent is 0
		return n
	}
	settings := queue.Stats{
		VisibleMessages:  number(types.QueueAttributeNameApproximateNumberOfMessages),
		InFlightMessages: number(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible),
		DelayedMessages:  number(types.QueueAttributeNameApproximateNumberOfMessagesDelayed),
		FIFO:             strings.HasSuffix(q.url, ".fifo"),
		RetentionPeriod:  time.Duration(number(types.QueueAttributeNameMessageRetentionPeriod)) * time.Second,
	}
	if settings.DeadLetterQueueARN, err = deadLetterTarget(output.Attributes); err != nil {
		return queue.Stats{}, err
	}
	if settings.DeadLetterQueueARN != "" {
		settings.DeadLetterMessages = q.deadLetterMessages(ctx, settings.DeadLetterQueueARN)
	}
	return settings, nil
}

// seconds rounds up, as a timeout of half a second must not become none.
func seconds(d time.Duration) int32 { return int32(math.Ceil(d.Seconds())) }
