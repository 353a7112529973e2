package v1alpha1

// Types of a binding's conditions.
const (
	// ConditionReady is True while messages become Jobs, or would, had the user not suspended the binding.
	ConditionReady = "Ready"
	// ConditionQueueReachable is True while SQS answers for the queue.
	ConditionQueueReachable = "QueueReachable"
	// ConditionJobTemplateValid is True when the API server would accept a Job from the template.
	ConditionJobTemplateValid = "JobTemplateValid"
	// ConditionPodsStarting is False while Pods of the binding's Jobs do not start. Its reason is then the scheduler's or the kubelet's
	// for most of them, such as Unschedulable or ErrImagePull.
	ConditionPodsStarting = "PodsStarting"
)

// Reasons of Ready. Where another condition is what stops the binding, Ready bears that condition's reason.
const (
	// ReasonRunning: messages become Jobs.
	ReasonRunning = "Running"
	// ReasonStarting: the operator has not yet heard from the queue.
	ReasonStarting = "Starting"
	// ReasonSuspended: the user suspended the binding or set maxActiveJobs to 0.
	ReasonSuspended = "Suspended"
	// ReasonStoredBytesLimitReached: the binding's Jobs take as many bytes of the API server's storage as the operator allows.
	ReasonStoredBytesLimitReached = "StoredBytesLimitReached"
	// ReasonFailedJobsLimitReached: failedJobsPolicy is Pause and the limit of failed Jobs is reached.
	ReasonFailedJobsLimitReached = "FailedJobsLimitReached"
	// ReasonQuotaExceeded: a resource quota of the namespace refuses more Jobs.
	ReasonQuotaExceeded = "QuotaExceeded"
	// ReasonForbidden: the operator lacks a permission. JobTemplateValid has it too, where messages would be kept in Secrets.
	ReasonForbidden = "Forbidden"
	// ReasonWebhookUnavailable: an admission webhook cannot be called.
	ReasonWebhookUnavailable = "WebhookUnavailable"
	// ReasonAPIServerUnavailable: the API server does not answer, or too slowly.
	ReasonAPIServerUnavailable = "APIServerUnavailable"
	// ReasonNamespaceTerminating: the namespace is being deleted.
	ReasonNamespaceTerminating = "NamespaceTerminating"
)

// Reasons of QueueReachable.
const (
	// ReasonReachable: SQS answers for the queue.
	ReasonReachable = "Reachable"
	// ReasonQueueNotFound: there is no such queue.
	ReasonQueueNotFound = "QueueNotFound"
	// ReasonAccessDenied: the operator's AWS identity may not use the queue.
	ReasonAccessDenied = "AccessDenied"
	// ReasonCredentialsUnavailable: there are no AWS credentials to use.
	ReasonCredentialsUnavailable = "CredentialsUnavailable"
	// ReasonKMSError: the queue's encryption key cannot be used.
	ReasonKMSError = "KMSError"
	// ReasonThrottled: SQS asks for fewer requests.
	ReasonThrottled = "Throttled"
	// ReasonUnreachable: SQS does not answer.
	ReasonUnreachable = "Unreachable"
	// ReasonInvalidQueue: the queue's URL or region cannot be used as they are.
	ReasonInvalidQueue = "InvalidQueue"
	// ReasonNotAllowed: the Namespace does not allow its bindings this queue, role or identity.
	ReasonNotAllowed = "NotAllowed"
)

// Reasons of JobTemplateValid.
const (
	// ReasonAccepted: the API server accepted a sample Job in a dry run.
	ReasonAccepted = "Accepted"
	// ReasonJobInvalid: the API server refused a sample Job in a dry run.
	ReasonJobInvalid = "JobInvalid"
	// ReasonExpressionInvalid: a variable's expression does not compile.
	ReasonExpressionInvalid = "ExpressionInvalid"
	// ReasonNotChecked: the sample Job could not be tried.
	ReasonNotChecked = "NotChecked"
)

// Reasons why a message is rejected, in lastRejection, events and metrics.
const (
	// RejectedExpressionFailed: a variable's expression failed or gave null.
	RejectedExpressionFailed = "ExpressionFailed"
	// RejectedTooLarge: the body or another value passes a bound.
	RejectedTooLarge = "TooLarge"
	// RejectedUnusableValue: a value cannot be an environment variable's, for example because of a NUL.
	RejectedUnusableValue = "UnusableValue"
	// RejectedJobInvalid: the API server refused this message's Job.
	RejectedJobInvalid = "JobInvalid"
	// RejectedAdmissionDenied: an admission plugin or webhook refused this message's Job.
	RejectedAdmissionDenied = "AdmissionDenied"
	// RejectedCreateFails: creating this message's Job fails again and again, while others' are created.
	RejectedCreateFails = "CreateFails"
	// RejectedNameTaken: a Job by the message's Job name exists and is not this message's.
	RejectedNameTaken = "NameTaken"
	// RejectedTooManyAttempts: the message has had all attempts that there are.
	RejectedTooManyAttempts = "TooManyAttempts"
)

// Reasons why a Job is not requeued.
const (
	// RefusedNotFound: there is no such Job.
	RefusedNotFound = "NotFound"
	// RefusedNotOwned: the Job belongs to something else.
	RefusedNotOwned = "NotOwned"
	// RefusedNotFailed: the Job has not failed.
	RefusedNotFailed = "NotFailed"
	// RefusedMessageOnQueue: the Job is under OnJobSucceeded, so that its message is still on the queue, or in the
	// dead-letter queue.
	RefusedMessageOnQueue = "MessageOnQueue"
	// RefusedNoDeadLetterQueue: there is no dead-letter queue that messages could be moved back from.
	RefusedNoDeadLetterQueue = "NoDeadLetterQueue"
	// RefusedDeadLetterQueueShared: the dead-letter queue holds other queues' messages too.
	RefusedDeadLetterQueueShared = "DeadLetterQueueShared"
	// RefusedInvalidRequest: the request cannot be read.
	RefusedInvalidRequest = "InvalidRequest"
	// RefusedNotSendable: the Job's message is damaged, or SQS would not take it.
	RefusedNotSendable = "NotSendable"
	// RefusedNothingToRequeue: all were asked for, and there was no failed Job whose message was not sent again before.
	RefusedNothingToRequeue = "NothingToRequeue"
	// RefusedLimitReached: the binding is asked for as many Jobs by name as can be at a time; ask again later.
	RefusedLimitReached = "LimitReached"
)

// Reasons of PodsStarting, beside those of the scheduler and the kubelet.
const (
	// ReasonPodsStart: no Pod is known to wait for anything but its turn.
	ReasonPodsStart = "PodsStart"
	// ReasonNoPods: Jobs have no Pods.
	ReasonNoPods = "NoPods"
	// ReasonPodsUnknown: the Pods could not be read.
	ReasonPodsUnknown = "PodsUnknown"
)

// Reasons of events on a binding.
const (
	// EventMessageRejected: a message could not become a Job and stays on the queue.
	EventMessageRejected = "MessageRejected"
	// EventRequeued: failed Jobs had their messages sent again.
	EventRequeued = "Requeued"
	// EventRedriveStarted: the messages of the dead-letter queue are being moved back to the queue.
	EventRedriveStarted = "RedriveStarted"
	// EventRequeueAsked: somebody asked for failed Jobs to be requeued; the event names them.
	EventRequeueAsked = "RequeueAsked"
	// EventRequeueRefused: Jobs could not be requeued.
	EventRequeueRefused = "RequeueRefused"
	// EventRequeueDelayed: a requeue could not be finished and is tried again.
	EventRequeueDelayed = "RequeueDelayed"
	// EventStopped: Ready became False, so that no more messages become Jobs. The event's action is Ready's reason.
	EventStopped = "Stopped"
	// EventResumed: messages become Jobs again.
	EventResumed = "Resumed"
	// EventPodsNotStarting: PodsStarting became False.
	EventPodsNotStarting = "PodsNotStarting"
	// EventGroupOverlap: Jobs of one message group may run side by side.
	EventGroupOverlap = "GroupOverlap"
)
