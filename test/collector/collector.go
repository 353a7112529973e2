// Package collector is a receiver of OTLP in memory, which keeps the spans that a program exports to it by HTTP, or never answers.
package collector

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector keeps what it is sent. Close ends it.
type Collector struct {
	server *httptest.Server

	mu    sync.Mutex
	spans []Span
	asked int
	// hanging, where there is one, is waited for with each request.
	hanging chan struct{}
}

// Span is a span as it was exported. IDs are hexadecimal.
type Span struct {
	Service, Name           string
	TraceID, SpanID, Parent string
	Kind                    tracev1.Span_SpanKind
	Failed                  bool
	// Attributes are texts; those of other types are left out.
	Attributes map[string]string
	// Links are the IDs of spans, each as <trace>-<span>.
	Links []string
}

// Start starts a collector on a port of the loopback interface.
func Start() *Collector {
	c := &Collector{}
	c.server = httptest.NewServer(http.HandlerFunc(c.serve))
	return c
}

// StartHanging starts one that takes requests and answers none.
func StartHanging() *Collector {
	c := &Collector{hanging: make(chan struct{})}
	c.server = httptest.NewServer(http.HandlerFunc(c.serve))
	return c
}

// Endpoint is the value of OTEL_EXPORTER_OTLP_ENDPOINT.
func (c *Collector) Endpoint() string { return c.server.URL }

// Close ends the collector.
func (c *Collector) Close() {
	if c.hanging != nil {
		close(c.hanging)
	}
	c.server.Close()
}

// Spans are those that came so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Asked is how many requests came so far.
func (c *Collector) Asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

func (c *Collector) serve(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.asked++
	c.mu.Unlock()
	if c.hanging != nil {
		<-c.hanging
		return
	}
	sent, err := read(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range sent.ResourceSpans {
		service := texts(of.Resource.GetAttributes())["service.name"]
		for _, scope := range of.ScopeSpans {
			for _, span := range scope.Spans {
				c.spans = append(c.spans, spanOf(service, span))
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func read(r *http.Request) (*collectorv1.ExportTraceServiceRequest, error) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, err
		}
		body = unpacked
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	sent := &collectorv1.ExportTraceServiceRequest{}
	return sent, proto.Unmarshal(raw, sent)
}

func spanOf(service string, of *tracev1.Span) Span {
	span := Span{
		Service: service, Name: of.Name, Kind: of.Kind, Failed: of.Status.GetCode() == tracev1.Status_STATUS_CODE_ERROR,
		TraceID: hex.EncodeToString(of.TraceId), SpanID: hex.EncodeToString(of.SpanId), Parent: hex.EncodeToString(of.ParentSpanId),
		Attributes: texts(of.Attributes),
	}
	for _, link := range of.Links {
		span.Links = append(span.Links, hex.EncodeToString(link.TraceId)+"-"+hex.EncodeToString(link.SpanId))
	}
	return span
}

func texts(attributes []*commonv1.KeyValue) map[string]string {
	all := map[string]string{}
	for _, a := range attributes {
		if text, ok := a.Value.GetValue().(*commonv1.AnyValue_StringValue); ok {
			all[a.Key] = text.StringValue
		}
	}
	return all
}
