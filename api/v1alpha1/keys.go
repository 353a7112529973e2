package v1alpha1

// KeyPrefix begins the keys of all labels and annotations that are the operator's own.
const KeyPrefix = "queuebinding.dev/"

// Labels of Jobs and of their Pods.
const (
	// LabelBinding is the name of the binding. Owner UID decides; the label only selects.
	LabelBinding = "queuebinding.dev/binding"
	// LabelMessage is a hash of the root message ID: the same for all attempts of a message.
	LabelMessage = "queuebinding.dev/message"
)

// Annotations of Jobs.
const (
	// AnnotationMessageID is the root message ID: that of the message as it was first sent.
	AnnotationMessageID = "queuebinding.dev/message-id"
	// AnnotationAttempt is the number of the attempt at the message, from 1.
	AnnotationAttempt = "queuebinding.dev/attempt"
	// AnnotationGroupID is the message group of a FIFO queue's message.
	AnnotationGroupID = "queuebinding.dev/group-id"
	// AnnotationMessageSentAt is when the Job's message was sent, in RFC 3339 with milliseconds, where SQS told.
	AnnotationMessageSentAt = "queuebinding.dev/message-sent-at"
	// AnnotationDelivery is File on Jobs whose message is in a Secret of theirs.
	AnnotationDelivery = "queuebinding.dev/delivery"
	// AnnotationAttributeTypes holds the SQS data types of the message's attributes, as a JSON object, where they are
	// not all String: without them a requeue could not restore numbers and binary values.
	AnnotationAttributeTypes = "queuebinding.dev/attribute-types"
	// AnnotationUntied is true on failed Jobs whose message was sent again without a lineage, for want of room: their
	// successor cannot be told, so that they stay, and count as failed, until somebody deletes them.
	AnnotationUntied = "queuebinding.dev/untied"
	// AnnotationReceiptHandle is the receipt handle of the Job's message, on Jobs under OnJobSucceeded only: by it the
	// message is kept hidden while the Job runs, and deleted or given back at its end.
	AnnotationReceiptHandle = "queuebinding.dev/receipt-handle"
	// AnnotationReceiveCount is how often the message had been received when it gave that handle, and AnnotationReceivedAt
	// when that was, in RFC 3339: they tell a later receipt handle from an earlier one, and when SQS's 12 hours end.
	AnnotationReceiveCount = "queuebinding.dev/receive-count"
	AnnotationReceivedAt   = "queuebinding.dev/received-at"
	// AnnotationReceiptMessageID is the ID of the message that gave the handle. Two messages may be for one attempt, where one was
	// sent again twice.
	AnnotationReceiptMessageID = "queuebinding.dev/receipt-message-id"
	// AnnotationStoredBytes is how many bytes the API server stores for the Job, its Pod and its Secrets, as far as that is known when
	// it is created.
	AnnotationStoredBytes = "queuebinding.dev/stored-bytes"
	// AnnotationTraceparent is the trace context that the Job gives its containers as TRACEPARENT, where its message is followed, and
	// AnnotationTracestate what they get as TRACESTATE, if anything.
	AnnotationTraceparent = "queuebinding.dev/traceparent"
	AnnotationTracestate  = "queuebinding.dev/tracestate"
	// AnnotationRequeuedAt is when a failed Job's message was sent again, in RFC 3339.
	AnnotationRequeuedAt = "queuebinding.dev/requeued-at"
)

// Annotations of Pod templates.
const (
	// AnnotationBody is the message's body.
	AnnotationBody = "queuebinding.dev/body"
	// AnnotationAttributes are the message's attributes, a JSON object of strings; binary values are base64.
	AnnotationAttributes = "queuebinding.dev/attributes"
)

// AnnotationRequeue on a binding asks for failed Jobs to be requeued: a comma-separated list of Job names, or `all`.
const AnnotationRequeue = "queuebinding.dev/requeue"

// Annotations of Namespaces, which say what the bindings in them may use where an operator has `--tenancy=namespaces`. Lists are
// separated by commas or blanks; in each entry * stands for any characters but a colon or a slash, and ? for one.
const (
	// AnnotationAllowedQueues lists the ARNs of the queues that bindings may use.
	AnnotationAllowedQueues = "queuebinding.dev/allowed-queues"
	// AnnotationAllowedRoles lists the ARNs of the roles that bindings may name in spec.queue.credentials.roleARN.
	AnnotationAllowedRoles = "queuebinding.dev/allowed-roles"
	// AnnotationOperatorIdentity is true where bindings may use queues with the operator's own identity, without credentials.
	AnnotationOperatorIdentity = "queuebinding.dev/operator-identity"
)

// AttributeLineage is the SQS message attribute that ties a requeued message to the Jobs before it.
const AttributeLineage = "queuebinding.dev.lineage"

// SQS message attributes by which a producer gives a message its trace context, as W3C's Trace Context has it.
const (
	AttributeTraceparent = "traceparent"
	AttributeTracestate  = "tracestate"
)

// Environment variables of containers.
const (
	EnvMessageID         = "QUEUEBINDING_MESSAGE_ID"
	EnvMessageBody       = "QUEUEBINDING_MESSAGE_BODY"
	EnvMessageAttributes = "QUEUEBINDING_MESSAGE_ATTRIBUTES"
	EnvMessageFile       = "QUEUEBINDING_MESSAGE_FILE"
	EnvAttempt           = "QUEUEBINDING_ATTEMPT"
	EnvQueueURL          = "QUEUEBINDING_QUEUE_URL"
	EnvName              = "QUEUEBINDING_NAME"

	// EnvTraceparent and EnvTracestate are the context of a message that is followed by traces.
	EnvTraceparent = "TRACEPARENT"
	EnvTracestate  = "TRACESTATE"
)

// FilesPath is the directory in which a container finds its message under File delivery: body and attributes.json.
const FilesPath = "/var/run/queuebinding"
