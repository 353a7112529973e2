// Package metrics counts what the operator does with messages, and tells what the status of bindings says. Gauges are computed
// when they are asked for, so that a deleted binding leaves none behind.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
)

const namespace = "queuebinding"

// Metrics are the operator's counters. A nil *Metrics counts nothing.
type Metrics struct {
	received, created, acknowledged, requeued, rejected *prometheus.CounterVec
}

// New registers the counters.
func New(registry prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help},
			append([]string{"namespace", "name"}, labels...))
		registry.MustRegister(vec)
		return vec
	}
	return &Metrics{
		received:     counter("messages_received_total", "Messages received, each receive of a message counted."),
		created:      counter("jobs_created_total", "Jobs created."),
		acknowledged: counter("messages_acknowledged_total", "Messages deleted from the queue because their Job exists."),
		requeued:     counter("jobs_requeued_total", "Failed Jobs whose message was sent again."),
		rejected:     counter("messages_rejected_total", "Messages that could not become a Job, by reason.", "reason"),
	}
}

// Received counts messages that were received.
func (m *Metrics) Received(binding types.NamespacedName, n int) {
	if m != nil {
		m.received.WithLabelValues(binding.Namespace, binding.Name).Add(float64(n))
	}
}

// Created counts a Job.
func (m *Metrics) Created(binding types.NamespacedName) {
	if m != nil {
		m.created.WithLabelValues(binding.Namespace, binding.Name).Inc()
	}
}

// Acknowledged counts a message that was deleted.
func (m *Metrics) Acknowledged(binding types.NamespacedName) {
	if m != nil {
		m.acknowledged.WithLabelValues(binding.Namespace, binding.Name).Inc()
	}
}

// Requeued counts failed Jobs whose message was sent again.
func (m *Metrics) Requeued(binding types.NamespacedName, n int) {
	if m != nil {
		m.requeued.WithLabelValues(binding.Namespace, binding.Name).Add(float64(n))
	}
}

// Rejected counts a message that could not become a Job.
func (m *Metrics) Rejected(binding types.NamespacedName, reason string) {
	if m != nil {
		m.rejected.WithLabelValues(binding.Namespace, binding.Name, reason).Inc()
	}
}

// Forget drops the counters of a binding that is gone.
func (m *Metrics) Forget(binding types.NamespacedName) {
	if m == nil {
		return
	}
	labels := prometheus.Labels{"namespace": binding.Namespace, "name": binding.Name}
	for _, vec := range []*prometheus.CounterVec{m.received, m.created, m.acknowledged, m.requeued, m.rejected} {
		vec.DeletePartialMatch(labels)
	}
}
