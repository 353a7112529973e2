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
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/authorization/path"
	"k8s.io/apiserver/pkg/authorization/union"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/kubernetes"
)

const (
	// reviewTimeout is how long the cluster's API server may take to say who somebody is or what they may do.
	reviewTimeout = 10 * time.Second
	// reviewTTL is how long its word counts: a right that is taken away is gone after this time.
	reviewTTL = 10 * time.Second
)

// reviewBackoff is how a review is tried again.
var reviewBackoff = wait.Backoff{Steps: 5, Duration: 500 * time.Millisecond, Factor: 1.5, Jitter: 0.2}

// authenticationConfig is the ConfigMap in which the cluster's API server publishes how it hands requests on.
const authenticationConfig = "extension-apiserver-authentication"

// delegate has the cluster's API server decide who callers are and what they may do: it hands on requests with the
// caller's name in headers and a certificate of its own, and reviews those who come directly. The library's options for
// this read a kubeconfig file or know that they are in a cluster; this takes the client that the operator has.
func delegate(config *genericapiserver.Config, client kubernetes.Interface) (start func(context.Context), err error) {
	clientCA, err := dynamiccertificates.NewDynamicCAFromConfigMapController("client-ca", metav1.NamespaceSystem, authenticationConfig, "client-ca-file", client)
	if err != nil {
		return nil, fmt.Errorf("client certificates: %w", err)
	}
	proxyCA, err := dynamiccertificates.NewDynamicCAFromConfigMapController("request-header", metav1.NamespaceSystem, authenticationConfig, "requestheader-client-ca-file", client)
	if err != nil {
		return nil, fmt.Errorf("request header certificates: %w", err)
	}
	headers := headerrequest.NewRequestHeaderAuthRequestController(authenticationConfig, metav1.NamespaceSystem, client,
		"requestheader-username-headers", "requestheader-uid-headers", "requestheader-group-headers",
		"requestheader-extra-headers-prefix", "requestheader-allowed-names")
	requestHeaders := &authenticatorfactory.RequestHeaderConfig{
		CAContentProvider:   proxyCA,
		UsernameHeaders:     headerrequest.StringSliceProviderFunc(headers.UsernameHeaders),
		UIDHeaders:          headerrequest.StringSliceProviderFunc(headers.UIDHeaders),
		GroupHeaders:        headerrequest.StringSliceProviderFunc(headers.GroupHeaders),
		ExtraHeaderPrefixes: headerrequest.StringSliceProviderFunc(headers.ExtraHeaderPrefixes),
		AllowedClientNames:  headerrequest.StringSliceProviderFunc(headers.AllowedClientNames),
	}
	for _, provider := range []dynamiccertificates.CAContentProvider{clientCA, proxyCA} {
		if err := config.Authentication.ApplyClientCert(provider, config.SecureServing); err != nil {
			return nil, fmt.Errorf("client certificates: %w", err)
		}
	}
	config.Authentication.RequestHeaderConfig = requestHeaders
	config.Authentication.Authenticator, _, err = authenticatorfactory.DelegatingAuthenticatorConfig{
		Anonymous:                          &apiserver.AnonymousAuthConfig{Enabled: true}, // for the probes of the API server; nobody gives anonymous more
		TokenAccessReviewClient:            client.AuthenticationV1(),
		TokenAccessReviewTimeout:           reviewTimeout,
		WebhookRetryBackoff:                &reviewBackoff,
		CacheTTL:                           reviewTTL,
		ClientCertificateCAContentProvider: clientCA,
		RequestHeaderConfig:                requestHeaders,
	}.New()
	if err != nil {
		return nil, fmt.Errorf("authentication: %w", err)
	}

	probes, err := path.NewAuthorizer([]string{"/healthz", "/livez", "/readyz"})
	if err != nil {
		return nil, fmt.Errorf("authorization of probes: %w", err)
	}
	reviews, err := authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: client.AuthorizationV1(),
		AllowCacheTTL:             reviewTTL,
		DenyCacheTTL:              reviewTTL,
		WebhookRetryBackoff:       &reviewBackoff,
	}.New()
	if err != nil {
		return nil, fmt.Errorf("authorization: %w", err)
	}
	if config.Authorization.Authorizer, err = union.New(
		union.NamedAuthorizer{AuthorizerName: "probes", Authorizer: probes},
		union.NamedAuthorizer{AuthorizerName: "reviews", Authorizer: reviews},
	); err != nil {
		return nil, fmt.Errorf("authorization: %w", err)
	}
	// The server runs the certificates' controllers, and not this one.
	return func(ctx context.Context) { go headers.Run(ctx, 1) }, nil
}
