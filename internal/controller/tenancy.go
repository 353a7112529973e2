package controller

import (
	"context"
	"maps"
	"time"

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
	// OneByOne has Namespaces read from time to time, each by itself, which a Role in it can grant. Else all are watched.
	OneByOne bool

	read rereads[map[string]string]
}

// allowed returns nil where a binding may use its queue with its credentials, else an error whose reason is that of
// QueueReachable. It also returns after how long to ask again; 0 is never.
func (r *Reconciler) allowed(ctx context.Context, binding *v1alpha1.QueueBinding) (time.Duration, error) {
	if r.Tenancy == nil {
		return 0, nil
	}
	annotations, lasts, err := r.annotations(ctx, binding.Namespace)
	if err != nil {
		return lasts, err
	}
	arn, err := r.Tenancy.ARN(ctx, queue.Address{URL: binding.Spec.Queue.URL, Region: binding.Spec.Queue.Region})
	if err != nil {
		return lasts, err
	}
	return lasts, tenancy.GrantOf(binding.Namespace, annotations).Check(arn, binding.Spec.Queue.Credentials)
}

// annotations returns those of a Namespace, and after how long to ask again; 0 is never.
func (r *Reconciler) annotations(ctx context.Context, name string) (map[string]string, time.Duration, error) {
	if r.Tenancy.OneByOne {
		return r.Tenancy.read.of(types.NamespacedName{Name: name}, name, func() (map[string]string, error) { return annotationsOf(ctx, r.Reader, name) })
	}
	annotations, err := annotationsOf(ctx, r.Client, name)
	return annotations, 0, err
}

// annotationsOf reads the annotations of a Namespace.
func annotationsOf(ctx context.Context, reader client.Reader, name string) (map[string]string, error) {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := reader.Get(ctx, types.NamespacedName{Name: name}, namespace)
	switch {
	case apierrors.IsNotFound(err):
		return nil, queue.Errorf(queue.NotAllowed, "there is no Namespace %s any more", name)
	case apierrors.IsForbidden(err):
		return nil, queue.Errorf(queue.NotAllowed, "the operator may not get Namespace %s, which says what bindings may use: ask an administrator to grant it tenancy-role there, as in config/namespaced", name)
	case err != nil:
		return nil, queue.Errorf(queue.Unreachable, "read Namespace %s: %w", name, err)
	}
	return namespace.Annotations, nil
}

// watchGrants enqueues the bindings of a Namespace whose annotations change.
func (r *Reconciler) watchGrants(b *builder.Builder) *builder.Builder {
	if r.Tenancy == nil || r.Tenancy.OneByOne {
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
