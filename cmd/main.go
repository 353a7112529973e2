// Command manager is the operator.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"os"
	goruntime "runtime"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // so that KUBECONFIG may name any of kubectl's ways to log in
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/apiserver"
	"github.com/queuebinding/queuebinding/internal/controller"
	"github.com/queuebinding/queuebinding/internal/creator"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/intake"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/lineagekey"
	"github.com/queuebinding/queuebinding/internal/metrics"
	"github.com/queuebinding/queuebinding/internal/queue/sqs"
	"github.com/queuebinding/queuebinding/internal/requeue"
)

const (
	// shutdownTimeout is how long the loops may take to finish: an open poll of 20 s, and its messages.
	shutdownTimeout = 45 * time.Second
	// parallelCreates is how many Jobs are created at a time, over all bindings. More gain nothing on an API server of
	// ordinary size.
	parallelCreates = 32
)

var scheme = runtime.NewScheme()

func init() {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
}

// options are the operator's flags.
type options struct {
	metricsAddress string
	metricsSecure  bool
	probeAddress   string
	pprofAddress   string
	leaderElect    bool
	// namespace is the operator's own: it holds its Lease and its Secrets.
	namespace string
	// selector is a label selector of bindings.
	selector string
	// maxStoredBytes is a quantity of bytes.
	maxStoredBytes string
	// apiserver.BindAddress "0" turns the aggregated API off.
	apiserver apiserver.Options
}

func main() {
	var o options
	flag.StringVar(&o.metricsAddress, "metrics-bind-address", "0", "Address that metrics are served at, such as :8443. 0 turns them off.")
	flag.BoolVar(&o.metricsSecure, "metrics-secure", true, "Serve metrics by HTTPS, to those whom the API server lets read them.")
	flag.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "Address that /healthz and /readyz are served at. 0 turns them off.")
	flag.BoolVar(&o.leaderElect, "leader-elect", false, "Work only while holding a Lease, so that several replicas can run.")
	flag.StringVar(&o.namespace, "namespace", ownNamespace(), "The operator's own namespace, which holds its Lease and its Secrets.")
	flag.StringVar(&o.selector, "binding-selector", "", "Label selector of the bindings to work on, such as team=a. Operators with different selectors, each with a Lease of its own, share out the bindings of a cluster. Default: all bindings.")
	flag.StringVar(&o.maxStoredBytes, "max-stored-bytes", "512Mi", "How many bytes of the API server's storage the Jobs of one binding may take, messages included, before the binding pauses. 0 is no limit.")
	flag.StringVar(&o.pprofAddress, "pprof-bind-address", "0", "Address that profiles are served at, below /debug/pprof/, to anybody who reaches it: keep it to the loopback interface, such as 127.0.0.1:6060. 0 turns them off.")
	flag.StringVar(&o.apiserver.BindAddress, "apiserver-bind-address", "0", "Address that the requeue subresource is served at, such as :6443. 0 turns it off; the annotation works without it.")
	flag.BoolVar(&o.apiserver.RegisterLocally, "apiserver-register-locally", false, "Outside the cluster, on the machine of its API server: register the requeue subresource with it, until the operator ends.")
	logging := zap.Options{}
	logging.BindFlags(flag.CommandLine)
	flag.Parse()
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&logging)))
	if err := followMemoryLimit(); err != nil {
		ctrl.Log.Info("Could not read the container's memory limit; set GOMEMLIMIT to have one", "cause", err.Error())
	}
	defer goruntime.KeepAlive(paceGarbage())
	klog.SetLogger(ctrl.Log.WithName("kubernetes")) // the libraries' own words, in the same form

	if err := run(o); err != nil {
		ctrl.Log.Error(err, "The operator ended with an error")
		os.Exit(1)
	}
}

// run runs the operator until it is told to stop.
func run(o options) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	// API Priority and Fairness shares out the API server; a limit of the client's own would only be slower.
	config.QPS = -1
	// Since Kubernetes 1.37 a watch that began with a list is compressed event by event, at both ends' expense: see docs/performance.md.
	config.DisableCompression = true
	// Webhooks and policies may warn of an object with words that quote it, and what is created holds messages: such a warning must
	// not be logged.
	config.WarningHandlerWithContext = rest.NoWarnings{}
	selector, err := labels.Parse(o.selector)
	if err != nil {
		return fmt.Errorf("--binding-selector: %w", err)
	}
	maxStoredBytes, err := resource.ParseQuantity(o.maxStoredBytes)
	if err != nil {
		return fmt.Errorf("--max-stored-bytes: %w", err)
	}
	mgr, err := newManager(config, o, controller.LeaseName(selector))
	if err != nil {
		return fmt.Errorf("set up the manager: %w", err)
	}
	recorder := events.NewRecorder(mgr.GetEventRecorder("queuebinding"))
	if err := addController(mgr, recorder, o.namespace, selector, maxStoredBytes.Value()); err != nil {
		return err
	}
	if o.apiserver.BindAddress != "0" {
		o.apiserver.Namespace = o.namespace
		if err := apiserver.SetupWithManager(mgr, recorder, o.apiserver); err != nil {
			return fmt.Errorf("set up the aggregated API: %w", err)
		}
	}
	if err := mgr.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		return fmt.Errorf("set up /healthz: %w", err)
	}
	if err := mgr.AddReadyzCheck("readyz", healthz.Ping); err != nil {
		return fmt.Errorf("set up /readyz: %w", err)
	}
	return mgr.Start(ctrl.SetupSignalHandler())
}

func newManager(config *rest.Config, o options, leaseName string) (ctrl.Manager, error) {
	owned, err := labels.NewRequirement(v1alpha1.LabelBinding, selection.Exists, nil)
	if err != nil {
		return nil, fmt.Errorf("selector of Jobs: %w", err)
	}
	metricsOptions := metricsserver.Options{BindAddress: o.metricsAddress, SecureServing: o.metricsSecure}
	if o.metricsSecure {
		metricsOptions.FilterProvider = filters.WithAuthenticationAndAuthorization
		metricsOptions.TLSOpts = []func(*tls.Config){func(c *tls.Config) { c.MinVersion = tls.VersionTLS12 }}
	}
	return ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       metricsOptions,
		HealthProbeBindAddress:        o.probeAddress,
		PprofBindAddress:              o.pprofAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true, // run ends with the manager, so that nobody works on without the Lease
		GracefulShutdownTimeout:       new(shutdownTimeout),
		Cache: cache.Options{
			ByObject: map[client.Object]cache.ByObject{
				&batchv1.Job{}: {Label: labels.NewSelector().Add(*owned), Transform: job.Trim},
			},
			DefaultTransform: cache.TransformStripManagedFields(),
		},
	})
}

// ownNamespace is the namespace of the operator's Pod, or "default" outside a cluster.
func ownNamespace() string {
	name, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return metav1.NamespaceDefault
	}
	return strings.TrimSpace(string(name))
}

// addController wires reconciler and intake together.
func addController(mgr ctrl.Manager, recorder *events.Recorder, namespace string, selector labels.Selector, maxStoredBytes int64) error {
	realClock := clock.RealClock{}
	keySource := lineagekey.New(mgr.GetClient(), mgr.GetAPIReader(), namespace, realClock, ctrl.Log.WithName("lineage-key"))
	if err := mgr.Add(keySource); err != nil {
		return fmt.Errorf("set up the key of lineages: %w", err)
	}
	ledgers := ledger.NewSet(realClock)
	counters := metrics.New(ctrlmetrics.Registry)
	enqueuer := &controller.Enqueuer{}

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
	}, sqs.NewOpener(), ctrl.Log.WithName("intake"), enqueuer.Enqueue)
	if err := mgr.Add(registry); err != nil {
		return fmt.Errorf("set up the intake: %w", err)
	}

	reconciler := &controller.Reconciler{
		Client:   mgr.GetClient(),
		Reader:   mgr.GetAPIReader(),
		Recorder: recorder,
		Registry: registry,
		Ledgers:  ledgers,
		Executor: &requeue.Executor{Reader: mgr.GetAPIReader(), Client: mgr.GetClient(), Clock: realClock, Keys: keySource.Keys},
		Metrics:  counters,
		Clock:    realClock,
		Selector: selector,

		MaxStoredBytes: maxStoredBytes,
		Enqueuer:       enqueuer,
	}
	if err := reconciler.SetupWithManager(keySource.Gate(mgr)); err != nil {
		return fmt.Errorf("set up the controller: %w", err)
	}
	if err := metrics.RegisterBindings(ctrlmetrics.Registry, reconciler.Led(mgr.Elected())); err != nil {
		return fmt.Errorf("set up the gauges of bindings: %w", err)
	}
	return nil
}
