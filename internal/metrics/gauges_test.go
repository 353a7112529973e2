package metrics

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

func binding(name string) v1alpha1.QueueBinding {
	b := v1alpha1.QueueBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: name}}
	b.Spec.Concurrency = v1alpha1.Concurrency{MaxActiveJobs: new(int32(10)), MaxPendingJobs: new(int32(5))}
	b.Status = v1alpha1.QueueBindingStatus{
		ActiveJobs: new(int32(4)), PendingJobs: new(int32(1)), SucceededJobs: new(int32(7)), FailedJobs: new(int32(2)), RequeuedJobs: new(int32(0)),
		Queue: &v1alpha1.QueueStatus{VisibleMessages: 120, InFlightMessages: 4, DelayedMessages: 1, DeadLetterMessages: new(int64(3))},
	}
	return b
}

// everything is what there is to tell of a binding that has all there can be.
func everything(name string) State {
	b := binding(name)
	b.Status.Conditions = []metav1.Condition{
		{Type: v1alpha1.ConditionQueueReachable, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReachable},
		{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonQuotaExceeded},
	}
	return State{Binding: &b, MaxFailedJobs: new(1000), Intake: &Intake{
		ReservedSlots: 3, OldestMessage: new(90 * time.Second), Retention: 96 * time.Hour, Visibility: time.Minute, ExtensionLag: 1500 * time.Millisecond,
		LastReceive: time.UnixMilli(1_700_000_000_250),
	}}
}

const whole = `
# HELP queuebinding_dead_letter_messages Messages in the dead-letter queue, about, where there is one that can be read.
# TYPE queuebinding_dead_letter_messages gauge
queuebinding_dead_letter_messages{name="pings",namespace="batch"} 3
# HELP queuebinding_jobs Jobs that exist, by state: active, succeeded, failed, or requeued, whose message was sent again.
# TYPE queuebinding_jobs gauge
queuebinding_jobs{name="pings",namespace="batch",state="active"} 4
queuebinding_jobs{name="pings",namespace="batch",state="failed"} 2
queuebinding_jobs{name="pings",namespace="batch",state="requeued"} 0
queuebinding_jobs{name="pings",namespace="batch",state="succeeded"} 7
# HELP queuebinding_last_receive_timestamp_seconds When SQS last answered a receive, with messages or without. Nothing is asked for while the binding is suspended or at a limit.
# TYPE queuebinding_last_receive_timestamp_seconds gauge
queuebinding_last_receive_timestamp_seconds{name="pings",namespace="batch"} 1.70000000025e+09
# HELP queuebinding_leader Whether this replica is the leader, which alone works on bindings and tells of them.
# TYPE queuebinding_leader gauge
queuebinding_leader 1
# HELP queuebinding_max_active_jobs The limit of active Jobs, spec.concurrency.maxActiveJobs.
# TYPE queuebinding_max_active_jobs gauge
queuebinding_max_active_jobs{name="pings",namespace="batch"} 10
# HELP queuebinding_max_failed_jobs The number of failed Jobs at which the binding pauses, spec.failedJobsHistoryLimit, where its policy is not to delete the oldest.
# TYPE queuebinding_max_failed_jobs gauge
queuebinding_max_failed_jobs{name="pings",namespace="batch"} 1000
# HELP queuebinding_max_pending_jobs The limit of pending Jobs, spec.concurrency.maxPendingJobs, where there is one.
# TYPE queuebinding_max_pending_jobs gauge
queuebinding_max_pending_jobs{name="pings",namespace="batch"} 5
# HELP queuebinding_oldest_message_age_seconds Age of the oldest message of the queue, as far as receives and counts tell; 0 where none waits.
# TYPE queuebinding_oldest_message_age_seconds gauge
queuebinding_oldest_message_age_seconds{name="pings",namespace="batch"} 90
# HELP queuebinding_pending_jobs Active Jobs that are not suspended and have no ready Pod.
# TYPE queuebinding_pending_jobs gauge
queuebinding_pending_jobs{name="pings",namespace="batch"} 1
# HELP queuebinding_queue_messages Messages on the queue, about, by state: visible, in_flight or delayed. Up to a minute old.
# TYPE queuebinding_queue_messages gauge
queuebinding_queue_messages{name="pings",namespace="batch",state="delayed"} 1
queuebinding_queue_messages{name="pings",namespace="batch",state="in_flight"} 4
queuebinding_queue_messages{name="pings",namespace="batch",state="visible"} 120
# HELP queuebinding_queue_retention_seconds The queue's message retention period, after which SQS deletes a message, hidden ones too.
# TYPE queuebinding_queue_retention_seconds gauge
queuebinding_queue_retention_seconds{name="pings",namespace="batch"} 345600
# HELP queuebinding_ready Whether the condition Ready is True, with its reason. A binding has one series, of the reason that it has now.
# TYPE queuebinding_ready gauge
queuebinding_ready{name="pings",namespace="batch",reason="QuotaExceeded"} 0
# HELP queuebinding_reserved_slots Slots reserved for messages that are being received and for Jobs that are being created or were not seen yet. They count for the limits as active Jobs do.
# TYPE queuebinding_reserved_slots gauge
queuebinding_reserved_slots{name="pings",namespace="batch"} 3
# HELP queuebinding_visibility_extension_lag_seconds How long the most overdue extension of a visibility timeout is overdue. It is due after a third of the timeout.
# TYPE queuebinding_visibility_extension_lag_seconds gauge
queuebinding_visibility_extension_lag_seconds{name="pings",namespace="batch"} 1.5
# HELP queuebinding_visibility_timeout_seconds The visibility timeout of messages in flight, spec.queue.visibilityTimeoutSeconds.
# TYPE queuebinding_visibility_timeout_seconds gauge
queuebinding_visibility_timeout_seconds{name="pings",namespace="batch"} 60
`

// elected is what a leader's manager has closed.
func elected() <-chan struct{} {
	closed := make(chan struct{})
	close(closed)
	return closed
}

func TestGaugesAreThoseOfTheBindingsThatExist(t *testing.T) {
	existing := []State{everything("pings")}
	registry := prometheus.NewPedanticRegistry()
	if err := RegisterGauges(registry, elected(), func(context.Context) ([]State, error) { return existing, nil }); err != nil {
		t.Fatal(err)
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(whole)); err != nil {
		t.Error(err)
	}
	// One of which nothing is known yet has its limits alone, and one that is gone nothing.
	fresh := binding("fresh")
	fresh.Spec.Concurrency.MaxPendingJobs, fresh.Status = nil, v1alpha1.QueueBindingStatus{}
	existing = []State{{Binding: &fresh}}
	want := `
# HELP queuebinding_leader Whether this replica is the leader, which alone works on bindings and tells of them.
# TYPE queuebinding_leader gauge
queuebinding_leader 1
# HELP queuebinding_max_active_jobs The limit of active Jobs, spec.concurrency.maxActiveJobs.
# TYPE queuebinding_max_active_jobs gauge
queuebinding_max_active_jobs{name="fresh",namespace="batch"} 10
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	existing = nil
	if n, err := testutil.GatherAndCount(registry); err != nil || n != 1 {
		t.Errorf("%d series are left, %v; want that of the leader", n, err)
	}
}

// A replica that waits says that it does not lead, and nothing of bindings: the leader tells of them.
func TestAReplicaThatWaitsTellsOfNoBinding(t *testing.T) {
	registry, leads := prometheus.NewPedanticRegistry(), make(chan struct{})
	err := RegisterGauges(registry, leads, func(context.Context) ([]State, error) { return []State{everything("pings")}, nil })
	if err != nil {
		t.Fatal(err)
	}
	want := `
# HELP queuebinding_leader Whether this replica is the leader, which alone works on bindings and tells of them.
# TYPE queuebinding_leader gauge
queuebinding_leader 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	close(leads)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(whole)); err != nil {
		t.Error(err)
	}
}

// A scrape must not show zeros for what it could not read.
func TestAScrapeThatCannotListFails(t *testing.T) {
	registry := prometheus.NewRegistry()
	err := RegisterGauges(registry, elected(), func(context.Context) ([]State, error) { return nil, errors.New("no cache") })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Gather(); err == nil || !strings.Contains(err.Error(), "no cache") {
		t.Errorf("got %v", err)
	}
}
