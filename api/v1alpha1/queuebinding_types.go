package v1alpha1

import (
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// QueueBinding binds an SQS queue to Jobs: for every message on the queue exactly one Job is created from a template
// and owned by the binding.
//
// Deleting a QueueBinding deletes its Jobs too, the running ones and the records of the failed ones included, because
// it owns them. To keep them, delete it with `kubectl delete --cascade=orphan`. Messages that wait on the queue stay
// there in both cases.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=qb,categories=all
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.concurrency.maxActiveJobs,statuspath=.status.activeJobs,selectorpath=.status.selector
// +kubebuilder:printcolumn:name=Ready,type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name=Status,type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name=Active,type=integer,JSONPath=`.status.activeJobs`,description="Jobs that have not finished"
// +kubebuilder:printcolumn:name=Pending,type=integer,JSONPath=`.status.pendingJobs`,description="Active Jobs without a ready Pod"
// +kubebuilder:printcolumn:name=Failed,type=integer,JSONPath=`.status.failedJobs`,description="Failed Jobs that have not been requeued"
// +kubebuilder:printcolumn:name=Waiting,type=integer,JSONPath=`.status.queue.visibleMessages`,description="Messages on the queue that wait to be received, roughly"
// +kubebuilder:printcolumn:name=Max,type=integer,JSONPath=`.spec.concurrency.maxActiveJobs`,priority=1
// +kubebuilder:printcolumn:name=Queue,type=string,JSONPath=`.spec.queue.url`,priority=1
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 50 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS label of at most 50 characters (lower case letters, digits and dashes, no dots), because Job names and Pod host names are made from it"
type QueueBinding struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the binding shall do.
	// +required
	Spec QueueBindingSpec `json:"spec"`

	// status is what the operator last saw. It is recomputed, never counted up, and may be up to a second old;
	// numbers of messages may be up to a minute old. Its observedGeneration is -1 until the operator has seen the binding.
	// +kubebuilder:default={"observedGeneration":-1}
	// +optional
	Status QueueBindingStatus `json:"status,omitempty"`
}

// QueueBindingList is a list of QueueBindings.
//
// +kubebuilder:object:root=true
type QueueBindingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []QueueBinding `json:"items"`
}

// QueueBindingSpec is what a binding shall do.
//
// +kubebuilder:validation:XValidation:rule="!has(self.failedJobsHistoryLimit) || self.failedJobsHistoryLimit > 0 || (has(self.failedJobsPolicy) && self.failedJobsPolicy == 'DeleteOldest')",message="failedJobsHistoryLimit 0 keeps no failed Job, which needs failedJobsPolicy: DeleteOldest"
type QueueBindingSpec struct {
	// queue is the SQS queue whose messages become Jobs.
	// +required
	Queue Queue `json:"queue"`

	// acknowledge says when a message is deleted from the queue. OnJobCreated deletes it as soon as its Job exists: a
	// failed Job is then the record of the work, and is requeued on request. OnJobSucceeded keeps it on the queue, hidden,
	// until its Job has succeeded: a failed Job's message becomes visible again after a growing delay and gets a Job for
	// the next attempt, until the queue's redrive policy moves it to the dead-letter queue. A FIFO queue's groups then run
	// strictly in order. Changing this changes nothing for Jobs that exist.
	// +kubebuilder:default=OnJobCreated
	// +optional
	Acknowledge Acknowledge `json:"acknowledge,omitempty"`

	// concurrency limits how many Jobs the binding may have at a time.
	// +kubebuilder:default={}
	// +optional
	Concurrency Concurrency `json:"concurrency,omitempty"`

	// message says how a container gets to see its message. The environment variables QUEUEBINDING_MESSAGE_ID,
	// QUEUEBINDING_ATTEMPT, QUEUEBINDING_QUEUE_URL and QUEUEBINDING_NAME are always there.
	// +optional
	Message Message `json:"message,omitempty"`

	// jobTemplate is the Job that is created for each message. Changing it changes no Job that exists.
	// +required
	JobTemplate JobTemplate `json:"jobTemplate"`

	// successfulJobsHistoryLimit is how many succeeded Jobs are kept; the oldest beyond it are deleted. At most 20000: the
	// operator keeps 6 KiB of memory for each Job, and the API server stores it with its Pod.
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=20000
	// +optional
	SuccessfulJobsHistoryLimit *int32 `json:"successfulJobsHistoryLimit,omitempty"`

	// failedJobsHistoryLimit is how many failed Jobs are kept; failedJobsPolicy says what happens there. Jobs that
	// were requeued do not count. At most 20000, for the same reason as successfulJobsHistoryLimit.
	// +kubebuilder:default=1000
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=20000
	// +optional
	FailedJobsHistoryLimit *int32 `json:"failedJobsHistoryLimit,omitempty"`

	// failedJobsPolicy says what happens when failedJobsHistoryLimit is reached: Pause receives no more messages until
	// failed Jobs are requeued or deleted, so that a bad image cannot eat the queue; DeleteOldest deletes the oldest
	// failed Jobs. Where it is not set, each failed Job is treated by the rule under which it was created: those of
	// OnJobCreated, the only record of their messages, as with Pause; those of OnJobSucceeded as with DeleteOldest.
	// +optional
	FailedJobsPolicy FailedJobsPolicy `json:"failedJobsPolicy,omitempty"`

	// suspend stops receiving messages. Jobs that exist go on.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// Queue names an SQS queue.
//
// +kubebuilder:validation:XValidation:rule="self.url == oldSelf.url",fieldPath=".url",message="is immutable: failed Jobs would be requeued to a queue that they did not come from; create another QueueBinding instead"
// +kubebuilder:validation:XValidation:rule="has(self.region) == has(oldSelf.region) && (!has(self.region) || self.region == oldSelf.region)",fieldPath=".region",message="is immutable, as the URL is: a queue of the same name in another region is another queue; create another QueueBinding instead"
type Queue struct {
	// url is the queue's URL, as `aws sqs get-queue-url` prints it: without user, query or fragment, and on AWS hosts without
	// a port. It cannot be changed.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://([A-Za-z0-9.-]+|[[][0-9A-Fa-f:]+[]])(:[0-9]{1,5})?(/[A-Za-z0-9._-]+)?/[A-Za-z0-9_-]{1,80}([.]fifo)?$')",message="must be the URL of an SQS queue, such as https://sqs.eu-west-1.amazonaws.com/123456789012/pings"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/]*[.](amazonaws[.]com|amazonaws[.]com[.]cn|api[.]aws):')",message="must not name a port on an AWS host"
	// +required
	URL string `json:"url"`

	// region is the AWS region of the queue. Defaults to the region in the URL where that is an AWS host, else to the
	// operator's region. It cannot be changed, added or removed later.
	// +kubebuilder:validation:Pattern=`^[a-z0-9-]{1,32}$`
	// +optional
	Region string `json:"region,omitempty"`

	// credentials are the AWS identity that uses the queue. Defaults to the operator's own.
	// +optional
	Credentials *Credentials `json:"credentials,omitempty"`

	// visibilityTimeoutSeconds is how long a received message stays hidden from other receivers, 1 to 43200 seconds.
	// While the operator works on a message it extends this as often as needed, and under OnJobSucceeded for as long as
	// the message's Job runs, every third of this time. After 12 hours SQS lets a message come back whatever anyone does;
	// the running Job then answers for it as before.
	// +kubebuilder:default=60
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=43200
	// +optional
	VisibilityTimeoutSeconds *int32 `json:"visibilityTimeoutSeconds,omitempty"`
}

// Acknowledge says when a message is deleted from the queue.
//
// +kubebuilder:validation:Enum=OnJobCreated;OnJobSucceeded
type Acknowledge string

const (
	// AcknowledgeOnJobCreated deletes a message once its Job exists.
	AcknowledgeOnJobCreated Acknowledge = "OnJobCreated"
	// AcknowledgeOnJobSucceeded deletes a message once its Job has succeeded.
	AcknowledgeOnJobSucceeded Acknowledge = "OnJobSucceeded"
)

// Credentials are an AWS identity.
//
// +kubebuilder:validation:XValidation:rule="has(self.roleARN) != has(self.secretRef)",message="exactly one of roleARN and secretRef is needed"
type Credentials struct {
	// roleARN is an IAM role that the operator assumes, with the external ID queuebinding:<namespace>/<name>, or
	// queuebinding:<cluster>:<namespace>/<name> where the operator has a --cluster-name: let the role's trust policy ask for it, so that no
	// other binding can use the role, and allow sts:SetSourceIdentity.
	// +kubebuilder:validation:Pattern=`^arn:[a-z0-9-]+:iam::[0-9]{12}:role/.+$`
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	RoleARN string `json:"roleARN,omitempty"`

	// secretRef is a Secret in the binding's namespace with the keys AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and,
	// optionally, AWS_SESSION_TOKEN. Changes are seen within half a minute.
	// +optional
	SecretRef *SecretReference `json:"secretRef,omitempty"`
}

// SecretReference names a Secret in the same namespace.
type SecretReference struct {
	// name is the Secret's name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// Concurrency limits a binding's Jobs.
type Concurrency struct {
	// maxActiveJobs is the highest number of Jobs that have not finished, suspended and terminating ones included; it
	// is never passed. 0 pauses the binding. `kubectl scale` and a HorizontalPodAutoscaler set this field. At most 20000: the
	// operator keeps 6 KiB of memory for each Job.
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=20000
	// +optional
	MaxActiveJobs *int32 `json:"maxActiveJobs,omitempty"`

	// maxPendingJobs is the highest number of active Jobs without a ready Pod, suspended Jobs left aside. It feeds a
	// cluster autoscaler without flooding the cluster with Pods that cannot be scheduled. Defaults to no limit.
	// +kubebuilder:validation:Minimum=1
	// +optional
	MaxPendingJobs *int32 `json:"maxPendingJobs,omitempty"`
}

// Message says how a container gets to see its message.
type Message struct {
	// delivery is Env or File. Env puts the body into QUEUEBINDING_MESSAGE_BODY and the attributes, as a JSON object of
	// strings, into QUEUEBINDING_MESSAGE_ATTRIBUTES, each up to 120 KiB. File puts them into the files body and
	// attributes.json in /var/run/queuebinding, up to SQS's full 1 MiB, and the former's path into
	// QUEUEBINDING_MESSAGE_FILE; the files are a Secret that the Job owns.
	// +kubebuilder:default=Env
	// +optional
	Delivery Delivery `json:"delivery,omitempty"`

	// variables become environment variables of every container, ahead of the container's own. Use them as
	// `$(name)` in command, args and other variables. Their expressions may have 16 KiB together.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Variables []Variable `json:"variables,omitempty"`
}

// Delivery is the way a message takes into a container.
//
// +kubebuilder:validation:Enum=Env;File
type Delivery string

const (
	// DeliverEnv delivers by environment variables.
	DeliverEnv Delivery = "Env"
	// DeliverFile delivers by files.
	DeliverFile Delivery = "File"
)

// Variable is an environment variable whose value is computed from the message.
type Variable struct {
	// name is the environment variable's name: letters, digits and underscores, not beginning with a digit. Names that
	// begin with QUEUEBINDING_ are taken.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z_][A-Za-z0-9_]*$')",message="must be letters, digits and underscores and not begin with a digit"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('QUEUEBINDING_')",message="must not begin with QUEUEBINDING_: these names are the operator's own"
	// +required
	Name string `json:"name"`

	// expression is a CEL expression over `message`, which has the fields id, body, json (the body parsed; null where it
	// is not JSON), attributes (a map of strings), groupID, sentTime and receiveCount: for example
	// `message.json.target` or `message.json.?duration.orValue(10)`. A string, number or bool becomes the value as it
	// is, anything else as JSON. Where the result is null or an error the message is rejected: it stays on the queue.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	// +required
	Expression string `json:"expression"`
}

// JobTemplate is the Job that is created for each message.
type JobTemplate struct {
	// metadata is added to each Job.
	// +optional
	Metadata JobTemplateMetadata `json:"metadata,omitempty"`

	// spec is the specification of each Job, a JobSpec as in batch/v1. restartPolicy must be Never or OnFailure;
	// ttlSecondsAfterFinished and selector are refused.
	// +kubebuilder:validation:XValidation:rule="has(self.template.spec) && has(self.template.spec.restartPolicy) && self.template.spec.restartPolicy in ['Never', 'OnFailure']",fieldPath=".template.spec.restartPolicy",message="must be set to Never or OnFailure, as for every Job"
	// +kubebuilder:validation:XValidation:rule="!has(self.ttlSecondsAfterFinished)",fieldPath=".ttlSecondsAfterFinished",message="is not supported: it would erase the records of failed Jobs; use successfulJobsHistoryLimit and failedJobsHistoryLimit of the binding"
	// +kubebuilder:validation:XValidation:rule="!has(self.selector) && !has(self.manualSelector)",message="selector and manualSelector are not supported: each Job gets a selector of its own"
	// +required
	Spec batchv1.JobSpec `json:"spec"`
}

// JobTemplateMetadata is the metadata that a template can give to Jobs.
type JobTemplateMetadata struct {
	// labels are added to each Job. Keys under queuebinding.dev/ are the operator's own and are left out.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`

	// annotations are added to each Job. Keys under queuebinding.dev/ are the operator's own and are left out.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
}

// FailedJobsPolicy says what happens when failedJobsHistoryLimit is reached.
//
// +kubebuilder:validation:Enum=Pause;DeleteOldest
type FailedJobsPolicy string

const (
	// PauseAtFailedJobsLimit receives no more messages while the number of failed Jobs is at its limit.
	PauseAtFailedJobsLimit FailedJobsPolicy = "Pause"
	// DeleteOldestFailedJobs deletes the oldest failed Jobs beyond the limit.
	DeleteOldestFailedJobs FailedJobsPolicy = "DeleteOldest"
)

// QueueBindingStatus is what the operator last saw.
type QueueBindingStatus struct {
	// observedGeneration is the generation of the binding that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions are Ready, QueueReachable, JobTemplateValid and PodsStarting. Ready's reason is the STATUS that kubectl shows.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// selector selects the Pods of the binding's Jobs, for the scale subresource.
	// +optional
	Selector string `json:"selector,omitempty"`

	// activeJobs is the number of Jobs that have not finished.
	// +optional
	ActiveJobs *int32 `json:"activeJobs,omitempty"`

	// pendingJobs is the number of active Jobs that are not suspended and have no ready Pod.
	// +optional
	PendingJobs *int32 `json:"pendingJobs,omitempty"`

	// succeededJobs is the number of succeeded Jobs that are kept.
	// +optional
	SucceededJobs *int32 `json:"succeededJobs,omitempty"`

	// failedJobs is the number of failed Jobs that are kept and have not been requeued. Under OnJobSucceeded each failed
	// attempt at a message is one.
	// +optional
	FailedJobs *int32 `json:"failedJobs,omitempty"`

	// requeuedJobs is the number of failed Jobs whose message was sent again and whose next Job does not exist yet.
	// +optional
	RequeuedJobs *int32 `json:"requeuedJobs,omitempty"`

	// queue is what SQS says of the queue.
	// +optional
	Queue *QueueStatus `json:"queue,omitempty"`

	// lastRejection is the last message that could not become a Job. It stays on the queue.
	// +optional
	LastRejection *Rejection `json:"lastRejection,omitempty"`

	// recentFailures are the Jobs that failed last, newest first.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	// +optional
	RecentFailures []Failure `json:"recentFailures,omitempty"`

	// lastRequeue is the outcome of the last request to requeue failed Jobs.
	// +optional
	LastRequeue *RequeueResult `json:"lastRequeue,omitempty"`

	// lastJobCreationTime is when the newest Job was created.
	// +optional
	LastJobCreationTime *metav1.Time `json:"lastJobCreationTime,omitempty"`
}

// QueueStatus is what SQS says of a queue. SQS's numbers are approximate.
type QueueStatus struct {
	// visibleMessages is about how many messages wait to be received.
	VisibleMessages int64 `json:"visibleMessages"`
	// inFlightMessages is about how many messages are received and not yet deleted.
	InFlightMessages int64 `json:"inFlightMessages"`
	// delayedMessages is about how many messages are not yet to be received.
	DelayedMessages int64 `json:"delayedMessages"`
	// fifo is whether the queue is a FIFO queue.
	// +optional
	FIFO bool `json:"fifo,omitempty"`
	// deadLetterQueueARN is the dead-letter queue of the queue's redrive policy.
	// +optional
	DeadLetterQueueARN string `json:"deadLetterQueueARN,omitempty"`
	// deadLetterMessages is about how many messages wait in the dead-letter queue. Unset where it cannot be read.
	// +optional
	DeadLetterMessages *int64 `json:"deadLetterMessages,omitempty"`
}

// Rejection is a message that could not become a Job.
type Rejection struct {
	// messageID is the message's ID.
	MessageID string `json:"messageID"`
	// reason is why, in one word.
	Reason string `json:"reason"`
	// message is why, in words.
	Message string `json:"message"`
	// time is when.
	Time metav1.Time `json:"time"`
}

// Failure is a Job that failed.
type Failure struct {
	// jobName is the Job's name.
	JobName string `json:"jobName"`
	// messageID is the ID of the message that the Job was made for, the first one where it was requeued.
	MessageID string `json:"messageID"`
	// reason is the reason of the Job's Failed condition.
	// +optional
	Reason string `json:"reason,omitempty"`
	// message is the message of the Job's Failed condition.
	// +optional
	Message string `json:"message,omitempty"`
	// finishTime is when the Job failed.
	FinishTime metav1.Time `json:"finishTime"`
	// container is how the container ended that failed last. Unset where no Pod tells, such as after a deadline, when the Job
	// controller deletes the Pods.
	// +optional
	Container *ContainerEnd `json:"container,omitempty"`
}

// ContainerEnd is how a container of a failed Job ended.
type ContainerEnd struct {
	// podName is the name of the container's Pod.
	PodName string `json:"podName"`
	// nodeName is the node that the Pod ran on.
	// +optional
	NodeName string `json:"nodeName,omitempty"`
	// name is the container's name. Unset where the Pod ended and no container tells why, such as when it was evicted.
	// +optional
	Name string `json:"name,omitempty"`
	// exitCode is the container's exit code. 137 is that of a process that was killed.
	// +optional
	ExitCode *int32 `json:"exitCode,omitempty"`
	// reason is the kubelet's word for it, such as OOMKilled, Error or Evicted.
	// +optional
	Reason string `json:"reason,omitempty"`
	// message is how the container's termination message begins, up to 256 bytes.
	// +optional
	Message string `json:"message,omitempty"`
}

// RequeueResult is the outcome of a request to requeue failed Jobs. What is asked for while one goes on is part of it.
type RequeueResult struct {
	// time is when the request was done, or, while it is in progress, how far it is.
	Time metav1.Time `json:"time"`
	// inProgress is whether a part of the request is still to be done; the numbers grow until then.
	// +optional
	InProgress bool `json:"inProgress,omitempty"`
	// requeuedJobs is how many Jobs had their message sent again.
	RequeuedJobs int32 `json:"requeuedJobs"`
	// refusedJobs is how many were refused.
	RefusedJobs int32 `json:"refusedJobs"`
	// refused says why, for the first ten.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	// +optional
	Refused []RequeueRefusal `json:"refused,omitempty"`
}

// RequeueRefusal is a Job that was not requeued.
type RequeueRefusal struct {
	// jobName is the name as it was asked for.
	JobName string `json:"jobName"`
	// reason is why, in one word.
	Reason string `json:"reason"`
	// message is why, in words.
	Message string `json:"message"`
}
