package apiserver

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	clientrest "k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
)

// SecretName is the name of the Secret that holds the certificate authority and the serving certificate.
const SecretName = "queuebinding-apiserver-tls"

// Keys of the Secret.
const (
	caBundleKey     = "ca.crt"
	caPrivateKeyKey = "ca.key"
)

// apiServiceName is the name of the APIService, which the API machinery prescribes.
var apiServiceName = subresources.GroupVersion.Version + "." + subresources.GroupVersion.Group

var registrationScheme = runtime.NewScheme()

func init() {
	utilruntime.Must(corev1.AddToScheme(registrationScheme))
	utilruntime.Must(apiregistrationv1.AddToScheme(registrationScheme))
}

// certificateSource serves the certificate that the Secret holds, on every replica. It implements
// dynamiccertificates.CertKeyContentProvider.
type certificateSource struct {
	// cache watches this one Secret, the one APIService and the process's own Namespace. It is apart from the manager's, which must
	// not be narrowed to them.
	cache cache.Cache

	// loaded is closed once there is a certificate.
	loaded   chan struct{}
	loadOnce sync.Once

	mu        sync.RWMutex
	cert, key []byte
	listeners []dynamiccertificates.Listener
}

var _ dynamiccertificates.CertKeyContentProvider = &certificateSource{}

func newCertificateSource(config *clientrest.Config, namespace string) (*certificateSource, error) {
	narrow, err := cache.New(config, cache.Options{
		Scheme: registrationScheme,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Namespaces: map[string]cache.Config{
				namespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", SecretName)},
			}},
			&apiregistrationv1.APIService{}: {Field: fields.OneTermEqualSelector("metadata.name", apiServiceName)},
			&corev1.Namespace{}:             {Field: fields.OneTermEqualSelector("metadata.name", namespace)},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("set up the watch of the certificate: %w", err)
	}
	return &certificateSource{cache: narrow, loaded: make(chan struct{})}, nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*certificateSource) NeedLeaderElection() bool { return false }

// Start watches the Secret until the context ends. It implements manager.Runnable.
func (s *certificateSource) Start(ctx context.Context) error {
	informer, err := s.cache.GetInformer(ctx, &corev1.Secret{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch Secret %s: %w", SecretName, err)
	}
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    s.load,
		UpdateFunc: func(_, object any) { s.load(object) },
		// A deleted Secret is created again; until then the certificate that is known still serves.
	}); err != nil {
		return fmt.Errorf("watch Secret %s: %w", SecretName, err)
	}
	return s.cache.Start(ctx)
}

// load takes the certificate of a Secret into use.
func (s *certificateSource) load(object any) {
	secret, ok := object.(*corev1.Secret)
	if !ok {
		return
	}
	cert, key := secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey]
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		ctrl.Log.WithName("apiserver").Error(err, "Ignored a certificate that cannot be used", "secret", SecretName)
		return
	}
	s.mu.Lock()
	s.cert, s.key = cert, key
	listeners := s.listeners
	s.mu.Unlock()
	s.loadOnce.Do(func() { close(s.loaded) })
	for _, listener := range listeners {
		listener.Enqueue()
	}
}

// waitLoaded waits until there is a certificate.
func (s *certificateSource) waitLoaded(ctx context.Context) error {
	select {
	case <-s.loaded:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Name implements dynamiccertificates.CertKeyContentProvider.
func (s *certificateSource) Name() string { return SecretName }

// CurrentCertKeyContent implements dynamiccertificates.CertKeyContentProvider.
func (s *certificateSource) CurrentCertKeyContent() (cert, key []byte) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.cert, s.key
}

// AddListener implements dynamiccertificates.CertKeyContentProvider.
func (s *certificateSource) AddListener(listener dynamiccertificates.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners = append(s.listeners, listener)
}
