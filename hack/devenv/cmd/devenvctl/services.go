package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/queuebinding/queuebinding/hack/devenv/machine"
	"github.com/queuebinding/queuebinding/hack/devenv/services"
)

// servicesCommand is what the supervisor runs as a part of an environment with a real node.
func servicesCommand(f *flags) *cobra.Command {
	var kubeconfig string
	var published []uint
	cmd := &cobra.Command{
		Use:    "services",
		Short:  "Serve the cluster IPs of a running environment, instead of kube-proxy",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			claims, err := machine.Find(f.dir)
			if err != nil {
				return err
			}
			if len(claims) != 1 {
				return fmt.Errorf("no real node runs in %s", f.dir)
			}
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return fmt.Errorf("reading the kubeconfig: %w", err)
			}
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return fmt.Errorf("making a client: %w", err)
			}
			proxy := services.Proxy{Client: client, Claim: claims[0], Log: cmd.OutOrStdout()}
			for _, port := range published {
				proxy.Published = append(proxy.Published, uint16(port))
			}
			return proxy.Run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "of the API server")
	cmd.Flags().UintSliceVar(&published, "publish", nil, "loopback ports that Pods reach at the node's address")
	return cmd
}
