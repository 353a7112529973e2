package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// devenvContext is the name of the context in the development environment's kubeconfig.
const devenvContext = "devenv"

// target is what a command is about to reach.
type target struct {
	context string
	server  string
	sqs     endpoint
	// config holds this one context and nothing else, credentials included.
	config clientcmdapi.Config
}

// endpoint is where the SQS client of a command goes. An empty URL means AWS itself.
type endpoint struct {
	url     string
	region  string
	profile string
}

func (e endpoint) String() string {
	if e.url != "" {
		return e.url
	}
	var details []string
	if e.region != "" {
		details = append(details, "region "+e.region)
	}
	if e.profile != "" {
		details = append(details, "profile "+e.profile)
	}
	if len(details) == 0 {
		return "AWS"
	}
	return "AWS (" + strings.Join(details, ", ") + ")"
}

// refusal says why a target was refused and what to do about it.
type refusal struct {
	reason string
	target target
}

func (r *refusal) Error() string {
	return fmt.Sprintf("refused: %s.\nFor the development environment: make devenv-up && . bin/devenv/env\n"+
		"To go on with this one all the same: CONTEXT=%s", r.reason, r.target.context)
}

// choose finds the context to use: the named one, or else the current one, which must then be the development
// environment's. It refuses everything else, the target told so far included in the answer.
func choose(config clientcmdapi.Config, named string, getenv func(string) string) (target, error) {
	context := named
	if context == "" {
		context = config.CurrentContext
	}
	if context == "" {
		return target{}, errors.New("no current kube context.\nFor the development environment: make devenv-up && . bin/devenv/env")
	}
	if config.Contexts[context] == nil {
		return target{}, fmt.Errorf("the kubeconfig has no context %q", context)
	}

	config = *config.DeepCopy()
	config.CurrentContext = context
	if err := clientcmdapi.MinifyConfig(&config); err != nil {
		return target{}, fmt.Errorf("reading context %q: %w", context, err)
	}
	if err := clientcmdapi.FlattenConfig(&config); err != nil {
		return target{}, fmt.Errorf("reading the certificates of context %q: %w", context, err)
	}
	// Defaults are taken as the command will take them, so that what is printed is what is reached.
	client, err := clientcmd.NewDefaultClientConfig(config, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return target{}, fmt.Errorf("reading context %q: %w", context, err)
	}

	chosen := target{context: context, server: client.Host, sqs: sqsEndpoint(getenv), config: config}
	if named != "" {
		return chosen, nil
	}
	switch {
	case context != devenvContext:
		return chosen, &refusal{fmt.Sprintf("context %q is not the development environment's, %q", context, devenvContext), chosen}
	case !onLoopback(chosen.server):
		return chosen, &refusal{fmt.Sprintf("context %q is called as the development environment's, but its server is not on this machine", context), chosen}
	case chosen.sqs.url == "":
		return chosen, &refusal{"the cluster is the development environment's, but the queues would be AWS's own", chosen}
	case !onLoopback(chosen.sqs.url):
		return chosen, &refusal{"the cluster is the development environment's, but the SQS endpoint is not on this machine", chosen}
	}
	return chosen, nil
}

// sqsEndpoint reads what the AWS SDK reads from the environment, in the same order.
func sqsEndpoint(getenv func(string) string) endpoint {
	found := endpoint{
		region:  firstSet(getenv, "AWS_REGION", "AWS_DEFAULT_REGION"),
		profile: firstSet(getenv, "AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
	}
	if !strings.EqualFold(getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"), "true") {
		found.url = firstSet(getenv, "AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL")
	}
	return found
}

func firstSet(getenv func(string) string, names ...string) string {
	for _, name := range names {
		if value := getenv(name); value != "" {
			return value
		}
	}
	return ""
}

// onLoopback tells whether a URL can only reach this machine. A name other than localhost is not looked up: the answer
// could change between this question and the command's.
func onLoopback(address string) bool {
	parsed, err := url.Parse(address)
	if err != nil {
		return false
	}
	if !slices.Contains([]string{"http", "https"}, parsed.Scheme) {
		return false
	}
	if parsed.Hostname() == "localhost" {
		return true
	}
	ip := net.ParseIP(parsed.Hostname())
	return ip != nil && ip.IsLoopback()
}
