// Package tracing follows a message by OpenTelemetry: it reads the context that a producer gave a message, records the spans of
// its way into a Job and of the Job itself, and says which context the Job's containers get. It tells names, numbers and reasons,
// never what a message holds. It knows no queue and no cluster, and nothing waits for it: spans that cannot be exported are dropped.
package tracing

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

const (
	// serviceName is the service's name where OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have none.
	serviceName = "queuebinding"
	// scope names the instrumentation.
	scope = "github.com/queuebinding/queuebinding"
	// shutdownTimeout is how long the last spans may take to be exported when the operator ends.
	shutdownTimeout = 5 * time.Second
	// complainEvery is how often an exporter that fails is told of.
	complainEvery = time.Minute
)

// Tracer records spans. A nil *Tracer records none, and costs nothing. It may be used by several goroutines.
type Tracer struct {
	tracer   trace.Tracer
	shutdown func(context.Context) error
}

// New makes the Tracer that the environment asks for by OpenTelemetry's own variables, or nil where it asks for none: an endpoint
// (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) or OTEL_TRACES_EXPORTER=otlp turn it on, OTEL_SDK_DISABLED=true and
// OTEL_TRACES_EXPORTER=none off. Values that are not known turn it off, too, and are logged: an operator does not fail for its traces.
func New(ctx context.Context, getenv func(string) string, log logr.Logger) *Tracer {
	protocol, problem := wanted(getenv)
	if problem != "" {
		log.Info("Turned tracing off", "cause", problem)
	}
	if protocol == "" {
		return nil
	}
	complain := &rate.Sometimes{First: 1, Interval: complainEvery}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		complain.Do(func() { log.Info("Could not export traces", "cause", err.Error()) })
	}))
	exporter, err := newExporter(ctx, protocol)
	if err != nil {
		log.Info("Turned tracing off", "cause", err.Error())
		return nil
	}
	from, err := resource.New(ctx, resource.WithAttributes(semconv.ServiceName(serviceName)), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		log.Info("Could not read all of the resource that traces are of", "cause", err.Error())
	}
	log.Info("Turned tracing on", "protocol", protocol)
	// The processor drops what its queue has no room for: OTEL_BSP_MAX_QUEUE_SIZE spans, 2048 unless it is set.
	return NewWith(sdktrace.WithBatcher(exporter), sdktrace.WithResource(from))
}

// NewWith makes a Tracer with options of one's own, such as an exporter that keeps the spans for a test.
func NewWith(options ...sdktrace.TracerProviderOption) *Tracer {
	provider := sdktrace.NewTracerProvider(append(options, sdktrace.WithIDGenerator(generator{}))...)
	return &Tracer{tracer: provider.Tracer(scope), shutdown: provider.Shutdown}
}

// wanted returns the protocol of the exporter that the environment asks for, or an empty one for none, and what it asks for in vain.
func wanted(getenv func(string) string) (protocol, problem string) {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return "", ""
	}
	switch exporter := getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "none":
		return "", ""
	case "":
		if getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
			return "", ""
		}
	case "otlp":
	default:
		return "", fmt.Sprintf("OTEL_TRACES_EXPORTER is %q; otlp and none are known", exporter)
	}
	protocol = getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if protocol == "" {
		protocol = getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	switch protocol {
	case "":
		return protocolHTTP, ""
	case protocolHTTP, protocolGRPC:
		return protocol, ""
	}
	return "", fmt.Sprintf("OTEL_EXPORTER_OTLP_PROTOCOL is %q; %s and %s are known", protocol, protocolHTTP, protocolGRPC)
}

const (
	protocolHTTP = "http/protobuf"
	protocolGRPC = "grpc"
)

// newExporter makes an exporter, which reads the rest of OTEL_EXPORTER_OTLP_* itself. It connects when there is something to export.
func newExporter(ctx context.Context, protocol string) (sdktrace.SpanExporter, error) {
	if protocol == protocolGRPC {
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}

// Shutdown exports what is left, for five seconds at most, and ends the exporter.
func (t *Tracer) Shutdown() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := t.shutdown(ctx); err != nil {
		otel.Handle(fmt.Errorf("end the exporter: %w", err))
	}
}
