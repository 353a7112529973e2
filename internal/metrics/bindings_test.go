package metrics

import (
	"context"
	"errors"
	"strings"
	"testing"

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

const whole = `
# HELP queuebinding_dead_letter_messages Messages in the dead-letter queue, about.
# TYPE queuebinding_dead_letter_messages gauge
queuebinding_dead_letter_messages{name="pings",namespace="batch"} 3
# HELP queuebinding_jobs Jobs that exist, by state: active, succeeded, failed, or requeued, whose message was sent again.
# TYPE queuebinding_jobs gauge
queuebinding_jobs{name="pings",namespace="batch",state="active"} 4
queuebinding_jobs{name="pings",namespace="batch",state="failed"} 2
queuebinding_jobs{name="pings",namespace="batch",state="requeued"} 0
queuebinding_jobs{name="pings",namespace="batch",state="succeeded"} 7
# HELP queuebinding_max_active_jobs The limit of active Jobs, spec.concurrency.maxActiveJobs.
# TYPE queuebinding_max_active_jobs gauge
queuebinding_max_active_jobs{name="pings",namespace="batch"} 10
# HELP queuebinding_max_pending_jobs The limit of pending Jobs, spec.concurrency.maxPendingJobs, where there is one.
# TYPE queuebinding_max_pending_jobs gauge
queuebinding_max_pending_jobs{name="pings",namespace="batch"} 5
# HELP queuebinding_pending_jobs Active Jobs that are not suspended and have no ready Pod.
# TYPE queuebinding_pending_jobs gauge
queuebinding_pending_jobs{name="pings",namespace="batch"} 1
# HELP queuebinding_queue_messages Messages on the queue, about, by state: visible, in_flight or delayed. Up to a minute old.
# TYPE queuebinding_queue_messages gauge
queuebinding_queue_messages{name="pings",namespace="batch",state="delayed"} 1
queuebinding_queue_messages{name="pings",namespace="batch",state="in_flight"} 4
queuebinding_queue_messages{name="pings",namespace="batch",state="visible"} 120
`

func TestGaugesAreThoseOfTheBindingsThatExist(t *testing.T) {
	existing := []v1alpha1.QueueBinding{binding("pings")}
	registry := prometheus.NewPedanticRegistry()
	if err := RegisterBindings(registry, func(context.Context) ([]v1alpha1.QueueBinding, error) { return existing, nil }); err != nil {
		t.Fatal(err)
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(whole)); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("against Prometheus' rules: %v, %v", problems, err)
	}
	// One of which nothing is known yet has its limits alone, and one that is gone nothing.
	fresh := binding("fresh")
	fresh.Spec.Concurrency.MaxPendingJobs, fresh.Status = nil, v1alpha1.QueueBindingStatus{}
	existing = []v1alpha1.QueueBinding{fresh}
	want := `
# HELP queuebinding_max_active_jobs The limit of active Jobs, spec.concurrency.maxActiveJobs.
# TYPE queuebinding_max_active_jobs gauge
queuebinding_max_active_jobs{name="fresh",namespace="batch"} 10
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	existing = nil
	if n, err := testutil.GatherAndCount(registry); err != nil || n != 0 {
		t.Errorf("%d series are left, %v", n, err)
	}
}

// A scrape must not show zeros for what it could not read.
func TestAScrapeThatCannotListFails(t *testing.T) {
	registry := prometheus.NewRegistry()
	err := RegisterBindings(registry, func(context.Context) ([]v1alpha1.QueueBinding, error) { return nil, errors.New("no cache") })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Gather(); err == nil || !strings.Contains(err.Error(), "no cache") {
		t.Errorf("got %v", err)
	}
}
