package apiserver

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/kubernetes"
)

// reviewTTL is how long a review is cached: a right that is taken away is gone after this time.
const reviewTTL = 10 * time.Second

// reviewBackoff is how a review is tried again.
var reviewBackoff = wait.Backoff{Steps: 5, Duration: 500 * time.Millisecond, Factor: 1.5, Jitter: 0.2}

// authenticationConfig is the ConfigMap in which the cluster's API server publishes how it forwards requests.
const authenticationConfig = "extension-apiserver-authentication"

// delegateAuthentication makes the cluster's API server decide who callers are: it forwards requests with the caller's name in
// headers and a certificate of its own, and reviews the tokens of those who come directly. The library's options for this
// read a kubeconfig file or know that they are in a cluster; this takes the client that the operator has. The context ends
// the watch of the headers' names.
func delegateAuthentication(ctx context.Context, config *genericapiserver.Config, client kubernetes.Interface) error {
	clientCA, err := publishedCA(config, client, "client-ca", "client-ca-file")
	if err != nil {
		return err
	}
	proxyCA, err := publishedCA(config, client, "request-header", "requestheader-client-ca-file")
	if err != nil {
		return err
	}
	headers := headerrequest.NewRequestHeaderAuthRequestController(authenticationConfig, metav1.NamespaceSystem, client,
		"requestheader-username-headers", "requestheader-uid-headers", "requestheader-group-headers",
		"requestheader-extra-headers-prefix", "requestheader-allowed-names")
	config.Authentication.RequestHeaderConfig = &authenticatorfactory.RequestHeaderConfig{
		CAContentProvider:   proxyCA,
		UsernameHeaders:     headerrequest.StringSliceProviderFunc(headers.UsernameHeaders),
		UIDHeaders:          headerrequest.StringSliceProviderFunc(headers.UIDHeaders),
		GroupHeaders:        headerrequest.StringSliceProviderFunc(headers.GroupHeaders),
		ExtraHeaderPrefixes: headerrequest.StringSliceProviderFunc(headers.ExtraHeaderPrefixes),
		AllowedClientNames:  headerrequest.StringSliceProviderFunc(headers.AllowedClientNames),
	}
	config.Authentication.Authenticator, _, err = authenticatorfactory.DelegatingAuthenticatorConfig{
		Anonymous:                          &apiserver.AnonymousAuthConfig{Enabled: true}, // for the probes of the API server; nobody gives anonymous more
		TokenAccessReviewClient:            client.AuthenticationV1(),
		TokenAccessReviewTimeout:           reviewTimeout,
		WebhookRetryBackoff:                &reviewBackoff,
		CacheTTL:                           reviewTTL,
		ClientCertificateCAContentProvider: clientCA,
		RequestHeaderConfig:                config.Authentication.RequestHeaderConfig,
	}.New()
	if err != nil {
		return fmt.Errorf("authentication: %w", err)
	}
	go headers.Run(ctx, 1) // the server runs the controllers of the certificates, and not this one
	return nil
}

// publishedCA returns an authority that the cluster's API server publishes, and has the server accept its certificates.
func publishedCA(config *genericapiserver.Config, client kubernetes.Interface, purpose, key string) (*dynamiccertificates.ConfigMapCAController, error) {
	ca, err := dynamiccertificates.NewDynamicCAFromConfigMapController(purpose, metav1.NamespaceSystem, authenticationConfig, key, client)
	if err != nil {
		return nil, fmt.Errorf("certificate authority %s: %w", key, err)
	}
	if err := config.Authentication.ApplyClientCert(ca, config.SecureServing); err != nil {
		return nil, fmt.Errorf("certificate authority %s: %w", key, err)
	}
	return ca, nil
}
