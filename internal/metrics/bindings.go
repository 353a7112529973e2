package metrics

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// scrapeTimeout bounds how long a scrape waits for the cache.
const scrapeTimeout = 5 * time.Second

// Bindings lists the bindings that an operator works on, and returns none while it does not lead. Callers change none of them.
type Bindings func(context.Context) ([]v1alpha1.QueueBinding, error)

// bindings are gauges of what the status of bindings says. They are read when they are asked for and kept nowhere, so that there are
// eleven series at most for each binding that exists, and none for one that does not.
type bindings struct {
	list                                                        Bindings
	messages, deadLetters, jobs, pending, maxActive, maxPending *prometheus.Desc
}

// RegisterBindings registers the gauges of bindings. A scrape that cannot list them fails.
func RegisterBindings(registry prometheus.Registerer, list Bindings) error {
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, append([]string{"namespace", "name"}, labels...), nil)
	}
	return registry.Register(&bindings{
		list:        list,
		messages:    gauge("queue_messages", "Messages on the queue, about, by state: visible, in_flight or delayed. Up to a minute old.", "state"),
		deadLetters: gauge("dead_letter_messages", "Messages in the dead-letter queue, about."),
		jobs:        gauge("jobs", "Jobs that exist, by state: active, succeeded, failed, or requeued, whose message was sent again.", "state"),
		pending:     gauge("pending_jobs", "Active Jobs that are not suspended and have no ready Pod."),
		maxActive:   gauge("max_active_jobs", "The limit of active Jobs, spec.concurrency.maxActiveJobs."),
		maxPending:  gauge("max_pending_jobs", "The limit of pending Jobs, spec.concurrency.maxPendingJobs, where there is one."),
	})
}

// Describe implements prometheus.Collector.
func (b *bindings) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{b.messages, b.deadLetters, b.jobs, b.pending, b.maxActive, b.maxPending} {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (b *bindings) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	all, err := b.list(ctx)
	if err != nil {
		metrics <- prometheus.NewInvalidMetric(b.maxActive, fmt.Errorf("list the bindings: %w", err))
		return
	}
	for i := range all {
		b.collect(&all[i], metrics)
	}
}

func (b *bindings) collect(binding *v1alpha1.QueueBinding, metrics chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value int64, labels ...string) {
		labels = append([]string{binding.Namespace, binding.Name}, labels...)
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value), labels...)
	}
	known := func(desc *prometheus.Desc, value *int32, labels ...string) {
		if value != nil {
			gauge(desc, int64(*value), labels...)
		}
	}
	status := &binding.Status
	if q := status.Queue; q != nil {
		gauge(b.messages, q.VisibleMessages, "visible")
		gauge(b.messages, q.InFlightMessages, "in_flight")
		gauge(b.messages, q.DelayedMessages, "delayed")
		if q.DeadLetterMessages != nil {
			gauge(b.deadLetters, *q.DeadLetterMessages)
		}
	}
	known(b.jobs, status.ActiveJobs, "active")
	known(b.jobs, status.SucceededJobs, "succeeded")
	known(b.jobs, status.FailedJobs, "failed")
	known(b.jobs, status.RequeuedJobs, "requeued")
	known(b.pending, status.PendingJobs)
	known(b.maxActive, binding.Spec.Concurrency.MaxActiveJobs)
	known(b.maxPending, binding.Spec.Concurrency.MaxPendingJobs)
}
