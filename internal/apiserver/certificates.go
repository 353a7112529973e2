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
	keyBundle       = "ca.crt"
	keyAuthorityKey = "ca.key"
)

// serviceName is the name of the APIService, which the API machinery prescribes.
var serviceName = subresources.GroupVersion.Version + "." + subresources.GroupVersion.Group

var certificateScheme = runtime.NewScheme()

func init() {
	utilruntime.Must(corev1.AddToScheme(certificateScheme))
	utilruntime.Must(apiregistrationv1.AddToScheme(certificateScheme))
}

// certificates follow the Secret, on every replica. They implement dynamiccertificates.CertKeyContentProvider.
type certificates struct {
	// cache watches this one Secret and the one APIService. It is apart from the manager's, which must not be narrowed to
	// them.
	cache cache.Cache
	first chan struct{}

	mu        sync.RWMutex
	once      sync.Once
	cert, key []byte
	listeners []dynamiccertificates.Listener
}

var _ dynamiccertificates.CertKeyContentProvider = &certificates{}

func newCertificates(config *clientrest.Config, namespace string) (*certificates, error) {
	narrow, err := cache.New(config, cache.Options{
		Scheme: certificateScheme,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Namespaces: map[string]cache.Config{
				namespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", SecretName)},
			}},
			&apiregistrationv1.APIService{}: {Field: fields.OneTermEqualSelector("metadata.name", serviceName)},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("set up the watch of the certificate: %w", err)
	}
	return &certificates{cache: narrow, first: make(chan struct{})}, nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*certificates) NeedLeaderElection() bool { return false }

// Start follows the Secret until the context ends. It implements manager.Runnable.
func (c *certificates) Start(ctx context.Context) error {
	informer, err := c.cache.GetInformer(ctx, &corev1.Secret{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch Secret %s: %w", SecretName, err)
	}
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    c.take,
		UpdateFunc: func(_, object any) { c.take(object) },
		// A deleted Secret is made anew; until then the certificate that is known still serves.
	}); err != nil {
		return fmt.Errorf("watch Secret %s: %w", SecretName, err)
	}
	return c.cache.Start(ctx)
}

func (c *certificates) take(object any) {
	secret, ok := object.(*corev1.Secret)
	if !ok {
		return
	}
	cert, key := secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey]
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		ctrl.Log.WithName("apiserver").Error(err, "Left a certificate aside that cannot be used", "secret", SecretName)
		return
	}
	c.mu.Lock()
	c.cert, c.key = cert, key
	listeners := c.listeners
	c.mu.Unlock()
	c.once.Do(func() { close(c.first) })
	for _, listener := range listeners {
		listener.Enqueue()
	}
}

// await waits until there is a certificate.
func (c *certificates) await(ctx context.Context) error {
	select {
	case <-c.first:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// present is whether there is a certificate.
func (c *certificates) present() bool {
	select {
	case <-c.first:
		return true
	default:
		return false
	}
}

// Name implements dynamiccertificates.CertKeyContentProvider.
func (c *certificates) Name() string { return SecretName }

// CurrentCertKeyContent implements dynamiccertificates.CertKeyContentProvider.
func (c *certificates) CurrentCertKeyContent() (cert, key []byte) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.cert, c.key
}

// AddListener implements dynamiccertificates.CertKeyContentProvider.
func (c *certificates) AddListener(listener dynamiccertificates.Listener) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, listener)
}
