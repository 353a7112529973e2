// Package metrics has every metric of the operator: what it counts and observes of each binding, and what is to be told of a
// binding when Prometheus asks. Gauges are computed when they are asked for, and all series of a binding end with it.
package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
)

// Native histograms have buckets a tenth apart, and at most nativeBuckets of them: beyond that they start anew, once in nativeReset at
// most, or get wider.
const (
	nativeFactor  = 1.1
	nativeBuckets = 100
	nativeReset   = time.Hour
)

// Metrics are the operator's counters and histograms. A nil *Metrics counts nothing.
type Metrics struct {
	received, created, acknowledged, requeued, rejected, givenBack *prometheus.CounterVec
	extensions, lateExtensions, queueErrors, createErrors          *prometheus.CounterVec

	messageAge, receiveToJob, sentToJob, jobDuration, sentToFinished *prometheus.HistogramVec

	mu       sync.Mutex
	bindings map[types.NamespacedName]*Binding
}

// New registers the counters and histograms.
func New(registry prometheus.Registerer) *Metrics {
	counter := func(f Family) *prometheus.CounterVec {
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.Name, Help: f.Help}, f.labelNames())
		registry.MustRegister(vec)
		return vec
	}
	histogram := func(f Family) *prometheus.HistogramVec {
		vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: f.Name, Help: f.Help, Buckets: f.Buckets, NativeHistogramBucketFactor: nativeFactor,
			NativeHistogramMaxBucketNumber: nativeBuckets, NativeHistogramMinResetDuration: nativeReset,
		}, f.labelNames())
		registry.MustRegister(vec)
		return vec
	}
	return &Metrics{
		received: counter(received), created: counter(created), acknowledged: counter(acknowledged), requeued: counter(requeued),
		rejected: counter(rejected), givenBack: counter(givenBack), extensions: counter(extensions), lateExtensions: counter(lateExtensions),
		queueErrors: counter(queueErrors), createErrors: counter(createErrors),
		messageAge: histogram(messageAge), receiveToJob: histogram(receiveToJob), sentToJob: histogram(sentToJob),
		jobDuration: histogram(jobDuration), sentToFinished: histogram(sentToFinished),
		bindings: map[types.NamespacedName]*Binding{},
	}
}

// Of returns what counts for a binding, from now until Forget.
func (m *Metrics) Of(key types.NamespacedName) *Binding {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	binding, ok := m.bindings[key]
	if !ok {
		binding = newBinding(m, key)
		m.bindings[key] = binding
	}
	return binding
}

// Known returns what counts for a binding, or nil where Of was not called for it or it was forgotten.
func (m *Metrics) Known(key types.NamespacedName) *Binding {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bindings[key]
}

// Forget ends the series of a binding that is gone. What is still counted by a *Binding of before is told nobody.
func (m *Metrics) Forget(key types.NamespacedName) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	binding, ok := m.bindings[key]
	if !ok {
		return
	}
	delete(m.bindings, key)
	binding.end()
	labels := prometheus.Labels{"namespace": key.Namespace, "name": key.Name}
	for _, vec := range []*prometheus.CounterVec{
		m.received, m.created, m.acknowledged, m.requeued, m.rejected, m.givenBack, m.extensions, m.lateExtensions, m.queueErrors, m.createErrors,
	} {
		vec.DeletePartialMatch(labels)
	}
	for _, vec := range []*prometheus.HistogramVec{m.messageAge, m.receiveToJob, m.sentToJob, m.jobDuration, m.sentToFinished} {
		vec.DeletePartialMatch(labels)
	}
}
