package metrics

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// scrapeTimeout bounds how long a scrape waits for the cache.
const scrapeTimeout = 5 * time.Second

// State is what there is to tell of a binding.
type State struct {
	// Binding is read only.
	Binding *v1alpha1.QueueBinding
	// MaxFailedJobs is how many failed Jobs pause the binding, nil where they do not.
	MaxFailedJobs *int
	// Intake is nil while the binding has no loop.
	Intake *Intake
}

// Intake is what the loop of a binding knows beside the status.
type Intake struct {
	// ReservedSlots are those for Jobs that were not seen yet.
	ReservedSlots int
	// OldestMessage is the age of the oldest message, nil where that is not known.
	OldestMessage *time.Duration
	// Retention is how long the queue keeps a message, 0 where that is not known.
	Retention time.Duration
	// Visibility is the visibility timeout, ExtensionLag how long the most overdue extension of one is overdue.
	Visibility, ExtensionLag time.Duration
	// LastReceive is when the queue last answered a receive, zero where it has not.
	LastReceive time.Time
}

// States returns what there is to tell of each binding that an operator works on. Callers change none of it.
type States func(context.Context) ([]State, error)

// gauges are gauges of bindings. They are read when they are asked for and kept nowhere, so that there are none for a binding that does
// not exist.
type gauges struct {
	elected <-chan struct{}
	states  States
	descs   map[string]*prometheus.Desc
}

// RegisterGauges registers the gauges of bindings, and of who leads: elected is closed once this process does. Replicas that wait tell
// of no binding, as they would tell the same again. A scrape that cannot list the bindings fails.
func RegisterGauges(registry prometheus.Registerer, elected <-chan struct{}, states States) error {
	g := &gauges{elected: elected, states: states, descs: map[string]*prometheus.Desc{}}
	for _, family := range Families() {
		if family.Kind == Gauge {
			g.descs[family.Name] = family.desc()
		}
	}
	return registry.Register(g)
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range g.descs {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(metrics chan<- prometheus.Metric) {
	tell := func(family Family, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(g.descs[family.Name], prometheus.GaugeValue, value, labels...)
	}
	select {
	case <-g.elected:
		tell(leader, 1)
	default:
		tell(leader, 0)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	all, err := g.states(ctx)
	if err != nil {
		metrics <- prometheus.NewInvalidMetric(g.descs[maxActive.Name], fmt.Errorf("list the bindings: %w", err))
		return
	}
	for _, state := range all {
		of := func(family Family, value float64, labels ...string) {
			tell(family, value, append([]string{state.Binding.Namespace, state.Binding.Name}, labels...)...)
		}
		tellStatus(state.Binding, of)
		tellLimits(state, of)
		if state.Intake != nil {
			tellIntake(state.Intake, of)
		}
	}
}

// tellStatus tells what the status of a binding says.
func tellStatus(binding *v1alpha1.QueueBinding, tell func(Family, float64, ...string)) {
	known := func(family Family, value *int32, labels ...string) {
		if value != nil {
			tell(family, float64(*value), labels...)
		}
	}
	status := &binding.Status
	if q := status.Queue; q != nil {
		tell(queueMessages, float64(q.VisibleMessages), "visible")
		tell(queueMessages, float64(q.InFlightMessages), "in_flight")
		tell(queueMessages, float64(q.DelayedMessages), "delayed")
		if q.DeadLetterMessages != nil {
			tell(deadLetters, float64(*q.DeadLetterMessages))
		}
	}
	known(jobs, status.ActiveJobs, "active")
	known(jobs, status.SucceededJobs, "succeeded")
	known(jobs, status.FailedJobs, "failed")
	known(jobs, status.RequeuedJobs, "requeued")
	known(pendingJobs, status.PendingJobs)
	if condition := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady); condition != nil {
		value := 0.0
		if condition.Status == metav1.ConditionTrue {
			value = 1
		}
		tell(ready, value, readyReason.value(condition.Reason))
	}
}

// tellLimits tells what the spec of a binding allows.
func tellLimits(state State, tell func(Family, float64, ...string)) {
	if limit := state.Binding.Spec.Concurrency.MaxActiveJobs; limit != nil {
		tell(maxActive, float64(*limit))
	}
	if limit := state.Binding.Spec.Concurrency.MaxPendingJobs; limit != nil {
		tell(maxPending, float64(*limit))
	}
	if limit := state.MaxFailedJobs; limit != nil {
		tell(maxFailed, float64(*limit))
	}
}

// tellIntake tells what a loop knows.
func tellIntake(intake *Intake, tell func(Family, float64, ...string)) {
	tell(reserved, float64(intake.ReservedSlots))
	tell(visibility, intake.Visibility.Seconds())
	tell(lag, intake.ExtensionLag.Seconds())
	if intake.OldestMessage != nil {
		tell(oldestAge, intake.OldestMessage.Seconds())
	}
	if intake.Retention > 0 {
		tell(retention, intake.Retention.Seconds())
	}
	if !intake.LastReceive.IsZero() {
		tell(lastReceive, float64(intake.LastReceive.UnixMilli())/1000)
	}
}
