// Package manager makes the controller-runtime managers of this project's processes: what they have in common of flags, caches and
// servers. It knows nothing of what they manage.
package manager

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // so that KUBECONFIG may name any of kubectl's ways to log in
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/metrics"
	"github.com/queuebinding/queuebinding/internal/version"
)

var scheme = runtime.NewScheme()

func init() {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
}

// Flags are the flags that all processes have.
type Flags struct {
	// Program is what the process is called where it says which build it is, in its User-Agent too.
	Program string
	// Namespace is the process's own: it holds its Lease and its Secrets.
	Namespace string
	// Namespaces are those that the process works in, none for all. New finds out about them.
	Namespaces []string

	// namespaces are those to work in, as they were given; nil for all.
	namespaces     *string
	metricsAddress string
	metricsSecure  bool
	probeAddress   string
	leaderElect    bool
	logging        zap.Options
	version        bool
}

// Bind adds the flags to a set.
func (f *Flags) Bind(set *flag.FlagSet) {
	set.StringVar(&f.metricsAddress, "metrics-bind-address", "0", "Address that metrics are served at, such as :8443. 0 turns them off.")
	set.BoolVar(&f.metricsSecure, "metrics-secure", true, "Serve metrics by HTTPS, to those whom the API server lets read them.")
	set.StringVar(&f.probeAddress, "health-probe-bind-address", ":8081", "Address that /healthz and /readyz are served at. 0 turns them off.")
	set.BoolVar(&f.leaderElect, "leader-elect", false, "Work only while holding a Lease, so that several replicas can run.")
	set.Func("namespaces", "The namespaces to work in, separated by commas, where Roles allow it; see docs/namespaced.md. Default: all.", func(list string) error {
		f.namespaces = &list
		return nil
	})
	set.StringVar(&f.Namespace, "namespace", ownNamespace(), "The process's own namespace, which holds its Lease and its Secrets.")
	set.BoolVar(&f.version, "version", false, "Print which build this is, and exit.")
	f.logging.BindFlags(set)
}

// PrintVersion prints which build this is if the flags ask for it, and reports whether they do.
func (f *Flags) PrintVersion(out io.Writer) bool {
	if f.version {
		fmt.Fprintln(out, f.Program, version.Get())
	}
	return f.version
}

// New makes a manager whose cache holds the Jobs of bindings, trimmed, of the namespaces to work in. watches are what the process
// watches there; change may change the manager's options.
func (f *Flags) New(ctx context.Context, leaseName string, watches []schema.GroupResource, change func(*ctrl.Options)) (ctrl.Manager, error) {
	config, err := f.clientConfig()
	if err != nil {
		return nil, err
	}
	within, err := newNamespaces(f.namespaces, watches, config)
	if err != nil {
		return nil, err
	}
	if f.Namespaces, err = within.admit(ctx); err != nil {
		return nil, err
	}
	owned, err := labels.NewRequirement(v1alpha1.LabelBinding, selection.Exists, nil)
	if err != nil {
		return nil, fmt.Errorf("selector of Jobs: %w", err)
	}
	options := ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       f.metricsServer(),
		HealthProbeBindAddress:        f.probeAddress,
		LeaderElection:                f.leaderElect,
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       f.Namespace,
		LeaderElectionReleaseOnCancel: true, // the process ends with the manager, so that nobody works on without the Lease
		Cache: cache.Options{
			ByObject: map[client.Object]cache.ByObject{
				&batchv1.Job{}: {Label: labels.NewSelector().Add(*owned), Transform: job.Trim},
			},
			DefaultNamespaces: cached(f.Namespaces),
			DefaultTransform:  cache.TransformStripManagedFields(),
		},
	}
	if change != nil {
		change(&options)
	}
	if err := metrics.RegisterBuild(ctrlmetrics.Registry); err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(config, options)
	if err != nil {
		return nil, fmt.Errorf("set up the manager: %w", err)
	}
	if err := mgr.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		return nil, fmt.Errorf("set up /healthz: %w", err)
	}
	if err := errors.Join(mgr.AddReadyzCheck("caches", cachesSynced(mgr.GetCache())), mgr.AddReadyzCheck("namespaces", within.checkReady)); err != nil {
		return nil, fmt.Errorf("set up /readyz: %w", err)
	}
	if len(f.Namespaces) == 0 {
		return mgr, nil
	}
	if err := mgr.Add(within); err != nil {
		return nil, fmt.Errorf("look at the namespaces again and again: %w", err)
	}
	return mgr, nil
}

// clientConfig returns how to reach the API server.
func (f *Flags) clientConfig() (*rest.Config, error) {
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	config.UserAgent = version.UserAgent(f.Program)
	// API Priority and Fairness shares out the API server; a limit of the client's own would only be slower.
	config.QPS = -1
	// Since Kubernetes 1.37 a watch that began with a list is compressed event by event, at both ends' expense: see docs/performance.md.
	config.DisableCompression = true
	// Webhooks and policies may warn of an object with words that quote it, and what is created holds messages: such a warning must
	// not be logged.
	config.WarningHandlerWithContext = rest.NoWarnings{}
	return config, nil
}

// metricsServer returns how metrics are served. OpenMetrics, to those who ask for it, has exemplars, which the older text has not.
func (f *Flags) metricsServer() metricsserver.Options {
	options := metricsserver.Options{
		BindAddress: f.metricsAddress, SecureServing: f.metricsSecure,
		HandlerOpts: []func(*promhttp.HandlerOpts){func(o *promhttp.HandlerOpts) { o.EnableOpenMetrics = true }},
	}
	if f.metricsSecure {
		options.FilterProvider = filters.WithAuthenticationAndAuthorization
		options.TLSOpts = []func(*tls.Config){func(c *tls.Config) { c.MinVersion = tls.VersionTLS12 }}
	}
	return options
}

// syncPatience is how long a probe waits for the caches: a kubelet waits for a second.
const syncPatience = 500 * time.Millisecond

// cachesSynced fails until the caches that are in use have been filled: on a standby those are none.
func cachesSynced(caches cache.Cache) healthz.Checker {
	return func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), syncPatience)
		defer cancel()
		if !caches.WaitForCacheSync(ctx) {
			return errors.New("the caches are not filled yet")
		}
		return nil
	}
}

// ownNamespace is the namespace of the Pod, or "default" outside a cluster.
func ownNamespace() string {
	name, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return metav1.NamespaceDefault
	}
	return strings.TrimSpace(string(name))
}
