package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/kubernetes"
)

// authenticationConfig is the ConfigMap in which the cluster's API server publishes how it forwards requests.
const authenticationConfig = "extension-apiserver-authentication"

// probePaths are all that is answered to callers who are not known.
var probePaths = []string{"/healthz", "/livez", "/readyz"}

// frontProxy knows how the cluster's API server proves that it forwards a request, and in which headers it names the caller. It
// watches both where they are published.
type frontProxy struct {
	*dynamiccertificates.ConfigMapCAController
	headers *headerrequest.RequestHeaderAuthRequestController
}

var (
	_ dynamiccertificates.CAContentProvider = &frontProxy{}
	_ dynamiccertificates.ControllerRunner  = &frontProxy{}
)

func newFrontProxy(client kubernetes.Interface) (*frontProxy, error) {
	ca, err := dynamiccertificates.NewDynamicCAFromConfigMapController("request-header", metav1.NamespaceSystem, authenticationConfig,
		"requestheader-client-ca-file", client)
	if err != nil {
		return nil, fmt.Errorf("certificate authority of the front proxy: %w", err)
	}
	return &frontProxy{ca, headerrequest.NewRequestHeaderAuthRequestController(authenticationConfig, metav1.NamespaceSystem, client,
		"requestheader-username-headers", "requestheader-uid-headers", "requestheader-group-headers",
		"requestheader-extra-headers-prefix", "requestheader-allowed-names")}, nil
}

// RunOnce implements dynamiccertificates.ControllerRunner. It leaves all to Run: reading the ConfigMap by itself takes a right
// that watching it does not, and checkKnown tells when it was read.
func (*frontProxy) RunOnce(context.Context) error { return nil }

// Run watches until the context ends. It implements dynamiccertificates.ControllerRunner, for the server to run.
func (p *frontProxy) Run(ctx context.Context, workers int) {
	go p.ConfigMapCAController.Run(ctx, workers)
	p.headers.Run(ctx, workers)
}

// checkKnown fails while requests that the cluster's API server forwards would be refused. It is a check of readiness.
func (p *frontProxy) checkKnown(*http.Request) error {
	if _, ok := p.VerifyOptions(); !ok || len(p.headers.UsernameHeaders()) == 0 {
		return errors.New("how the cluster's API server forwards requests is not known yet: ConfigMap kube-system/" + authenticationConfig)
	}
	return nil
}

// authenticate lets in what the cluster's API server forwards, with the caller's name in headers and a certificate of its own,
// and nothing else but probes. Nobody needs another way in, and without one, whoever reaches the port cannot have tokens reviewed.
func authenticate(config *genericapiserver.Config, proxy *frontProxy) error {
	if err := config.Authentication.ApplyClientCert(proxy, config.SecureServing); err != nil {
		return fmt.Errorf("certificate authority of the front proxy: %w", err)
	}
	config.Authentication.RequestHeaderConfig = &authenticatorfactory.RequestHeaderConfig{
		CAContentProvider:   proxy,
		UsernameHeaders:     headerrequest.StringSliceProviderFunc(proxy.headers.UsernameHeaders),
		UIDHeaders:          headerrequest.StringSliceProviderFunc(proxy.headers.UIDHeaders),
		GroupHeaders:        headerrequest.StringSliceProviderFunc(proxy.headers.GroupHeaders),
		ExtraHeaderPrefixes: headerrequest.StringSliceProviderFunc(proxy.headers.ExtraHeaderPrefixes),
		AllowedClientNames:  headerrequest.StringSliceProviderFunc(proxy.headers.AllowedClientNames),
	}
	anonymous := &apiserver.AnonymousAuthConfig{Enabled: true}
	for _, path := range probePaths {
		anonymous.Conditions = append(anonymous.Conditions, apiserver.AnonymousAuthCondition{Path: path})
	}
	var err error
	config.Authentication.Authenticator, _, err = authenticatorfactory.DelegatingAuthenticatorConfig{
		Anonymous:           anonymous,
		RequestHeaderConfig: config.Authentication.RequestHeaderConfig,
	}.New()
	if err != nil {
		return fmt.Errorf("authentication: %w", err)
	}
	return nil
}
