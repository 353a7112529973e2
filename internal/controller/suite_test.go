// Package controller_test runs the operator's parts in this process against a real API server and a queue in memory, in
// seconds. There are no controllers and no nodes: Jobs run and end as a test says. What SQS decides is tested in
// test/operator, with an emulator.
package controller_test

import (
	"context"
	"crypto"
	"os"
	"path/filepath"
	goruntime "runtime"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/klog/v2"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/apiserver"
	"github.com/queuebinding/queuebinding/internal/controller"
	"github.com/queuebinding/queuebinding/internal/creator"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/intake"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/metrics"
	"github.com/queuebinding/queuebinding/internal/queue/sqs"
	"github.com/queuebinding/queuebinding/internal/requeue"
)

// system is the namespace of the subresource's certificate.
const system = "queuebinding-system"

var (
	environment *envtest.Environment
	k8s         client.Client
	clientset   *kubernetes.Clientset
	queues      = newMemoryQueues()
)

func TestOperator(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(30 * time.Second) // patience for a busy machine; nothing asserts a speed
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	SetDefaultConsistentlyDuration(500 * time.Millisecond)
	RunSpecs(t, "The operator on an API server alone")
}

var _ = BeforeSuite(func() {
	logger := zap.New(zap.WriteTo(GinkgoWriter), zap.UseDevMode(true))
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)

	environment = &envtest.Environment{
		BinaryAssetsDirectory: programs(),
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
	}
	allowAggregation(environment.ControlPlane.GetAPIServer())
	config, err := environment.Start()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(environment.Stop)

	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, apiregistrationv1.AddToScheme} {
		Expect(add(scheme)).To(Succeed())
	}
	k8s, err = client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	clientset, err = kubernetes.NewForConfig(config)
	Expect(err).NotTo(HaveOccurred())
	Expect(k8s.Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: system}})).To(Succeed())
	startOperator(config, scheme)
})

// programs returns the folder of etcd and kube-apiserver, empty where KUBEBUILDER_ASSETS tells it.
func programs() string {
	GinkgoHelper()
	if os.Getenv("KUBEBUILDER_ASSETS") != "" {
		return ""
	}
	found, err := filepath.Glob(filepath.Join("..", "..", "bin", "k8s", "*-"+goruntime.GOOS+"-"+goruntime.GOARCH, "kube-apiserver"))
	Expect(err).NotTo(HaveOccurred())
	if len(found) == 0 {
		Fail(`There is no kube-apiserver to test with. In the root of the repository, build one (which takes long the first time):

    make bin/devenvctl && bin/devenvctl build --node=simulated

or download one:

    go run sigs.k8s.io/controller-runtime/tools/setup-envtest@release-0.25 use --bin-dir bin

or set KUBEBUILDER_ASSETS to the folder of one.`)
	}
	return filepath.Dir(found[len(found)-1])
}

// allowAggregation lets the API server hand requests on to the operator, which envtest leaves out.
func allowAggregation(server *envtest.APIServer) {
	GinkgoHelper()
	keyPEM, err := keyutil.MakeEllipticPrivateKeyPEM()
	Expect(err).NotTo(HaveOccurred())
	key, err := keyutil.ParsePrivateKeyPEM(keyPEM)
	Expect(err).NotTo(HaveOccurred())
	const name = "front-proxy"
	// It is its own authority.
	certificate, err := cert.NewSelfSignedCACert(cert.Config{CommonName: name}, key.(crypto.Signer))
	Expect(err).NotTo(HaveOccurred())
	certPEM, err := cert.EncodeCertificates(certificate)
	Expect(err).NotTo(HaveOccurred())
	dir := GinkgoT().TempDir()
	certFile, keyFile := filepath.Join(dir, "front-proxy.crt"), filepath.Join(dir, "front-proxy.key")
	Expect(os.WriteFile(certFile, certPEM, 0o600)).To(Succeed())
	Expect(os.WriteFile(keyFile, keyPEM, 0o600)).To(Succeed())
	server.Configure().
		Set("requestheader-client-ca-file", certFile).
		Set("requestheader-allowed-names", name).
		Set("requestheader-username-headers", "X-Remote-User").
		Set("requestheader-group-headers", "X-Remote-Group").
		Set("requestheader-extra-headers-prefix", "X-Remote-Extra-").
		Set("proxy-client-cert-file", certFile).
		Set("proxy-client-key-file", keyFile)
}

// another labels the bindings that the suite's operator leaves to another one, which a spec starts.
const another = "another-operator"

// newManager makes a manager with a cache as cmd/main.go has it.
func newManager(config *rest.Config, scheme *runtime.Scheme, options ctrl.Options) ctrl.Manager {
	GinkgoHelper()
	owned, err := labels.Parse(v1alpha1.LabelBinding)
	Expect(err).NotTo(HaveOccurred())
	options.Scheme = scheme
	options.Metrics = metricsserver.Options{BindAddress: "0"}
	options.Cache = cache.Options{ByObject: map[client.Object]cache.ByObject{&batchv1.Job{}: {Label: owned, Transform: job.Trim}}}
	mgr, err := ctrl.NewManager(config, options)
	Expect(err).NotTo(HaveOccurred())
	return mgr
}

// startOperator runs the manager with all that cmd/main.go adds to it, until the suite ends.
func startOperator(config *rest.Config, scheme *runtime.Scheme) {
	GinkgoHelper()
	mgr := newManager(config, scheme, ctrl.Options{})
	recorder := events.NewRecorder(mgr.GetEventRecorder("queuebinding"))
	ours, err := labels.Parse("!" + another)
	Expect(err).NotTo(HaveOccurred())
	Expect(addController(mgr, recorder, prometheus.NewRegistry(), ours)).To(Succeed())
	Expect(apiserver.SetupWithManager(mgr, recorder, apiserver.Options{
		BindAddress: "127.0.0.1:0", Namespace: system, RegisterLocally: true,
	})).To(Succeed())

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	DeferCleanup(func() {
		stop()
		Eventually(ended).Should(Receive(BeNil()))
	})
}

// keys sign lineages.
func keys() job.Keys { return job.Keys{Current: []byte("0123456789abcdef0123456789abcdef")} }

// addController wires reconciler and intake together as cmd/main.go does, with queues in memory.
func addController(mgr ctrl.Manager, recorder *events.Recorder, measured *prometheus.Registry, selector labels.Selector) error {
	ledgers := ledger.NewSet(clock.RealClock{})
	counters := metrics.New(measured)
	enqueuer := &controller.Enqueuer{}
	registry := intake.NewRegistry(&intake.Dependencies{
		Client:   mgr.GetClient(),
		Reader:   mgr.GetAPIReader(),
		Recorder: recorder,
		Ledgers:  ledgers,
		Metrics:  counters,
		Clock:    clock.RealClock{},
		Limiter:  creator.NewLimiter(32),
		Memory:   intake.NewMemory(),
		Keys:     keys,
	}, queues, ctrl.Log.WithName("intake"), enqueuer.Enqueue)
	if err := mgr.Add(registry); err != nil {
		return err
	}
	reconciler := &controller.Reconciler{
		Client:   mgr.GetClient(),
		Reader:   mgr.GetAPIReader(),
		Recorder: recorder,
		Registry: registry,
		Ledgers:  ledgers,
		Executor: &requeue.Executor{Reader: mgr.GetAPIReader(), Client: mgr.GetClient(), Clock: clock.RealClock{}, Keys: keys},
		Metrics:  counters,
		Clock:    clock.RealClock{},
		Selector: selector,
		Enqueuer: enqueuer,
		Tenancy:  &controller.Tenancy{ARN: sqs.NewOpener().ARN},
	}
	if err := reconciler.SetupWithManager(mgr); err != nil {
		return err
	}
	return metrics.RegisterGauges(measured, mgr.Elected(), reconciler.States)
}
