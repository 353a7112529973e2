// Package apiserver serves the subresources of bindings as an aggregated API, behind the cluster's own API server. It
// promises that whoever may `create` on queuebindings/requeue needs no other right to have failed Jobs requeued, that
// requests at the same time are all kept, and that a caller who is not known or not allowed never gets as far as our
// code. It only ever writes down what is asked for; the leader does it. It runs on every replica, keeps no store, and
// has no admission and no flow control of its own: the API server in front has both.
package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/client-go/kubernetes"
	clientrest "k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
	definitions "github.com/queuebinding/queuebinding/internal/apiserver/openapi"
	"github.com/queuebinding/queuebinding/internal/events"
)

const (
	// requestTimeout is how long a request may take. The operator ends within 45 s, so this must be less.
	requestTimeout = 30 * time.Second
	// maxBodyBytes bounds a request's body: a thousand names of the greatest length are a quarter of this.
	maxBodyBytes = 1 << 20
)

// Options say how to serve.
type Options struct {
	// BindAddress is what to listen at, such as ":6443".
	BindAddress string
	// Namespace holds the Secret with the certificate.
	Namespace string
	// RegisterLocally leads the cluster's API server to this process, which runs outside the cluster on the same machine.
	// It is undone when the manager stops.
	RegisterLocally bool
}

// SetupWithManager adds the aggregated API to a manager, and what keeps its certificate.
func SetupWithManager(mgr ctrl.Manager, recorder *events.Recorder, options Options) error {
	listener, err := net.Listen("tcp", options.BindAddress)
	if err != nil {
		return fmt.Errorf("listen for the aggregated API: %w", err)
	}
	certificates, err := newCertificates(mgr.GetConfig(), options.Namespace)
	if err != nil {
		return err
	}
	server := &server{
		config:       mgr.GetConfig(),
		listener:     listener,
		certificates: certificates,
		jobs: func(ctx context.Context) error {
			// Before the first request, which would else wait for it.
			_, err := mgr.GetCache().GetInformer(ctx, &batchv1.Job{})
			return err
		},
		requeue: &requeueREST{
			live: mgr.GetAPIReader(), cache: mgr.GetCache(), writer: mgr.GetClient(), recorder: recorder, turns: newTurns(),
		},
	}
	if err := mgr.Add(certificates); err != nil {
		return fmt.Errorf("watch the certificate: %w", err)
	}
	if err := mgr.Add(server); err != nil {
		return fmt.Errorf("add the aggregated API: %w", err)
	}
	keeper := &keeper{cache: certificates.cache, namespace: options.Namespace, clock: clock.RealClock{}}
	if keeper.client, err = client.New(mgr.GetConfig(), client.Options{Scheme: certificateScheme}); err != nil {
		return fmt.Errorf("client for the certificate: %w", err)
	}
	if err := keeper.setupWithManager(mgr); err != nil {
		return fmt.Errorf("keep the certificate: %w", err)
	}
	if err := mgr.AddReadyzCheck("apiserver", server.ready); err != nil {
		return fmt.Errorf("add the check of the aggregated API: %w", err)
	}
	if options.RegisterLocally {
		registration := &registration{client: keeper.client, namespace: options.Namespace, port: listener.Addr().(*net.TCPAddr).Port}
		if err := mgr.Add(registration); err != nil {
			return fmt.Errorf("register the aggregated API: %w", err)
		}
	}
	return nil
}

// server is the aggregated API on one replica.
type server struct {
	config       *clientrest.Config
	listener     net.Listener
	certificates *certificates
	jobs         func(context.Context) error
	requeue      *requeueREST
	serving      atomic.Bool
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*server) NeedLeaderElection() bool { return false }

// Start serves until the context ends. It implements manager.Runnable.
func (s *server) Start(ctx context.Context) error {
	defer s.listener.Close()
	if err := s.jobs(ctx); err != nil {
		return ignoreEnd(ctx, fmt.Errorf("watch Jobs: %w", err))
	}
	if err := s.certificates.await(ctx); err != nil {
		return ignoreEnd(ctx, err)
	}
	generic, err := s.build(ctx)
	if err != nil {
		return fmt.Errorf("build the aggregated API: %w", err)
	}
	ctrl.Log.WithName("apiserver").Info("Served the aggregated API", "address", s.listener.Addr().String())
	s.serving.Store(true)
	defer s.serving.Store(false)
	return generic.PrepareRun().RunWithContext(ctx)
}

// ready fails where there is a certificate and it is not served yet. Without one the replica counts as ready: who leads
// makes the certificate, and in an update from a version without this API the leader may be of that version until the
// last of its replicas goes, which waits for new ones to become ready.
func (s *server) ready(*http.Request) error {
	if s.certificates.present() && !s.serving.Load() {
		return errors.New("the aggregated API is not served yet")
	}
	return nil
}

func (s *server) build(ctx context.Context) (*genericapiserver.GenericAPIServer, error) {
	clientset, err := kubernetes.NewForConfig(s.config)
	if err != nil {
		return nil, err
	}
	config := genericapiserver.NewConfig(codecs)
	config.EffectiveVersion = compatibility.DefaultBuildEffectiveVersion()
	config.RequestTimeout = requestTimeout
	config.MaxRequestBodyBytes = maxBodyBytes
	config.MaxRequestsInFlight, config.MaxMutatingRequestsInFlight = 0, 0 // the API server in front shares itself out
	config.EnableProfiling, config.EnableMetrics = false, false
	config.LoopbackClientConfig = &clientrest.Config{Host: s.listener.Addr().String()} // required, and used by nothing here
	config.SecureServing = &genericapiserver.SecureServingInfo{Listener: s.listener, Cert: s.certificates}
	namer := openapi.NewDefinitionNamer(scheme)
	config.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(definitions.Definitions, namer)
	config.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(definitions.Definitions, namer)
	config.OpenAPIConfig.Info.Title, config.OpenAPIV3Config.Info.Title = "QueueBinding", "QueueBinding"
	start, err := delegate(config, clientset)
	if err != nil {
		return nil, err
	}
	start(ctx)

	generic, err := config.Complete(nil).New("queuebinding", genericapiserver.NewEmptyDelegate())
	if err != nil {
		return nil, err
	}
	group := genericapiserver.NewDefaultAPIGroupInfo(subresources.GroupVersion.Group, scheme, metav1.ParameterCodec, codecs)
	group.VersionedResourcesStorageMap[subresources.GroupVersion.Version] = map[string]rest.Storage{
		"queuebindings":         bindingREST{},
		"queuebindings/requeue": s.requeue,
	}
	return generic, generic.InstallAPIGroup(&group)
}

// ignoreEnd is the error, unless the reason is that the manager stops.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the error is only that
	}
	return err
}
