package controller

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/tenancy"
)

// Tenancy has bindings use only what their Namespace object grants.
type Tenancy struct {
	// ARN returns the ARN of the queue at an address, or an error of reason InvalidQueue.
	ARN func(ctx context.Context, address queue.Address) (string, error)
}

// allowed returns nil where a binding may use its queue with its credentials, else an error whose reason is that of
// QueueReachable.
func (r *Reconciler) allowed(ctx context.Context, binding *v1alpha1.QueueBinding) error {
	if r.Tenancy == nil {
		return nil
	}
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := r.Client.Get(ctx, types.NamespacedName{Name: binding.Namespace}, namespace); client.IgnoreNotFound(err) != nil {
		return queue.Errorf(queue.Unreachable, "read Namespace %s: %w", binding.Namespace, err)
	} else if apierrors.IsNotFound(err) {
		return queue.Errorf(queue.NotAllowed, "there is no Namespace %s any more", binding.Namespace)
	}
	arn, err := r.Tenancy.ARN(ctx, queue.Address{URL: binding.Spec.Queue.URL, Region: binding.Spec.Queue.Region})
	if err != nil {
		return err
	}
	return tenancy.GrantOf(namespace.Name, namespace.Annotations).Check(arn, binding.Spec.Queue.Credentials)
}

// watchGrants enqueues the bindings of a Namespace whose annotations change.
func (r *Reconciler) watchGrants(b *builder.Builder) *builder.Builder {
	if r.Tenancy == nil {
		return b
	}
	enqueue := handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, namespace client.Object) []reconcile.Request {
		bindings := &v1alpha1.QueueBindingList{}
		if err := r.Client.List(ctx, bindings, client.InNamespace(namespace.GetName())); err != nil {
			return nil // from a cache, which does not fail; each binding that may not be served is tried again anyway
		}
		var requests []reconcile.Request
		for i := range bindings.Items {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&bindings.Items[i])})
		}
		return requests
	})
	return b.WatchesMetadata(&corev1.Namespace{}, enqueue, builder.WithPredicates(predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			return !maps.Equal(e.ObjectOld.GetAnnotations(), e.ObjectNew.GetAnnotations())
		},
	}))
}
