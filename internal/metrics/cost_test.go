package metrics

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apimachinery/pkg/types"
)

// bindings is how many there are in a big cluster.
const bindings = 1000

// busy is what an hour of a binding's work leaves: a thousand messages, with times that differ widely, and a few errors.
func busy(b *Binding) {
	ctx := context.Background()
	for i := range 1000 {
		age := time.Duration(i*i) * time.Millisecond
		b.Received(ctx, age)
		b.Created(ctx, time.Duration(10+i%50)*time.Millisecond, age)
		b.Acknowledged()
		how := OutcomeSucceeded
		if i%20 == 0 {
			how = OutcomeFailed
		}
		b.Finished(ctx, how, time.Duration(5+i%200)*time.Second, age+time.Minute)
	}
	b.Rejected(rejectedReason.Values[0])
	b.GivenBack(GivenBackRejected)
	b.GivenBack(GivenBackNotWanted)
	b.QueueFailed(OperationReceive, queueReason.Values[4])
	b.CreateFailed(createReason.Values[0])
}

// scrape asks for metrics as Prometheus does, and returns how long that took and how many bytes the answer has, as they are sent.
func scrape(tb testing.TB, handler http.Handler, accept string) (took time.Duration, sent, plain int64) {
	tb.Helper()
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", accept)
	request.Header.Set("Accept-Encoding", "gzip")
	answer := httptest.NewRecorder()
	began := time.Now()
	handler.ServeHTTP(answer, request)
	took, sent = time.Since(began), int64(answer.Body.Len())
	unzipped, err := gzip.NewReader(answer.Body)
	if err != nil {
		tb.Fatal(err)
	}
	plain, err = io.Copy(io.Discard, unzipped)
	if err != nil {
		tb.Fatal(err)
	}
	return took, sent, plain
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// What a thousand bindings cost is told with -v, and stands in docs/metrics.md; only the number of series is asserted.
func TestCostOfAThousandBindings(t *testing.T) {
	for name, work := range map[string]func(*Binding){"idle": func(*Binding) {}, "busy": busy} {
		t.Run(name, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			states := make([]State, bindings)
			for i := range states {
				states[i] = everything(fmt.Sprint("binding-", i))
			}
			before := heap()
			metrics := New(registry)
			if err := RegisterGauges(registry, elected(), func(context.Context) ([]State, error) { return states, nil }); err != nil {
				t.Fatal(err)
			}
			for i := range bindings {
				work(metrics.Of(types.NamespacedName{Namespace: "batch", Name: fmt.Sprint("binding-", i)}))
			}
			taken := heap() - before
			most := 0
			for _, family := range Families() {
				most += family.MaxSeries()
			}
			n := seriesOf(t, registry)
			if n > bindings*most {
				t.Errorf("%d bindings have %d series, want at most %d each", bindings, n, most)
			}
			t.Logf("%d bindings: %d series, %.1f MiB", bindings, n, float64(taken)/(1<<20))
			handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
			for format, accept := range map[string]string{
				"OpenMetrics": "application/openmetrics-text; version=1.0.0",
				"protobuf":    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
			} {
				scrape(t, handler, accept)
				took, sent, plain := scrape(t, handler, accept)
				t.Logf("%s: a scrape takes %v, %.1f MiB, %.1f unzipped", format, took.Round(time.Millisecond), float64(sent)/(1<<20), float64(plain)/(1<<20))
			}
			began := time.Now()
			for i := range bindings {
				metrics.Forget(types.NamespacedName{Namespace: "batch", Name: fmt.Sprint("binding-", i)})
			}
			t.Logf("all are forgotten in %v", time.Since(began).Round(time.Millisecond))
			runtime.KeepAlive(metrics)
		})
	}
}

// BenchmarkMessage counts and observes what a message causes on its way to its Job.
func BenchmarkMessage(b *testing.B) {
	binding, ctx := New(prometheus.NewRegistry()).Of(pings), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		binding.Received(ctx, time.Second)
		binding.Created(ctx, 20*time.Millisecond, time.Second)
		binding.Acknowledged()
		binding.Extended(true, false)
	}
}
