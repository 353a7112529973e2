package apiserver

import (
	"fmt"

	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/authorization/path"
	"k8s.io/apiserver/pkg/authorization/union"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
)

// delegateAuthorization makes the cluster's API server decide what callers may do. Probes are open to everybody.
func delegateAuthorization(config *genericapiserver.Config, client kubernetes.Interface) error {
	probes, err := path.NewAuthorizer([]string{"/healthz", "/livez", "/readyz"})
	if err != nil {
		return fmt.Errorf("authorization of probes: %w", err)
	}
	reviews, err := authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: client.AuthorizationV1(),
		AllowCacheTTL:             reviewTTL,
		DenyCacheTTL:              reviewTTL,
		WebhookRetryBackoff:       &reviewBackoff,
	}.New()
	if err != nil {
		return fmt.Errorf("authorization: %w", err)
	}
	if config.Authorization.Authorizer, err = union.New(
		union.NamedAuthorizer{AuthorizerName: "probes", Authorizer: probes},
		union.NamedAuthorizer{AuthorizerName: "reviews", Authorizer: reviews},
	); err != nil {
		return fmt.Errorf("authorization: %w", err)
	}
	return nil
}
