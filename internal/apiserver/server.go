// Package apiserver serves the subresources of bindings as an aggregated API, behind the cluster's own API server. It
// promises that whoever may `create` on queuebindings/requeue needs no other right to have failed Jobs requeued, that
// requests at the same time are all kept, and that a caller who is not known or not allowed never gets as far as our
// code. It only ever writes down what is asked for; the operator does it. It runs in a process of its own, on every replica of that,
// keeps no store, bounds what it does at a time, and leaves it to the flow control of the API server in front to be fair.
//
// Admission does not run for a Requeue: an API server runs it for what it stores itself, not for what it forwards. To run it
// here would take the rights to read all webhooks, policies, their parameters and all namespaces. What a Requeue leads to is a
// patch of the binding's annotation, in the operator's name, and that passes the cluster's admission as any other.
package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"

	"golang.org/x/net/netutil"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/client-go/kubernetes"
	clientrest "k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/keymutex"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
	definitions "github.com/queuebinding/queuebinding/internal/apiserver/openapi"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/requeue"
)

// Options are how to serve.
type Options struct {
	// BindAddress is the address to listen at, such as ":6443".
	BindAddress string
	// Namespace holds the Secret with the certificate.
	Namespace string
	// Namespaces are those whose bindings are served, none for all.
	Namespaces []string
	// RegisterLocally registers this process, which runs outside the cluster, with an API server on the same machine. The
	// registration is removed when the manager stops.
	RegisterLocally bool
}

// Watches returns what is watched in the namespaces of bindings.
func Watches() []schema.GroupResource {
	return []schema.GroupResource{batchv1.SchemeGroupVersion.WithResource("jobs").GroupResource()}
}

// SetupWithManager adds the aggregated API to a manager, and the controller that rotates its certificate.
func SetupWithManager(mgr ctrl.Manager, recorder *events.Recorder, options Options) error {
	listener, err := net.Listen("tcp", options.BindAddress)
	if err != nil {
		return fmt.Errorf("listen for the aggregated API: %w", err)
	}
	certificates, err := setupCertificates(mgr, options.Namespace)
	if err != nil {
		return err
	}
	clientset, err := kubernetes.NewForConfig(mgr.GetConfig())
	if err != nil {
		return fmt.Errorf("client for the aggregated API: %w", err)
	}
	proxy, err := newFrontProxy(clientset)
	if err != nil {
		return err
	}
	server := &server{
		clientset:    clientset,
		frontProxy:   proxy,
		listener:     listener,
		certificates: certificates,
		waitForJobs: func(ctx context.Context) error {
			_, err := mgr.GetCache().GetInformer(ctx, &batchv1.Job{})
			return err
		},
		requeue: &requeueREST{
			intents:  &requeue.IntentStore{Reader: mgr.GetAPIReader(), Writer: mgr.GetClient()},
			resolver: &requeue.Resolver{Jobs: mgr.GetCache(), Live: mgr.GetAPIReader()},
			recorder: recorder,
			within:   options.Namespaces,
			locks:    keymutex.NewHashed(bindingLocks),
		},
	}
	if err := mgr.Add(server); err != nil {
		return fmt.Errorf("add the aggregated API: %w", err)
	}
	if err := mgr.AddReadyzCheck("apiserver", server.checkReady); err != nil {
		return fmt.Errorf("add the readiness check of the aggregated API: %w", err)
	}
	if !options.RegisterLocally {
		return nil
	}
	registration := &registration{namespace: options.Namespace, port: listener.Addr().(*net.TCPAddr).Port}
	if registration.client, err = newRegistrationClient(mgr); err != nil {
		return err
	}
	if err := mgr.Add(registration); err != nil {
		return fmt.Errorf("register the aggregated API: %w", err)
	}
	return nil
}

// setupCertificates adds to a manager what rotates the certificate and what loads it.
func setupCertificates(mgr ctrl.Manager, namespace string) (*certificateSource, error) {
	source, err := newCertificateSource(mgr.GetConfig(), namespace)
	if err != nil {
		return nil, err
	}
	if err := mgr.Add(source); err != nil {
		return nil, fmt.Errorf("watch the certificate: %w", err)
	}
	reconciler := &certificateReconciler{cache: source.cache, namespace: namespace, clock: clock.RealClock{}}
	if reconciler.client, err = newRegistrationClient(mgr); err != nil {
		return nil, err
	}
	if err := reconciler.setupWithManager(mgr); err != nil {
		return nil, fmt.Errorf("set up the rotation of the certificate: %w", err)
	}
	return source, nil
}

// newRegistrationClient returns a client for the APIService, the Service and the Secret, which are not in the manager's
// scheme.
func newRegistrationClient(mgr ctrl.Manager) (client.Client, error) {
	c, err := client.New(mgr.GetConfig(), client.Options{Scheme: registrationScheme})
	if err != nil {
		return nil, fmt.Errorf("client for the registration of the aggregated API: %w", err)
	}
	return c, nil
}

// server is the aggregated API on one replica.
type server struct {
	clientset    kubernetes.Interface
	frontProxy   *frontProxy
	listener     net.Listener
	certificates *certificateSource
	// waitForJobs waits until the cache has the Jobs: the first request would else wait for that.
	waitForJobs func(context.Context) error
	requeue     *requeueREST
	serving     atomic.Bool
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*server) NeedLeaderElection() bool { return false }

// Start serves until the context ends. It implements manager.Runnable.
func (s *server) Start(ctx context.Context) error {
	defer s.listener.Close()
	if err := s.waitForJobs(ctx); err != nil {
		return ignoreCanceled(ctx, fmt.Errorf("watch Jobs: %w", err))
	}
	if err := s.certificates.waitLoaded(ctx); err != nil {
		return ignoreCanceled(ctx, err)
	}
	generic, err := s.build()
	if err != nil {
		return fmt.Errorf("set up the aggregated API: %w", err)
	}
	ctrl.Log.WithName("apiserver").Info("Started serving the aggregated API", "address", s.listener.Addr().String())
	s.serving.Store(true)
	defer s.serving.Store(false)
	return generic.PrepareRun().RunWithContext(ctx)
}

// checkReady fails while nothing is served, or what is forwarded would be refused.
func (s *server) checkReady(request *http.Request) error {
	if !s.serving.Load() {
		return errors.New("the aggregated API is not served yet: there is no certificate, or no APIService " + apiServiceName + " to make one for")
	}
	return s.frontProxy.checkKnown(request)
}

func (s *server) build() (*genericapiserver.GenericAPIServer, error) {
	config := genericapiserver.NewConfig(codecs)
	config.EffectiveVersion = compatibility.DefaultBuildEffectiveVersion()
	config.RequestTimeout = requestTimeout
	config.MaxRequestBodyBytes = maxRequestBodyBytes
	config.MaxRequestsInFlight, config.MaxMutatingRequestsInFlight = maxReadingRequests, maxMutatingRequests
	config.EnableProfiling, config.EnableMetrics = false, false
	config.LoopbackClientConfig = &clientrest.Config{Host: s.listener.Addr().String()} // required, and used by nothing here
	config.SecureServing = &genericapiserver.SecureServingInfo{Listener: netutil.LimitListener(s.listener, maxConnections), Cert: s.certificates}
	namer := openapi.NewDefinitionNamer(scheme)
	config.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(definitions.Definitions, namer)
	config.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(definitions.Definitions, namer)
	config.OpenAPIConfig.Info.Title, config.OpenAPIV3Config.Info.Title = "QueueBinding", "QueueBinding"
	if err := authenticate(config, s.frontProxy); err != nil {
		return nil, err
	}
	if err := authorize(config, s.clientset); err != nil {
		return nil, err
	}

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

// ignoreCanceled returns the error, or nil if the context has ended, as it does when the manager stops.
func ignoreCanceled(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the error is only that
	}
	return err
}
