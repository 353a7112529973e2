package recorder

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Nodes records the nodes that bear a label and the Pods of a namespace, as the API server's watch tells of them.
type Nodes struct {
	namespace, label string

	mu       sync.Mutex
	nodes    map[types.UID]bool
	pods     map[types.UID]corev1.PodPhase
	counts   Counts
	listed   map[string]bool
	followed sync.WaitGroup
}

// Counts are how many there are at one time, and the most that there ever were at once.
type Counts struct {
	// Pending and Running count Pods by their phase, those being deleted included.
	Pending, Running int
	Nodes            int

	MostPending, MostRunning, MostNodes int
	// Gaps is how often changes may have been missed.
	Gaps int
}

// NewNodes makes a recorder of nodes that has seen nothing.
func NewNodes(namespace, label string) *Nodes {
	return &Nodes{namespace: namespace, label: label, nodes: map[types.UID]bool{}, pods: map[types.UID]corev1.PodPhase{}, listed: map[string]bool{}}
}

// StartNodes starts to record a cluster, until ctx ends. It has seen what exists when it returns.
func StartNodes(ctx context.Context, cluster client.WithWatch, namespace, label string) (*Nodes, error) {
	n := NewNodes(namespace, label)
	for _, each := range []*Follower{
		{Client: cluster, Kind: &corev1.NodeList{}, Observe: n.Observe, Replace: func(all []client.Object) { n.replace("nodes", all) }},
		{Client: cluster, Kind: &corev1.PodList{}, Observe: n.Observe, Replace: func(all []client.Object) { n.replace("pods", all) }},
	} {
		if err := each.List(ctx); err != nil {
			return nil, err
		}
		n.followed.Go(func() { each.Follow(ctx) })
	}
	return n, nil
}

// Wait waits for the end of the recording after that of its context.
func (n *Nodes) Wait() { n.followed.Wait() }

// Counts returns what there is now.
func (n *Nodes) Counts() Counts {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.counts
}

// replace takes in all objects of a kind: at the beginning, and again when changes may have been missed.
func (n *Nodes) replace(kind string, objects []client.Object) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listed[kind] {
		n.counts.Gaps++
	}
	n.listed[kind] = true
	if kind == "nodes" {
		clear(n.nodes)
	} else {
		clear(n.pods)
	}
	for _, object := range objects {
		n.saw(watch.Added, object)
	}
	n.count()
}

// Observe takes in one change of a node or a Pod.
func (n *Nodes) Observe(event watch.EventType, object client.Object) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.saw(event, object)
	n.count()
}

func (n *Nodes) saw(event watch.EventType, object client.Object) {
	switch object := object.(type) {
	case *corev1.Node:
		if _, ours := object.Labels[n.label]; ours && event != watch.Deleted {
			n.nodes[object.UID] = true
		} else {
			delete(n.nodes, object.UID)
		}
	case *corev1.Pod:
		if object.Namespace == n.namespace && event != watch.Deleted {
			n.pods[object.UID] = object.Status.Phase
		} else {
			delete(n.pods, object.UID)
		}
	}
}

func (n *Nodes) count() {
	c := &n.counts
	c.Nodes, c.Pending, c.Running = len(n.nodes), 0, 0
	for _, phase := range n.pods {
		switch phase {
		case corev1.PodPending:
			c.Pending++
		case corev1.PodRunning:
			c.Running++
		}
	}
	c.MostNodes, c.MostPending, c.MostRunning = max(c.MostNodes, c.Nodes), max(c.MostPending, c.Pending), max(c.MostRunning, c.Running)
}
