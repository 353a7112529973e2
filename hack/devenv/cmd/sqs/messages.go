package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/spf13/cobra"
)

// attribute is a message attribute as the AWS command line reads and prints it.
type attribute struct {
	StringValue string `json:",omitempty"`
	BinaryValue []byte `json:",omitempty"`
	DataType    string
}

// received is a message as the AWS command line prints it.
type received struct {
	MessageID              string `json:"MessageId"`
	ReceiptHandle          string
	MD5OfBody              string
	Body                   string
	Attributes             map[string]string    `json:",omitempty"`
	MD5OfMessageAttributes string               `json:",omitempty"`
	MessageAttributes      map[string]attribute `json:",omitempty"`
}

func messageCommands(show *presentation) []*cobra.Command {
	return []*cobra.Command{sendCommand(show), receiveCommand(show), deleteCommand(show), visibilityCommand(show)}
}

// outgoing is what send-message sends.
type outgoing struct {
	url, body, attributes, group, deduplication string
	delay, count                                int
}

func sendCommand(show *presentation) *cobra.Command {
	var message outgoing
	cmd := command(show, "send-message", "Send a message", func(ctx context.Context, client *sqs.Client) (any, error) {
		if message.count > 1 {
			return message.sendCopies(ctx, client)
		}
		return message.send(ctx, client)
	})
	required(cmd, &message.url, "queue-url", "URL")
	required(cmd, &message.body, "message-body", "body, or file://path")
	cmd.Flags().StringVar(&message.attributes, "message-attributes", "", "JSON object, or file://path")
	cmd.Flags().StringVar(&message.group, "message-group-id", "", "message group")
	cmd.Flags().StringVar(&message.deduplication, "message-deduplication-id", "", "deduplication ID, on FIFO queues")
	cmd.Flags().IntVar(&message.delay, "delay-seconds", 0, "seconds until it can be received")
	cmd.Flags().IntVar(&message.count, "count", 1, "not in aws sqs: how many copies to send; a deduplication ID gets -1, -2, … appended")
	return cmd
}

func (m outgoing) messageAttributes() (map[string]types.MessageAttributeValue, error) {
	text, err := fromFile(m.attributes)
	if err != nil || text == "" {
		return nil, err
	}
	var parsed map[string]attribute
	if err := json.Unmarshal([]byte(text), &parsed); err != nil {
		return nil, fmt.Errorf("reading message attributes: %w", err)
	}
	values := map[string]types.MessageAttributeValue{}
	for name, a := range parsed {
		value := types.MessageAttributeValue{DataType: aws.String(a.DataType)}
		if a.BinaryValue != nil {
			value.BinaryValue = a.BinaryValue
		} else {
			value.StringValue = aws.String(a.StringValue)
		}
		values[name] = value
	}
	return values, nil
}

func (m outgoing) send(ctx context.Context, client *sqs.Client) (any, error) {
	attributes, err := m.messageAttributes()
	if err != nil {
		return nil, err
	}
	body, err := fromFile(m.body)
	if err != nil {
		return nil, err
	}
	output, err := client.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: &m.url, MessageBody: &body, MessageAttributes: attributes, DelaySeconds: int32(m.delay),
		MessageGroupId: optional(m.group), MessageDeduplicationId: optional(m.deduplication),
	})
	if err != nil {
		return nil, err
	}
	return struct {
		MD5OfMessageBody       string
		MD5OfMessageAttributes string `json:",omitempty"`
		MessageID              string `json:"MessageId"`
		SequenceNumber         string `json:",omitempty"`
	}{
		aws.ToString(output.MD5OfMessageBody), aws.ToString(output.MD5OfMessageAttributes),
		aws.ToString(output.MessageId), aws.ToString(output.SequenceNumber),
	}, nil
}

// Limits of a batch in SQS: entries, and bytes of all of them together.
const (
	batchEntries = 10
	batchBytes   = 1 << 20
)

// sendCopies sends the message count times.
func (m outgoing) sendCopies(ctx context.Context, client *sqs.Client) (any, error) {
	attributes, err := m.messageAttributes()
	if err != nil {
		return nil, err
	}
	body, err := fromFile(m.body)
	if err != nil {
		return nil, err
	}
	size := len(body)
	for name, value := range attributes {
		size += len(name) + len(aws.ToString(value.DataType)) + len(aws.ToString(value.StringValue)) + len(value.BinaryValue)
	}
	perBatch := max(1, min(batchEntries, batchBytes/max(1, size)))
	for sent := 0; sent < m.count; {
		input := &sqs.SendMessageBatchInput{QueueUrl: &m.url}
		for range min(perBatch, m.count-sent) {
			sent++
			entry := types.SendMessageBatchRequestEntry{
				Id: aws.String(strconv.Itoa(sent)), MessageBody: &body, MessageAttributes: attributes,
				DelaySeconds: int32(m.delay), MessageGroupId: optional(m.group),
			}
			if m.deduplication != "" {
				entry.MessageDeduplicationId = aws.String(fmt.Sprintf("%s-%d", m.deduplication, sent))
			}
			input.Entries = append(input.Entries, entry)
		}
		output, err := client.SendMessageBatch(ctx, input)
		if err != nil {
			return nil, err
		}
		if len(output.Failed) > 0 {
			first := output.Failed[0]
			return nil, fmt.Errorf("copy %s was refused: %s: %s", aws.ToString(first.Id), aws.ToString(first.Code), aws.ToString(first.Message))
		}
	}
	return struct{ MessagesSent int }{m.count}, nil
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func receiveCommand(show *presentation) *cobra.Command {
	var (
		url                 string
		systemNames, names  []string
		count, wait         int
		visibility          = -1
		attributesRequested []types.MessageSystemAttributeName
	)
	cmd := command(show, "receive-message", "Receive messages", func(ctx context.Context, client *sqs.Client) (any, error) {
		if count < 1 || count > batchEntries {
			return nil, errors.New("--max-number-of-messages is 1 to 10")
		}
		for _, name := range systemNames {
			attributesRequested = append(attributesRequested, types.MessageSystemAttributeName(name))
		}
		input := &sqs.ReceiveMessageInput{
			QueueUrl: &url, MaxNumberOfMessages: int32(count), WaitTimeSeconds: int32(wait),
			MessageSystemAttributeNames: attributesRequested, MessageAttributeNames: names,
		}
		if visibility >= 0 {
			input.VisibilityTimeout = int32(visibility)
		}
		output, err := client.ReceiveMessage(ctx, input)
		if err != nil || len(output.Messages) == 0 {
			return nil, err
		}
		var messages []received
		for _, message := range output.Messages {
			messages = append(messages, printable(message))
		}
		return struct{ Messages []received }{messages}, nil
	})
	required(cmd, &url, "queue-url", "URL")
	list(cmd, &systemNames, "attribute-names", "message-system-attribute-names", "system attributes, or All")
	cmd.Flags().StringSliceVar(&names, "message-attribute-names", nil, "message attributes, or All")
	cmd.Flags().IntVar(&count, "max-number-of-messages", 1, "1 to 10")
	cmd.Flags().IntVar(&wait, "wait-time-seconds", 0, "how long to wait for a message, 0 to 20")
	cmd.Flags().IntVar(&visibility, "visibility-timeout", -1, "seconds for which they stay hidden from others (default: the queue's)")
	cmd.Flags().Lookup("visibility-timeout").DefValue = ""
	return cmd
}

func printable(message types.Message) received {
	printed := received{
		MessageID:              aws.ToString(message.MessageId),
		ReceiptHandle:          aws.ToString(message.ReceiptHandle),
		MD5OfBody:              aws.ToString(message.MD5OfBody),
		Body:                   aws.ToString(message.Body),
		Attributes:             message.Attributes,
		MD5OfMessageAttributes: aws.ToString(message.MD5OfMessageAttributes),
	}
	for name, value := range message.MessageAttributes {
		if printed.MessageAttributes == nil {
			printed.MessageAttributes = map[string]attribute{}
		}
		printed.MessageAttributes[name] = attribute{
			StringValue: aws.ToString(value.StringValue), BinaryValue: value.BinaryValue, DataType: aws.ToString(value.DataType),
		}
	}
	return printed
}

func deleteCommand(show *presentation) *cobra.Command {
	var url, handle string
	cmd := command(show, "delete-message", "Delete a received message", func(ctx context.Context, client *sqs.Client) (any, error) {
		_, err := client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: &handle})
		return nil, err
	})
	required(cmd, &url, "queue-url", "URL")
	required(cmd, &handle, "receipt-handle", "receipt handle of the last receive")
	return cmd
}

func visibilityCommand(show *presentation) *cobra.Command {
	var url, handle string
	var seconds int
	cmd := command(show, "change-message-visibility", "Change how long a received message stays hidden", func(ctx context.Context, client *sqs.Client) (any, error) {
		_, err := client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
			QueueUrl: &url, ReceiptHandle: &handle, VisibilityTimeout: int32(seconds),
		})
		return nil, err
	})
	required(cmd, &url, "queue-url", "URL")
	required(cmd, &handle, "receipt-handle", "receipt handle of the last receive")
	cmd.Flags().IntVar(&seconds, "visibility-timeout", 0, "seconds from now; 0 gives it back")
	return cmd
}
