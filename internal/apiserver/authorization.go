package apiserver

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/authorization/path"
	"k8s.io/apiserver/pkg/authorization/union"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
)

// reviewTTL is how long a review is cached: a right that is taken away is gone after this time.
const reviewTTL = 10 * time.Second

// reviewBackoff is how a review is tried again.
var reviewBackoff = wait.Backoff{Steps: 5, Duration: 500 * time.Millisecond, Factor: 1.5, Jitter: 0.2}

// authorize makes the cluster's API server decide what callers may do. Probes are open to everybody. Reviews are bounded by the
// requests in flight, which only callers that are known take a place among.
func authorize(config *genericapiserver.Config, client kubernetes.Interface) error {
	probes, err := path.NewAuthorizer(probePaths)
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
