package devenv

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Node runs the Pods of an environment. It is the one part that can be exchanged: simulated Pods today, a kubelet with
// real containers where the machine allows it.
type Node interface {
	// Programs names what has to be built, of those that [Plan] knows.
	Programs() []string
	// Parts are its processes in the order of their start.
	Parts() []Part
	// Clean undoes what ended processes leave behind, such as mounts.
	Clean(context.Context, *Environment) error
}

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
