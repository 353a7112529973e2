// Command manager is the operator.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	goruntime "runtime"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/queuebinding/queuebinding/internal/controller"
	"github.com/queuebinding/queuebinding/internal/creator"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/intake"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/lineagekey"
	"github.com/queuebinding/queuebinding/internal/manager"
	"github.com/queuebinding/queuebinding/internal/metrics"
	"github.com/queuebinding/queuebinding/internal/queue/sqs"
	"github.com/queuebinding/queuebinding/internal/requeue"
	"github.com/queuebinding/queuebinding/internal/tracing"
)

const (
	// shutdownTimeout is how long the loops may take to finish: an open poll of 20 s, and its messages.
	shutdownTimeout = 45 * time.Second
	// parallelCreates is how many Jobs are created at a time, over all bindings. More gain nothing on an API server of
	// ordinary size.
	parallelCreates = 32
)

// options are the operator's flags.
type options struct {
	manager.Flags
	debugAddress string
	// selector is a label selector of bindings.
	selector string
	// maxStoredBytes is a quantity of bytes.
	maxStoredBytes string
	// tenancy is one of the constants below.
	tenancy     string
	clusterName string
}

// Who decides what bindings may use.
const (
	// tenancyNone: nobody; they use what the operator can.
	tenancyNone = "none"
	// tenancyNamespaces: the annotations of their Namespace.
	tenancyNamespaces = "namespaces"
)

func main() {
	o := options{Flags: manager.Flags{Program: "queuebinding"}}
	o.Bind(flag.CommandLine)
	flag.StringVar(&o.selector, "binding-selector", "", "Label selector of the bindings to work on, such as team=a. Operators with different selectors, each with a Lease of its own, share out the bindings of a cluster. Default: all bindings.")
	flag.StringVar(&o.maxStoredBytes, "max-stored-bytes", "512Mi", "How many bytes of the API server's storage the Jobs of one binding may take, messages included, before the binding pauses. 0 is no limit.")
	flag.StringVar(&o.tenancy, "tenancy", tenancyNone, "Who decides which queues, roles and identities bindings may use: none, or namespaces, where annotations of their Namespace do; see docs/security.md.")
	flag.StringVar(&o.clusterName, "cluster-name", "", "The cluster's name. If set, roles are assumed with the external ID queuebinding:<cluster-name>:<namespace>/<name>, so that a role can tell clusters apart.")
	flag.StringVar(&o.debugAddress, "debug-bind-address", "0", "Address of the loopback interface, such as 127.0.0.1:6060, that profiles are served at, below /debug/pprof/, and at /statusz what each binding waits for. 0 turns them off.")
	flag.Parse()
	if o.PrintVersion(os.Stdout) {
		return
	}
	o.SetLogger()
	manager.FollowMemoryLimit()
	defer goruntime.KeepAlive(paceGarbage())

	if err := run(o); err != nil {
		ctrl.Log.Error(err, "The operator ended with an error")
		os.Exit(1)
	}
}

// run runs the operator until it is told to stop.
func run(o options) error {
	selector, err := labels.Parse(o.selector)
	if err != nil {
		return fmt.Errorf("--binding-selector: %w", err)
	}
	maxStoredBytes, err := resource.ParseQuantity(o.maxStoredBytes)
	if err != nil {
		return fmt.Errorf("--max-stored-bytes: %w", err)
	}
	if o.tenancy != tenancyNone && o.tenancy != tenancyNamespaces {
		return fmt.Errorf("--tenancy: %q is neither %s nor %s", o.tenancy, tenancyNone, tenancyNamespaces)
	}
	ctx := ctrl.SetupSignalHandler()
	mgr, err := o.New(ctx, controller.LeaseName(selector), controller.Watches(), func(options *ctrl.Options) {
		options.GracefulShutdownTimeout = new(shutdownTimeout)
	})
	if err != nil {
		return err
	}
	recorder := events.NewRecorder(mgr.GetEventRecorder("queuebinding"))
	tracer := tracing.New(context.Background(), os.Getenv, ctrl.Log.WithName("tracing"))
	defer tracer.Shutdown()
	if err := addController(mgr, recorder, tracer, o, selector, maxStoredBytes.Value()); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// addController wires reconciler and intake together.
func addController(mgr ctrl.Manager, recorder *events.Recorder, tracer *tracing.Tracer, o options, selector labels.Selector, maxStoredBytes int64) error {
	realClock := clock.RealClock{}
	keySource := lineagekey.New(mgr.GetClient(), mgr.GetAPIReader(), o.Namespace, realClock, ctrl.Log.WithName("lineage-key"))
	if err := mgr.Add(keySource); err != nil {
		return fmt.Errorf("set up the key of lineages: %w", err)
	}
	ledgers := ledger.NewSet(realClock)
	counters := metrics.New(ctrlmetrics.Registry)
	enqueuer := &controller.Enqueuer{}
	opener := sqs.NewOpener()

	registry := intake.NewRegistry(&intake.Dependencies{
		Client:   mgr.GetClient(),
		Reader:   mgr.GetAPIReader(),
		Recorder: recorder,
		Ledgers:  ledgers,
		Metrics:  counters,
		Clock:    realClock,
		Limiter:  creator.NewLimiter(parallelCreates),
		Memory:   intake.NewMemory(),
		Keys:     keySource.Keys,
		Tracer:   tracer,
	}, opener, ctrl.Log.WithName("intake"), enqueuer.Enqueue)
	if err := mgr.Add(registry); err != nil {
		return fmt.Errorf("set up the intake: %w", err)
	}
	if err := mgr.AddHealthzCheck("loops", registry.CheckLive); err != nil {
		return fmt.Errorf("set up /healthz: %w", err)
	}
	if err := manager.ServeDebug(mgr, o.debugAddress, registry); err != nil {
		return fmt.Errorf("--debug-bind-address: %w", err)
	}

	reconciler := &controller.Reconciler{
		Client:   mgr.GetClient(),
		Reader:   mgr.GetAPIReader(),
		Recorder: recorder,
		Registry: registry,
		Ledgers:  ledgers,
		Executor: &requeue.Executor{Reader: mgr.GetAPIReader(), Client: mgr.GetClient(), Clock: realClock, Keys: keySource.Keys, Tracer: tracer},
		Metrics:  counters,
		Clock:    realClock,
		Selector: selector,
		Tracer:   tracer,

		MaxStoredBytes: maxStoredBytes,
		ClusterName:    o.clusterName,
		Enqueuer:       enqueuer,
	}
	if o.tenancy == tenancyNamespaces {
		reconciler.Tenancy = &controller.Tenancy{ARN: opener.ARN, OneByOne: len(o.Namespaces) > 0}
	}
	if err := reconciler.SetupWithManager(keySource.Gate(mgr)); err != nil {
		return fmt.Errorf("set up the controller: %w", err)
	}
	if err := metrics.RegisterGauges(ctrlmetrics.Registry, mgr.Elected(), reconciler.States); err != nil {
		return fmt.Errorf("set up the gauges of bindings: %w", err)
	}
	return nil
}
