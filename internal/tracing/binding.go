package tracing

import (
	"path"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
)

// Attributes of our own, beside those of the semantic conventions.
const (
	// keyBinding is the binding's name; its namespace is k8s.namespace.name.
	keyBinding = attribute.Key("queuebinding.binding")
	// keyRoot is the ID of the message as it was first sent, keyAttempt which attempt at it this is.
	keyRoot    = attribute.Key("queuebinding.message.root")
	keyAttempt = attribute.Key("queuebinding.attempt")
	// keyReceives is how often the message was received, this receive included.
	keyReceives = attribute.Key("queuebinding.message.receive_count")
	// keyResult is what became of a message, keyOutcome of a Job, and keyReason why a Job failed.
	keyResult  = attribute.Key("queuebinding.result")
	keyOutcome = attribute.Key("queuebinding.job.outcome")
	keyReason  = attribute.Key("queuebinding.job.reason")
)

// Binding is what spans tell of a binding.
type Binding struct {
	Namespace, Name, UID string
	QueueURL             string
}

func (b *Binding) queueName() string { return path.Base(b.QueueURL) }

// inCluster are the attributes of a span about what is in the cluster.
func (b *Binding) inCluster(more ...attribute.KeyValue) []attribute.KeyValue {
	return append(more, semconv.K8SNamespaceName(b.Namespace), keyBinding.String(b.Name))
}

// onQueue are the attributes of a span about what is on the queue.
func (b *Binding) onQueue(operation string, kind attribute.KeyValue, more ...attribute.KeyValue) []attribute.KeyValue {
	return b.inCluster(append(more, semconv.MessagingSystemAWSSQS, semconv.MessagingDestinationName(b.queueName()), semconv.AWSSQSQueueURL(b.QueueURL),
		semconv.MessagingOperationName(operation), kind)...)
}
