package devenv

import (
	"context"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Node runs the Pods of an environment. It is the one part that can be exchanged: simulated Pods anywhere, or a kubelet
// with real containers where the machine allows it.
type Node interface {
	// Kind is how users choose it.
	Kind() NodeKind
	// Programs names what has to be built, of those that [Plan] knows.
	Programs() []string
	// Claim takes what the node needs of the machine besides processes, for the environment in dir. The supervisor gives
	// it back, and so does [TakeDown], whatever became of the supervisor.
	Claim(dir string) (Network, error)
	// Parts are its processes in the order of their start. They are asked for after Claim.
	Parts() []Part
}

// Network is where an environment's addresses come from.
type Network struct {
	// Address is where Pods reach the machine. Simulated ones reach nothing, and there is none.
	Address netip.Addr
	// Services holds the cluster IPs.
	Services netip.Prefix
}

// apiServiceIP is the cluster IP of the API server's own Service.
func (n Network) apiServiceIP() netip.Addr { return n.Services.Addr().Next() }

// nodesReady returns nil once there are want nodes and Pods can be scheduled to all of them.
func (e *Environment) nodesReady(ctx context.Context, want int) error {
	client, err := e.client()
	if err != nil {
		return err
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing nodes: %w", err)
	}
	ready := 0
	for _, node := range nodes.Items {
		// Only the node lifecycle controller takes the taint away that every new node is given.
		if isReady(node) && (len(node.Spec.Taints) == 0 || !e.has(Controllers)) {
			ready++
		}
	}
	if ready < want {
		return fmt.Errorf("%d of %d nodes are ready", ready, want)
	}
	return nil
}

func isReady(node corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
