// Package queue is the port through which the operator reaches a message queue. It holds what a queue promises and
// its typed errors, and enforces SQS's own limits before a request leaves, because emulators do not enforce them.
// It does no I/O: the packages below it do.
package queue

import (
	"context"
	"time"
)

// MaxBatch is the most messages of one receive and the most entries of one batch, SQS's limit.
const MaxBatch = 10

// MaxWait is the longest long poll, SQS's limit.
const MaxWait = 20 * time.Second

// MaxVisibilityTimeout is the longest visibility timeout, SQS's limit.
const MaxVisibilityTimeout = 12 * time.Hour

// Message is a received message.
type Message struct {
	// ID is the ID that SQS gave the message when it was sent.
	ID string
	// ReceiptHandle names this receive of the message.
	ReceiptHandle string
	// Body is the message's body, 1 byte to 1 MiB of UTF-8.
	Body string
	// Attributes are the message attributes of the sender.
	Attributes Attributes
	// GroupID is the message group, on FIFO queues (and on fair queues).
	GroupID string
	// SentTime is when the message was sent.
	SentTime time.Time
	// ReceivedTime is when the receive was asked for, which is before SQS began to count the message's 12 hours.
	ReceivedTime time.Time
	// ArrivedTime is when the answer to that receive was there.
	ArrivedTime time.Time
	// ReceiveCount is how often the message was received, this receive included.
	ReceiveCount int
	// TraceHeader is the system attribute AWSTraceHeader: the sender's trace context, as AWS X-Ray writes it.
	TraceHeader string
}

// Size is how many bytes SQS counts for the message: its body, and the names, types and values of its attributes.
func (m *Message) Size() int { return len(m.Body) + m.Attributes.Size() }

// Outgoing is a message to be sent.
type Outgoing struct {
	Body       string
	Attributes Attributes
	// GroupID is required on FIFO queues.
	GroupID string
	// DeduplicationID is for FIFO queues only.
	DeduplicationID string
	// TraceHeader is the system attribute AWSTraceHeader, which counts neither as an attribute nor for the size.
	TraceHeader string
}

// Stats is what a queue says of itself.
type Stats struct {
	VisibleMessages  int64
	InFlightMessages int64
	DelayedMessages  int64
	FIFO             bool
	// RetentionPeriod is how long the queue keeps a message from when it was sent, also one in flight. It is 0 where the queue does not
	// tell.
	RetentionPeriod time.Duration
	// DeadLetterQueueARN is empty where the queue has no redrive policy.
	DeadLetterQueueARN string
	// DeadLetterMessages is nil where the dead-letter queue cannot be read.
	DeadLetterMessages *int64
}

// Queue is one queue. Its methods may be called from several goroutines. Their errors are *Error where the queue or
// the way to it is the cause; a context's error is returned as it is.
type Queue interface {
	// Receive waits up to wait for messages and hides up to limit (1 to MaxBatch) of them for visibility.
	// A canceled receive may leave messages hidden that nobody got; let it end. It asks the Admit of its context before it
	// reads messages.
	Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]Message, error)
	// Delete removes messages by their receipt handles and returns one error for each, nil where it was deleted.
	Delete(ctx context.Context, receiptHandles []string) []error
	// ChangeVisibility hides messages for timeout from now; 0 gives them back. It returns one error for each.
	ChangeVisibility(ctx context.Context, receiptHandles []string, timeout time.Duration) []error
	// Send puts a message on the queue.
	Send(ctx context.Context, message Outgoing) error
	// SendBatch puts messages on the queue, in the requests that Batches divides them into, one after the other, and returns one
	// error for each, nil where it was sent. With any but InvalidMessage it may have been: the answer may be lost.
	SendBatch(ctx context.Context, messages []Outgoing) []error
	// Redrive starts to move the messages of the queue's dead-letter queue back to the queue. One that is under way is
	// success. Where the queue has no such queue or that one serves other queues too, the error's reason is
	// NoDeadLetterQueue or DeadLetterQueueShared.
	Redrive(ctx context.Context) error
	// Stats asks the queue for its numbers of messages and its policies.
	Stats(ctx context.Context) (Stats, error)
}

// Address is what is needed to open a queue.
type Address struct {
	// URL is the queue's URL.
	URL string
	// Region is the AWS region, or empty to take it from the URL or the environment.
	Region string
	// Credentials are the identity to use; the zero value is the operator's own.
	Credentials Credentials
}

// Credentials are an AWS identity: a role, or keys.
type Credentials struct {
	// RoleARN is the role to assume, with ExternalID. Session says on whose behalf, for AWS's own records.
	RoleARN, ExternalID, Session string
	// AccessKeyID, SecretAccessKey and, for temporary ones, SessionToken are keys.
	AccessKeyID, SecretAccessKey, SessionToken string
}

// Opener opens queues. Opening asks the queue nothing; it fails with an *Error of reason InvalidQueue or
// CredentialsUnavailable.
type Opener interface {
	Open(ctx context.Context, address Address) (Queue, error)
}
