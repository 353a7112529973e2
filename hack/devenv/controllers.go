package devenv

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// absentControllers are those that need what is not here: networks of nodes, volumes that attach.
var absentControllers = []string{
	"node-ipam-controller",
	"persistentvolume-attach-detach-controller",
	"persistentvolume-expander-controller",
}

// controllerManagerPart is kube-controller-manager with every controller that can work here.
func controllerManagerPart() Part {
	const name = "kube-controller-manager"
	return Part{
		Name: name,
		Prepare: func(env *Environment) (Command, error) {
			address, flags, err := env.loopbackServer(name)
			if err != nil {
				return Command{}, err
			}
			kubeconfig, err := env.login(name, env.certificates.controller)
			if err != nil {
				return Command{}, err
			}
			args := append(flags,
				"--kubeconfig="+kubeconfig,
				"--authentication-kubeconfig="+kubeconfig,
				"--authorization-kubeconfig="+kubeconfig,
				"--controllers=*,-"+strings.Join(absentControllers, ",-"),
				"--leader-elect=false",
				"--service-account-private-key-file="+env.certificates.serviceAccountKey.keyFile,
				"--root-ca-file="+env.certificates.ca.pair.certFile,
				"--cluster-signing-cert-file="+env.certificates.ca.pair.certFile,
				"--cluster-signing-key-file="+env.certificates.ca.pair.keyFile,
				// The defaults, 20 and 30, would make this the bottleneck of every measurement.
				"--kube-api-qps=2000",
				"--kube-api-burst=4000",
				// The default, 15 s, would have tests of autoscaling wait for nothing.
				"--horizontal-pod-autoscaler-sync-period=1s",
				"--concurrent-job-syncs=20",
				"--concurrent-gc-syncs=20",
			)
			return Command{Path: env.Layout.Asset(name), Args: args, Address: address}, nil
		},
		Ready: func(ctx context.Context, env *Environment) error {
			if err := env.answers(ctx, env.address(name)+"/healthz", "ok"); err != nil {
				return err
			}
			client, err := env.client()
			if err != nil {
				return err
			}
			// Without it no Pod is admitted to the namespace.
			_, err = client.CoreV1().ServiceAccounts(corev1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
			if err != nil {
				return fmt.Errorf("looking for the default service account: %w", err)
			}
			return nil
		},
	}
}

const schedulerConfiguration = `apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection:
  kubeconfig: %q
  # The defaults, 50 and 100, were the bottleneck for Jobs of one second.
  qps: 2000
  burst: 4000
leaderElection:
  leaderElect: false
`

// schedulerPart is kube-scheduler.
func schedulerPart() Part {
	const name = "kube-scheduler"
	return Part{
		Name: name,
		Prepare: func(env *Environment) (Command, error) {
			address, flags, err := env.loopbackServer(name)
			if err != nil {
				return Command{}, err
			}
			kubeconfig, err := env.login(name, env.certificates.scheduler)
			if err != nil {
				return Command{}, err
			}
			config := env.file("scheduler.yaml")
			if err := writeFile(config, fmt.Appendf(nil, schedulerConfiguration, kubeconfig)); err != nil {
				return Command{}, err
			}
			args := append(flags,
				"--config="+config,
				"--authentication-kubeconfig="+kubeconfig,
				"--authorization-kubeconfig="+kubeconfig,
			)
			return Command{Path: env.Layout.Asset(name), Args: args, Address: address}, nil
		},
		Ready: func(ctx context.Context, env *Environment) error {
			return env.answers(ctx, env.address(name)+"/healthz", "ok")
		},
	}
}
