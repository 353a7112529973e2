package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/metrics"
)

// selects reports whether a binding is this operator's. The cache holds the others too, so that one whose labels change is seen
// to go to another operator, and is not taken for one that was deleted.
func (r *Reconciler) selects(binding *v1alpha1.QueueBinding) bool {
	return r.Selector == nil || r.Selector.Matches(labels.Set(binding.Labels))
}

// States returns what there is to tell of each binding that is this operator's. The bindings are the cache's own.
func (r *Reconciler) States(ctx context.Context) ([]metrics.State, error) {
	list := &v1alpha1.QueueBindingList{}
	if err := r.Client.List(ctx, list, &client.ListOptions{LabelSelector: r.Selector}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	states := make([]metrics.State, len(list.Items))
	for i := range list.Items {
		binding := &list.Items[i]
		states[i] = metrics.State{Binding: binding, Intake: r.Registry.Observe(client.ObjectKeyFromObject(binding))}
		if most := ledger.MaxFailed(&binding.Spec); most != ledger.Unlimited {
			states[i].MaxFailedJobs = &most
		}
	}
	return states, nil
}

// handOver leaves a binding to another operator.
func (r *Reconciler) handOver(key types.NamespacedName) {
	r.Registry.HandOver(key)
	r.drop(key)
}

// LeaseName is the name of the Lease that the leader among operators with a selector holds. Operators with different
// selectors do not keep each other from working.
func LeaseName(selector labels.Selector) string {
	if selector.Empty() {
		return "leader.queuebinding.dev"
	}
	sum := sha256.Sum256([]byte(selector.String()))
	return "leader-" + hex.EncodeToString(sum[:6]) + ".queuebinding.dev"
}
