package main

import (
	"errors"
	"strings"
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	local    = "https://127.0.0.1:41234"
	remote   = "https://cluster.example.com"
	emulator = "http://127.0.0.1:41235"
)

// kubeconfig holds one context for each of the given servers; the first named is the current one.
func kubeconfig(current string, servers map[string]string) clientcmdapi.Config {
	config := clientcmdapi.NewConfig()
	for name, server := range servers {
		config.Clusters[name] = &clientcmdapi.Cluster{Server: server}
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: "token-of-" + name}
		config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	}
	config.CurrentContext = current
	return *config
}

func TestChoose(t *testing.T) {
	both := map[string]string{"devenv": local, "prod": remote}
	withEmulator := map[string]string{"AWS_ENDPOINT_URL_SQS": emulator}
	tests := map[string]struct {
		config      clientcmdapi.Config
		named       string
		environment map[string]string
		wantServer  string
		wantSQS     string
		wantRefusal string
		wantError   string
	}{
		"the development environment": {
			config: kubeconfig("devenv", both), environment: withEmulator,
			wantServer: local, wantSQS: emulator,
		},
		"another cluster, not named": {
			config: kubeconfig("prod", both), environment: withEmulator,
			wantServer: remote, wantSQS: emulator, wantRefusal: `context "prod" is not`,
		},
		"another cluster, named": {
			config: kubeconfig("devenv", both), named: "prod", environment: map[string]string{"AWS_REGION": "eu-west-1", "AWS_PROFILE": "films"},
			wantServer: remote, wantSQS: "AWS (region eu-west-1, profile films)",
		},
		"another cluster, called as the development environment": {
			config: kubeconfig("devenv", map[string]string{"devenv": remote}), environment: withEmulator,
			wantServer: remote, wantSQS: emulator, wantRefusal: "server is not on this machine",
		},
		"a name that looks like loopback": {
			config: kubeconfig("devenv", map[string]string{"devenv": "https://127.0.0.1.example.com"}), environment: withEmulator,
			wantServer: "https://127.0.0.1.example.com", wantSQS: emulator, wantRefusal: "server is not on this machine",
		},
		"the environment file not sourced: AWS's queues": {
			config:     kubeconfig("devenv", both),
			wantServer: local, wantSQS: "AWS", wantRefusal: "queues would be AWS's own",
		},
		"an endpoint that the SDK is told to ignore": {
			config: kubeconfig("devenv", both), environment: map[string]string{"AWS_ENDPOINT_URL_SQS": emulator, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
			wantServer: local, wantSQS: "AWS", wantRefusal: "queues would be AWS's own",
		},
		"an endpoint elsewhere": {
			config: kubeconfig("devenv", both), environment: map[string]string{"AWS_ENDPOINT_URL": "https://sqs.example.com"},
			wantServer: local, wantSQS: "https://sqs.example.com", wantRefusal: "SQS endpoint is not on this machine",
		},
		"the development environment's cluster and AWS's queues, named": {
			config: kubeconfig("devenv", both), named: "devenv",
			wantServer: local, wantSQS: "AWS",
		},
		"no kubeconfig":         {config: *clientcmdapi.NewConfig(), environment: withEmulator, wantError: "no current kube context"},
		"a context that is not": {config: kubeconfig("devenv", both), named: "prd", wantError: `no context "prd"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := choose(test.config, test.named, func(key string) string { return test.environment[key] })

			var refused *refusal
			switch {
			case test.wantRefusal != "":
				if !errors.As(err, &refused) || !strings.Contains(err.Error(), test.wantRefusal) {
					t.Fatalf("got error %v, want a refusal that says %q", err, test.wantRefusal)
				}
			case test.wantError != "":
				if err == nil || !strings.Contains(err.Error(), test.wantError) {
					t.Fatalf("got error %v, want one that says %q", err, test.wantError)
				}
				return
			case err != nil:
				t.Fatal(err)
			}
			if got.server != test.wantServer {
				t.Errorf("got server %s, want %s", got.server, test.wantServer)
			}
			if got.sqs.String() != test.wantSQS {
				t.Errorf("got SQS %s, want %s", got.sqs, test.wantSQS)
			}
			if len(got.config.Contexts) != 1 || len(got.config.AuthInfos) != 1 || len(got.config.Clusters) != 1 {
				t.Errorf("the command would see more than one context: %v", got.config.Contexts)
			}
			if got.config.CurrentContext != got.context {
				t.Errorf("the command would use context %s, printed was %s", got.config.CurrentContext, got.context)
			}
		})
	}
}

func TestChooseLeavesTheGivenConfigAlone(t *testing.T) {
	config := kubeconfig("devenv", map[string]string{"devenv": local, "prod": remote})
	if _, err := choose(config, "prod", func(string) string { return "" }); err != nil {
		t.Fatal(err)
	}
	if config.CurrentContext != "devenv" || len(config.Contexts) != 2 {
		t.Errorf("the config was changed: current %s, contexts %d", config.CurrentContext, len(config.Contexts))
	}
}
