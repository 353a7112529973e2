package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

const prefix = "queuebinding_"

// Kind is a metric's type.
type Kind string

// The types of Prometheus that the operator has metrics of.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// Family is a metric by its name, with the series that it may have.
type Family struct {
	Name string
	Kind Kind
	// Help says what a value is, in one or several sentences.
	Help string
	// Unit is what a value counts or measures.
	Unit string
	// Labels are those beside the namespace and name of the binding.
	Labels []Label
	// Buckets are the upper bounds of a histogram's classic buckets, in seconds.
	Buckets []float64
	// OneAtATime reports whether a binding has one series only, whatever the values of its labels are.
	OneAtATime bool
	// PerOperator reports whether the metric is of the operator, and has no labels of a binding.
	PerOperator bool
}

// Label is a label with all values that it may have, so that the number of series is bounded.
type Label struct {
	Name   string
	Values []string
}

// Other is a label's value for one that is not in its list, which would be a mistake of ours.
const Other = "Other"

// value returns a value that the label may have.
func (l Label) value(wanted string) string {
	if slices.Contains(l.Values, wanted) {
		return wanted
	}
	return Other
}

// MaxSeries returns how many series a binding, or the operator, has of the metric at most, each bucket of a histogram counted.
func (f Family) MaxSeries() int {
	n := 1
	for _, label := range f.Labels {
		if !f.OneAtATime {
			n *= len(label.Values)
		}
	}
	if f.Kind == Histogram {
		n *= len(f.Buckets) + 3 // the bucket without a bound, sum and count
	}
	return n
}

func (f Family) labelNames() []string {
	if f.PerOperator {
		return nil
	}
	names := []string{"namespace", "name"}
	for _, label := range f.Labels {
		names = append(names, label.Name)
	}
	return names
}

func (f Family) desc() *prometheus.Desc {
	return prometheus.NewDesc(f.Name, f.Help, f.labelNames(), nil)
}

// Values of the label outcome: what became of a Job.
const (
	OutcomeSucceeded = "succeeded"
	OutcomeFailed    = "failed"
)

// Why a message was given back to the queue, values of the label reason.
const (
	// GivenBackRejected: it cannot become a Job, and is hidden for a while.
	GivenBackRejected = "Rejected"
	// GivenBackNotWanted: no Job is to be made of it now, as the operator stops, the binding pauses, or there is no room to hold it.
	GivenBackNotWanted = "NotWanted"
	// GivenBackGroupOrder: one before it in its group went back.
	GivenBackGroupOrder = "GroupOrder"
	// GivenBackJobFailed: its Job failed under OnJobSucceeded.
	GivenBackJobFailed = "JobFailed"
	// GivenBackJobGone: the Job that answered for it was deleted.
	GivenBackJobGone = "JobGone"
	// GivenBackJobEnded: the Job that answers for it ended before it could be told of this receive.
	GivenBackJobEnded = "JobEnded"
	// GivenBackBindingDeleted: its binding was deleted.
	GivenBackBindingDeleted = "BindingDeleted"
)

// What a queue is asked for, values of the label operation.
const (
	OperationReceive          = "Receive"
	OperationDelete           = "Delete"
	OperationChangeVisibility = "ChangeVisibility"
	OperationSend             = "Send"
	OperationRedrive          = "Redrive"
	OperationStats            = "Stats"
)

var (
	outcome   = Label{"outcome", []string{OutcomeSucceeded, OutcomeFailed}}
	operation = Label{"operation", []string{OperationReceive, OperationDelete, OperationChangeVisibility, OperationSend, OperationRedrive, OperationStats}}

	rejectedReason = Label{"reason", []string{
		v1alpha1.RejectedExpressionFailed, v1alpha1.RejectedTooLarge, v1alpha1.RejectedUnusableValue, v1alpha1.RejectedJobInvalid,
		v1alpha1.RejectedAdmissionDenied, v1alpha1.RejectedCreateFails, v1alpha1.RejectedNameTaken, v1alpha1.RejectedTooManyAttempts,
	}}
	givenBackReason = Label{"reason", []string{
		GivenBackRejected, GivenBackNotWanted, GivenBackGroupOrder, GivenBackJobFailed, GivenBackJobGone, GivenBackJobEnded, GivenBackBindingDeleted,
	}}
	// queueReason has the reasons of package queue, which this one must not import: a test of the intake has them all counted.
	queueReason = Label{"reason", slices.Concat(unreachable, []string{
		"InvalidMessage", v1alpha1.RefusedNoDeadLetterQueue, v1alpha1.RefusedDeadLetterQueueShared, "ReceiptHandleInvalid",
	})}
	unreachable = []string{
		v1alpha1.ReasonQueueNotFound, v1alpha1.ReasonAccessDenied, v1alpha1.ReasonCredentialsUnavailable, v1alpha1.ReasonKMSError,
		v1alpha1.ReasonThrottled, v1alpha1.ReasonUnreachable, v1alpha1.ReasonInvalidQueue, v1alpha1.ReasonNotAllowed,
	}
	createReason = Label{"reason", []string{
		v1alpha1.ReasonQuotaExceeded, v1alpha1.ReasonForbidden, v1alpha1.ReasonWebhookUnavailable, v1alpha1.ReasonAPIServerUnavailable,
		v1alpha1.ReasonNamespaceTerminating,
	}}
	readyReason = Label{"reason", slices.Concat([]string{
		v1alpha1.ReasonRunning, v1alpha1.ReasonStarting, v1alpha1.ReasonSuspended, v1alpha1.ReasonStoredBytesLimitReached,
		v1alpha1.ReasonFailedJobsLimitReached, v1alpha1.ReasonJobInvalid, v1alpha1.ReasonExpressionInvalid,
	}, createReason.Values, unreachable)}
)

// untilTaken are bounds for ages of messages on their way to a Job and to its end: from a tenth of a second to four days, SQS's usual
// retention period.
var untilTaken = []float64{0.1, 0.5, 2, 10, 60, 300, 1800, 7200, 21600, 86400, 345600}

// Counters and histograms, which this process keeps.
var (
	received = Family{Name: prefix + "messages_received_total", Kind: Counter, Unit: "messages", Help: "Messages received, each receive of a message counted."}
	created  = Family{Name: prefix + "jobs_created_total", Kind: Counter, Unit: "Jobs", Help: "Jobs created."}

	acknowledged = Family{
		Name: prefix + "messages_acknowledged_total", Kind: Counter, Unit: "messages",
		Help: "Messages deleted from the queue, as their Job exists or has succeeded.",
	}
	requeued  = Family{Name: prefix + "jobs_requeued_total", Kind: Counter, Unit: "Jobs", Help: "Failed Jobs whose message was sent again."}
	rejected  = Family{Name: prefix + "messages_rejected_total", Kind: Counter, Unit: "messages", Labels: []Label{rejectedReason}, Help: "Messages that could not become a Job, by reason, each receive of a message counted."}
	givenBack = Family{
		Name: prefix + "messages_given_back_total", Kind: Counter, Unit: "messages", Labels: []Label{givenBackReason},
		Help: "Messages made visible on the queue again, at once or after a delay, by reason, counted when SQS has confirmed it.",
	}
	extensions = Family{
		Name: prefix + "visibility_extensions_total", Kind: Counter, Unit: "messages",
		Help: "Extensions of messages' visibility timeouts that SQS took, the heartbeats of messages in flight.",
	}
	lateExtensions = Family{
		Name: prefix + "visibility_extensions_late_total", Kind: Counter, Unit: "messages",
		Help: "Extensions asked for after the visibility timeout had ended by the operator's clock, taken or not: the message may have been received again.",
	}
	queueErrors = Family{
		Name: prefix + "queue_errors_total", Kind: Counter, Unit: "requests", Labels: []Label{operation, queueReason},
		Help: "Requests to the queue that failed, by operation and reason. A batch that failed for some of its messages counts once for each reason.",
	}
	createErrors = Family{
		Name: prefix + "job_create_errors_total", Kind: Counter, Unit: "attempts", Labels: []Label{createReason},
		Help: "Attempts to create a Job that failed through no fault of the message, which is kept and tried again, by reason.",
	}

	messageAge = Family{
		Name: prefix + "message_age_seconds", Kind: Histogram, Unit: "seconds", Buckets: untilTaken,
		Help: "Time from when a message was sent to when it was received, at each receive of it.",
	}
	receiveToJob = Family{
		Name: prefix + "receive_to_job_seconds", Kind: Histogram, Unit: "seconds", Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600},
		Help: "Time from when a message was received to when its Job had been created.",
	}
	sentToJob = Family{
		Name: prefix + "sent_to_job_seconds", Kind: Histogram, Unit: "seconds", Buckets: untilTaken,
		Help: "Time from when a message was sent to when its Job had been created.",
	}
	jobDuration = Family{
		Name: prefix + "job_duration_seconds", Kind: Histogram, Unit: "seconds", Labels: []Label{outcome}, Buckets: []float64{1, 5, 15, 60, 300, 900, 1800, 3600, 10800, 21600, 43200},
		Help: "Time from a Job's start to its end, by outcome. Only ends that this process saw are observed.",
	}
	sentToFinished = Family{
		Name: prefix + "sent_to_finished_seconds", Kind: Histogram, Unit: "seconds", Labels: []Label{outcome}, Buckets: untilTaken,
		Help: "Time from when a message was sent to the end of its Job, by outcome. Only ends that this process saw are observed.",
	}
)

// Gauges, which are read at each scrape.
var (
	queueMessages = Family{
		Name: prefix + "queue_messages", Kind: Gauge, Unit: "messages", Labels: []Label{{"state", []string{"visible", "in_flight", "delayed"}}},
		Help: "Messages on the queue, about, by state: visible, in_flight or delayed. Up to a minute old.",
	}
	deadLetters = Family{
		Name: prefix + "dead_letter_messages", Kind: Gauge, Unit: "messages",
		Help: "Messages in the dead-letter queue, about, where there is one that can be read.",
	}
	oldestAge = Family{
		Name: prefix + "oldest_message_age_seconds", Kind: Gauge, Unit: "seconds",
		Help: "Age of the oldest message of the queue, as far as receives and counts tell; 0 where none waits.",
	}
	retention = Family{
		Name: prefix + "queue_retention_seconds", Kind: Gauge, Unit: "seconds",
		Help: "The queue's message retention period, after which SQS deletes a message, hidden ones too.",
	}
	jobs = Family{
		Name: prefix + "jobs", Kind: Gauge, Unit: "Jobs", Labels: []Label{{"state", []string{"active", "succeeded", "failed", "requeued"}}},
		Help: "Jobs that exist, by state: active, succeeded, failed, or requeued, whose message was sent again.",
	}
	pendingJobs = Family{Name: prefix + "pending_jobs", Kind: Gauge, Unit: "Jobs", Help: "Active Jobs that are not suspended and have no ready Pod."}
	reserved    = Family{
		Name: prefix + "reserved_slots", Kind: Gauge, Unit: "Jobs",
		Help: "Slots reserved for messages that are being received and for Jobs that are being created or were not seen yet. They count for the limits as active Jobs do.",
	}
	maxActive = Family{Name: prefix + "max_active_jobs", Kind: Gauge, Unit: "Jobs", Help: "The limit of active Jobs, spec.concurrency.maxActiveJobs."}

	maxPending = Family{Name: prefix + "max_pending_jobs", Kind: Gauge, Unit: "Jobs", Help: "The limit of pending Jobs, spec.concurrency.maxPendingJobs, where there is one."}
	maxFailed  = Family{
		Name: prefix + "max_failed_jobs", Kind: Gauge, Unit: "Jobs",
		Help: "The number of failed Jobs at which the binding pauses, spec.failedJobsHistoryLimit, where its policy is not to delete the oldest.",
	}
	visibility = Family{Name: prefix + "visibility_timeout_seconds", Kind: Gauge, Unit: "seconds", Help: "The visibility timeout of messages in flight, spec.queue.visibilityTimeoutSeconds."}
	lag        = Family{
		Name: prefix + "visibility_extension_lag_seconds", Kind: Gauge, Unit: "seconds",
		Help: "How long the most overdue extension of a visibility timeout is overdue. It is due after a third of the timeout.",
	}
	ready = Family{
		Name: prefix + "ready", Kind: Gauge, Unit: "1 or 0", Labels: []Label{readyReason}, OneAtATime: true,
		Help: "Whether the condition Ready is True, with its reason. A binding has one series, of the reason that it has now.",
	}
	lastReceive = Family{
		Name: prefix + "last_receive_timestamp_seconds", Kind: Gauge, Unit: "Unix time",
		Help: "When SQS last answered a receive, with messages or without. Nothing is asked for while the binding is suspended or at a limit.",
	}
	leader = Family{Name: prefix + "leader", Kind: Gauge, Unit: "1 or 0", PerOperator: true, Help: "Whether this replica is the leader, which alone works on bindings and tells of them."}
)

// Families are all metrics of the operator, in the order in which they are documented.
func Families() []Family {
	return []Family{
		received, created, acknowledged, requeued, rejected, givenBack, extensions, lateExtensions, queueErrors, createErrors,
		messageAge, receiveToJob, sentToJob, jobDuration, sentToFinished,
		queueMessages, deadLetters, oldestAge, retention, jobs, pendingJobs, reserved, maxActive, maxPending, maxFailed, visibility, lag, ready, lastReceive, leader,
	}
}
