// Package sqs reaches queues in Amazon SQS, or in whatever speaks its protocol at AWS_ENDPOINT_URL_SQS. It is the only
// package that knows the AWS SDK.
package sqs

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go/middleware"

	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/version"
)

// EndpointVariable is the environment variable that points the operator at another endpoint than AWS's.
const EndpointVariable = "AWS_ENDPOINT_URL_SQS"

const (
	// maxAttempts is how often a request is tried. The loops above have a backoff of their own, so this only bridges
	// single lost packets.
	maxAttempts = 3
	// maxRetryDelay is the longest wait between two attempts.
	maxRetryDelay = 2 * time.Second
	// connectionsPerHost is how many idle connections are kept: a long poll for each binding and the requests beside it.
	connectionsPerHost = 1024
)

// Opener opens queues, with the identity that the address names, else with the operator's own as the SDK finds it:
// environment, web identity, Pod identity, instance profile.
type Opener struct {
	// Owner is whose identity this is, for errors. Default: the operator.
	Owner string

	mu      sync.Mutex
	loaded  bool
	base    aws.Config
	clients map[clientKey]*sqs.Client
}

// clientKey is what clients differ in. Queues with the same key share a client and its connections.
type clientKey struct{ region, endpoint string }

// NewOpener makes an Opener. It reads the environment at the first Open, again at the next where that fails.
func NewOpener() *Opener {
	return &Opener{clients: map[clientKey]*sqs.Client{}}
}

func (o *Opener) owner() string { return cmp.Or(o.Owner, "the operator") }

// Open implements queue.Opener.
func (o *Opener) Open(ctx context.Context, address queue.Address) (queue.Queue, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.load(ctx); err != nil {
		return nil, err
	}
	key, err := o.keyOf(address)
	if err != nil {
		return nil, err
	}
	if address.Credentials.RoleARN != "" {
		return o.openAs(key, address)
	}
	if address.Credentials != (queue.Credentials{}) {
		// Not kept for others: identities come and go, and connections are shared anyway.
		return &sqsQueue{client: o.newClient(key, staticCredentials(address.Credentials)), url: address.URL}, nil
	}
	client, ok := o.clients[key]
	if !ok {
		client = o.newClient(key, o.base.Credentials)
		o.clients[key] = client
	}
	return &sqsQueue{client: client, url: address.URL}, nil
}

// load reads the operator's own configuration.
func (o *Opener) load(ctx context.Context) error {
	if o.loaded {
		return nil
	}
	base, err := config.LoadDefaultConfig(ctx,
		// So that CloudTrail tells our requests from others with the same identity.
		config.WithAPIOptions([]func(*middleware.Stack) error{awsmiddleware.AddUserAgentKeyValue("queuebinding", version.Get().Version)}),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns = 0
			t.MaxIdleConnsPerHost = connectionsPerHost
		})),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(r *retry.StandardOptions) {
				r.MaxAttempts = maxAttempts
				r.MaxBackoff = maxRetryDelay
				// The SDK's token bucket is shared by all bindings: one broken queue would take the retries of all.
				r.RateLimiter = noRateLimit{}
			})
		}))
	if err != nil {
		return queue.Errorf(queue.CredentialsUnavailable, "AWS configuration of %s: %w", o.owner(), err)
	}
	if base.Credentials != nil {
		base.Credentials = aws.NewCredentialsCache(marked{base.Credentials, o.owner()})
	}
	o.base, o.loaded = base, true
	return nil
}

func (o *Opener) newClient(key clientKey, identity aws.CredentialsProvider) *sqs.Client {
	return sqs.NewFromConfig(o.base, func(options *sqs.Options) {
		options.Region, options.Credentials = key.region, identity
		options.HTTPClient = admitting{options.HTTPClient}
		if key.endpoint != "" {
			options.BaseEndpoint = aws.String(key.endpoint)
		}
	})
}

func staticCredentials(c queue.Credentials) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
}

// awsHost finds the region in the hosts that AWS gives to queues: sqs.<region>.amazonaws.com, its dual-stack and FIPS
// forms, VPC endpoints, and the older <region>.queue.amazonaws.com.
var awsHost = regexp.MustCompile(`^(?:` +
	`(?:[a-z0-9-]+\.)?sqs(?:-fips)?\.([a-z0-9-]+)(\.vpce)?\.(?:amazonaws\.com(?:\.cn)?|api\.aws)` +
	`|([a-z0-9-]+)\.queue\.amazonaws\.com(?:\.cn)?` +
	`|queue\.amazonaws\.com)$`)

func (o *Opener) keyOf(address queue.Address) (clientKey, error) {
	parsed, err := url.Parse(address.URL)
	if err != nil {
		return clientKey{}, queue.Errorf(queue.InvalidQueue, "queue URL: %w", err)
	}
	match := awsHost.FindStringSubmatch(parsed.Hostname())
	key := clientKey{region: address.Region}
	if match != nil && key.region == "" {
		switch {
		case match[1] != "":
			key.region = match[1]
		case match[3] != "":
			key.region = match[3]
		default: // queue.amazonaws.com is what queues in us-east-1 were called first.
			key.region = "us-east-1"
		}
	}
	if key.region == "" {
		key.region = o.base.Region
	}
	if key.region == "" {
		return clientKey{}, queue.Errorf(queue.InvalidQueue, "the region of %s is not known: set spec.queue.region or AWS_REGION for %s", address.URL, o.owner())
	}

	switch {
	case os.Getenv(EndpointVariable) != "":
		// The SDK itself honours it.
	case match == nil:
		// Requests are signed with the operator's identity; they go to no host of a binding author's choosing.
		return clientKey{}, queue.Errorf(queue.InvalidQueue, "%s is not an AWS host; to use another endpoint set %s for %s", parsed.Host, EndpointVariable, o.owner())
	case match[2] != "":
		key.endpoint = "https://" + parsed.Host // a VPC endpoint answers under its own name only
	}
	return key, nil
}

// marked marks the errors of a credentials provider, which the SDK leaves untyped.
type marked struct {
	aws.CredentialsProvider
	whose string
}

func (m marked) Retrieve(ctx context.Context) (aws.Credentials, error) {
	found, err := m.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return found, queue.Errorf(queue.CredentialsUnavailable, "AWS credentials of %s: %w", m.whose, plain(err))
	}
	return found, nil
}

// noRateLimit lets every retry pass; maxAttempts bounds them.
type noRateLimit struct{}

func (noRateLimit) GetToken(context.Context, uint) (func() error, error) {
	return func() error { return nil }, nil
}
func (noRateLimit) AddTokens(uint) error { return nil }
