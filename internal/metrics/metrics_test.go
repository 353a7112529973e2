package metrics

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/types"
)

var pings = types.NamespacedName{Namespace: "batch", Name: "pings"}

// fill gives a binding every series that it can have.
func fill(b *Binding) {
	ctx := context.Background()
	b.Received(ctx, time.Second)
	b.Created(ctx, time.Second, time.Second)
	b.Acknowledged()
	b.Requeued(1)
	b.Extended(true, true)
	for _, how := range outcome.Values {
		b.Finished(ctx, how, time.Second, time.Second)
	}
	for _, reason := range rejectedReason.Values {
		b.Rejected(reason)
	}
	for _, reason := range givenBackReason.Values {
		b.GivenBack(reason)
	}
	for _, reason := range createReason.Values {
		b.CreateFailed(reason)
	}
	for _, what := range operation.Values {
		for _, reason := range queueReason.Values {
			b.QueueFailed(what, reason)
		}
	}
}

// seriesOf counts series as Prometheus does: each bucket of a histogram is one.
func seriesOf(t testing.TB, from prometheus.Gatherer) (n int) {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if h := metric.GetHistogram(); h != nil {
				n += len(h.GetBucket()) + 2
				if last := h.GetBucket()[len(h.GetBucket())-1]; last.GetUpperBound() < 1e300 {
					n++ // that without a bound, where it is not told of
				}
				continue
			}
			n++
		}
	}
	return n
}

// Whatever happens to a binding, its series are no more than the documented number, and by Prometheus' own rules.
func TestSeriesAreBoundedAndWellNamed(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	metrics := New(registry)
	if err := RegisterGauges(registry, elected(), func(context.Context) ([]State, error) { return []State{everything("pings")}, nil }); err != nil {
		t.Fatal(err)
	}
	fill(metrics.Of(pings))
	most := 0
	for _, family := range Families() {
		most += family.MaxSeries()
	}
	if got := seriesOf(t, registry); got != most {
		t.Errorf("there are %d series, want %d", got, most)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("against Prometheus' rules: %v, %v", problems, err)
	}
	// What is in no list makes one more series, however many there are of it.
	for i := range 100 {
		metrics.Of(pings).Rejected(fmt.Sprint("of a message: ", i))
	}
	if got := seriesOf(t, registry); got != most+1 {
		t.Errorf("there are %d series, want %d", got, most+1)
	}
}

// Series end with their binding, and nothing that is still counted for it makes new ones; those of others stay.
func TestForgetEndsAllSeries(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	metrics := New(registry)
	late, other := metrics.Of(pings), types.NamespacedName{Namespace: "batch", Name: "others"}
	late.Received(context.Background(), time.Second)
	metrics.Forget(pings)
	fill(late)
	metrics.Of(other).Acknowledged()
	metrics.Forget(pings)
	if n := testutil.CollectAndCount(metrics.received); n != 1 {
		t.Errorf("%d series, want the other binding's", n)
	}
	metrics.Forget(other)
	if n := seriesOf(t, registry); n != 0 {
		t.Errorf("%d series are left", n)
	}
	if metrics.Known(pings) != nil {
		t.Error("a binding is known that was forgotten")
	}
	// Another one of its name begins at 0.
	if fresh := metrics.Of(pings); testutil.ToFloat64(fresh.received) != 0 || fresh == late {
		t.Error("a new binding goes on with an old one's series")
	}
}

func TestNothingIsCountedWithoutMetrics(*testing.T) {
	var none *Metrics
	fill(none.Of(pings))
	none.Known(pings).Finished(context.Background(), OutcomeFailed, time.Second, 0)
	none.Forget(pings)
}

// What an observation of a sampled trace leaves is the way to that trace. Times that clocks which differ make negative are 0.
func TestObservationsBearTheTraceOfTheirContext(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	binding := New(registry).Of(pings)
	id := trace.TraceID{0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36}
	within := func(flags trace.TraceFlags) context.Context {
		return trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{1}, TraceFlags: flags}))
	}
	exemplars := func() (found []string) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, bucket := range family.GetMetric()[0].GetHistogram().GetBucket() {
				for _, label := range bucket.GetExemplar().GetLabel() {
					found = append(found, family.GetName()+" "+label.GetName()+"="+label.GetValue())
				}
			}
		}
		return found
	}
	binding.Received(within(0), -time.Minute)
	if got := exemplars(); len(got) != 0 {
		t.Errorf("a trace that is not sampled left %v", got)
	}
	binding.Received(within(trace.FlagsSampled), time.Minute)
	if got := exemplars(); len(got) != 1 || got[0] != "queuebinding_message_age_seconds trace_id=4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Errorf("left %v", got)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == messageAge.Name {
			if h := family.GetMetric()[0].GetHistogram(); h.GetSampleSum() != 60 || h.GetSampleCount() != 2 || len(h.GetPositiveSpan()) == 0 {
				t.Errorf("observed %v, want 0 and 60, in native buckets too", h)
			}
		}
	}
}
