package devenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// keda starts Jobs by the length of a queue, or scales Deployments. Its triggers find the queue with `awsEndpoint` and
// `identityOwner: operator`.
var keda = neighbour{
	name:      "keda",
	module:    "github.com/kedacore/keda/v2",
	program:   "cmd/operator",
	crds:      []string{"config/crd/bases"},
	minutes:   4,
	needs:     []string{Controllers, Scheduler, Nodes, Queue},
	readiness: "/readyz",
	command: func(env *Environment, probe int) (Command, error) {
		certificates, err := kedaCertificates(env)
		if err != nil {
			return Command{}, err
		}
		args := []string{
			"--health-probe-bind-address=" + loopback(probe),
			"--cert-dir=" + certificates,
			// The defaults, 20 and 30, would be the bottleneck.
			"--kube-api-qps=1000",
			"--kube-api-burst=1000",
		}
		for _, flag := range []string{"--metrics-bind-address=", "--metrics-service-bind-address="} {
			port, err := env.ports.next()
			if err != nil {
				return Command{}, err
			}
			args = append(args, flag+loopback(port))
		}
		return Command{Args: args, Env: []string{
			"WATCH_NAMESPACE=", // all
			"POD_NAMESPACE=default",
			// Else it looks for the file that a Pod has.
			"KEDA_CLUSTER_OBJECT_NAMESPACE=default",
			// Else what one poll creates has to exist within one pollingInterval.
			"KEDA_KUBERNETES_API_TIMEOUT=1m",
			"AWS_REGION=" + Region,
			"AWS_ACCESS_KEY_ID=devenv",
			"AWS_SECRET_ACCESS_KEY=devenv",
		}}, nil
	},
}

// kedaCertificates makes the directory with what the operator serves its metrics with to KEDA's other processes, which are
// not here.
func kedaCertificates(env *Environment) (string, error) {
	dir := env.file("keda")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making certificates for keda: %w", err)
	}
	return dir, errors.Join(
		writeFile(filepath.Join(dir, "ca.crt"), env.certificates.ca.pair.certPEM),
		writeFile(filepath.Join(dir, "tls.crt"), env.certificates.serving.certPEM),
		writeFile(filepath.Join(dir, "tls.key"), env.certificates.serving.keyPEM))
}
