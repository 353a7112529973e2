package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/types"
)

// Binding counts and observes for one binding. It has its series at hand, as looking them up for each message would cost more than
// counting. A nil *Binding does nothing. Where a context has the span of a trace that is sampled, observations bear its ID as an exemplar.
type Binding struct {
	metrics *Metrics
	key     types.NamespacedName

	received, created, acknowledged, requeued, extensions, lateExtensions prometheus.Counter
	// Histograms are made when they are first needed: a binding without messages has none.
	messageAge, receiveToJob, sentToJob func() prometheus.Observer
	jobDuration, sentToFinished         map[string]func() prometheus.Observer

	mu sync.Mutex
	// ended reports whether the binding is gone: no series are made for it any more.
	ended bool
}

func newBinding(m *Metrics, key types.NamespacedName) *Binding {
	b := &Binding{metrics: m, key: key}
	counter := func(vec *prometheus.CounterVec) prometheus.Counter {
		return vec.WithLabelValues(key.Namespace, key.Name)
	}
	b.received, b.created, b.acknowledged, b.requeued = counter(m.received), counter(m.created), counter(m.acknowledged), counter(m.requeued)
	b.extensions, b.lateExtensions = counter(m.extensions), counter(m.lateExtensions)
	b.messageAge, b.receiveToJob, b.sentToJob = b.observer(m.messageAge), b.observer(m.receiveToJob), b.observer(m.sentToJob)
	b.jobDuration, b.sentToFinished = map[string]func() prometheus.Observer{}, map[string]func() prometheus.Observer{}
	for _, each := range outcome.Values {
		b.jobDuration[each], b.sentToFinished[each] = b.observer(m.jobDuration, each), b.observer(m.sentToFinished, each)
	}
	return b
}

// observer returns a histogram's series, which is made at its first use.
func (b *Binding) observer(vec *prometheus.HistogramVec, more ...string) func() prometheus.Observer {
	return sync.OnceValue(func() prometheus.Observer {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.ended {
			return prometheus.ObserverFunc(func(float64) {})
		}
		return vec.WithLabelValues(append([]string{b.key.Namespace, b.key.Name}, more...)...)
	})
}

// count counts one of those that have more labels.
func (b *Binding) count(vec *prometheus.CounterVec, more ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		vec.WithLabelValues(append([]string{b.key.Namespace, b.key.Name}, more...)...).Inc()
	}
}

func (b *Binding) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
}

// Received takes in that a message was received, the given time after it was sent, or 0 where that is not known.
func (b *Binding) Received(ctx context.Context, age time.Duration) {
	if b == nil {
		return
	}
	b.received.Inc()
	if age != 0 {
		observe(ctx, b.messageAge(), age)
	}
}

// Created takes in that a Job was created: how long after its message was received, and was sent, or 0 where that is not known.
func (b *Binding) Created(ctx context.Context, sinceReceive, sinceSent time.Duration) {
	if b == nil {
		return
	}
	b.created.Inc()
	observe(ctx, b.receiveToJob(), sinceReceive)
	if sinceSent != 0 {
		observe(ctx, b.sentToJob(), sinceSent)
	}
}

// Finished takes in that a Job ended: its outcome, how long it took, and how long after its message was sent it ended, or 0 where that is
// not known.
func (b *Binding) Finished(ctx context.Context, how string, took, sinceSent time.Duration) {
	if b == nil || b.jobDuration[how] == nil {
		return
	}
	observe(ctx, b.jobDuration[how](), took)
	if sinceSent != 0 {
		observe(ctx, b.sentToFinished[how](), sinceSent)
	}
}

// observe enters a time into a histogram. One that is negative, as clocks differ, is 0.
func observe(ctx context.Context, into prometheus.Observer, took time.Duration) {
	seconds := max(took, 0).Seconds()
	span := trace.SpanContextFromContext(ctx)
	if withExemplar, ok := into.(prometheus.ExemplarObserver); ok && span.HasTraceID() && span.IsSampled() {
		withExemplar.ObserveWithExemplar(seconds, prometheus.Labels{"trace_id": span.TraceID().String()})
		return
	}
	into.Observe(seconds)
}

// Acknowledged takes in that a message was deleted.
func (b *Binding) Acknowledged() {
	if b != nil {
		b.acknowledged.Inc()
	}
}

// Requeued takes in that so many failed Jobs had their message sent again.
func (b *Binding) Requeued(n int) {
	if b != nil {
		b.requeued.Add(float64(n))
	}
}

// Extended takes in that a visibility timeout was to be extended: whether SQS did, and whether the timeout had ended before.
func (b *Binding) Extended(done, late bool) {
	if b == nil {
		return
	}
	if done {
		b.extensions.Inc()
	}
	if late {
		b.lateExtensions.Inc()
	}
}

// Rejected takes in that a message could not become a Job.
func (b *Binding) Rejected(reason string) {
	if b != nil {
		b.count(b.metrics.rejected, rejectedReason.value(reason))
	}
}

// GivenBack takes in that a message was given back to the queue.
func (b *Binding) GivenBack(reason string) {
	if b != nil {
		b.count(b.metrics.givenBack, givenBackReason.value(reason))
	}
}

// QueueFailed takes in that a request to the queue failed.
func (b *Binding) QueueFailed(what, reason string) {
	if b != nil {
		b.count(b.metrics.queueErrors, operation.value(what), queueReason.value(reason))
	}
}

// CreateFailed takes in that an attempt to create a Job failed through no fault of its message.
func (b *Binding) CreateFailed(reason string) {
	if b != nil {
		b.count(b.metrics.createErrors, createReason.value(reason))
	}
}
