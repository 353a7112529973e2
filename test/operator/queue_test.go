package operator_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// queue is a queue as a producer sees it, and an observer. It goes by the SDK itself, not by the operator's own code.
type queue struct {
	client *sqs.Client
	url    string
}

func sqsClient() *sqs.Client {
	return sqs.New(sqs.Options{
		BaseEndpoint: aws.String(cluster.SQSEndpoint),
		Region:       "eu-west-1",
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
}

// createQueue makes a queue with attributes given as name and value in turn.
func createQueue(ctx context.Context, name string, attributes ...string) *queue {
	GinkgoHelper()
	q := &queue{client: sqsClient()}
	input := &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{}}
	for i := 0; i < len(attributes); i += 2 {
		input.Attributes[attributes[i]] = attributes[i+1]
	}
	if input.Attributes["FifoQueue"] == "true" {
		input.QueueName = aws.String(name + ".fifo")
	}
	output, err := q.client.CreateQueue(ctx, input)
	Expect(err).NotTo(HaveOccurred())
	q.url = *output.QueueUrl
	return q
}

// redrive are the attributes of a queue that moves messages to another after a number of receives.
func redrive(dead string, receives int) []string {
	return []string{"RedrivePolicy", fmt.Sprintf(`{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:000000000000:%s","maxReceiveCount":"%d"}`, dead, receives)}
}

func (q *queue) send(ctx context.Context, body string, change ...func(*sqs.SendMessageInput)) {
	GinkgoHelper()
	input := &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: &body}
	for _, c := range change {
		c(input)
	}
	_, err := q.client.SendMessage(ctx, input)
	Expect(err).NotTo(HaveOccurred())
}

// sendMany sends n messages for a target that answers, numbered, ten at a time.
func (q *queue) sendMany(ctx context.Context, n int) {
	GinkgoHelper()
	for from := 0; from < n; from += 10 {
		input := &sqs.SendMessageBatchInput{QueueUrl: &q.url}
		for i := from; i < min(n, from+10); i++ {
			input.Entries = append(input.Entries, types.SendMessageBatchRequestEntry{
				Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String(fmt.Sprintf(`{"target": "127.0.0.1", "number": %d}`, i)),
			})
		}
		output, err := q.client.SendMessageBatch(ctx, input)
		Expect(err).NotTo(HaveOccurred())
		Expect(output.Failed).To(BeEmpty())
	}
}

// numbers are how many messages are visible and in flight, for Eventually.
func (q *queue) numbers(ctx context.Context) func() []string {
	return func() []string {
		output, err := q.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &q.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
		if err != nil {
			return []string{err.Error()}
		}
		return []string{output.Attributes["ApproximateNumberOfMessages"], output.Attributes["ApproximateNumberOfMessagesNotVisible"]}
	}
}

var empty = []string{"0", "0"}

// deadLetterName is the name of a dead-letter queue for a test, which is created.
func deadLetterName(ctx context.Context) string {
	GinkgoHelper()
	name := fmt.Sprintf("dead-%d", serial.Add(1))
	createQueue(ctx, name)
	return name
}

func text(value string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
}

func large(size int) string { return strings.Repeat("x", size) }
