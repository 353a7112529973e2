package controller

import (
	"context"
	"errors"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/intake"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
)

// Watches returns what the operator watches in the namespaces of bindings.
func Watches() []schema.GroupResource {
	return []schema.GroupResource{
		v1alpha1.GroupVersion.WithResource("queuebindings").GroupResource(),
		batchv1.SchemeGroupVersion.WithResource("jobs").GroupResource(),
	}
}

// record is short for what history and status work with.
type record = job.Record

// gatherFor is how long Jobs' events are gathered before their binding is reconciled.
const gatherFor = 200 * time.Millisecond

func isRejection(err error) bool {
	var rejection *job.RejectionError
	return errors.As(err, &rejection)
}

// requests is the queue of the controller's requests.
type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]

// bindingEvents enqueues bindings, and stops the loops of those that are gone before that: reconciling may have to wait for
// another that takes its time, and meanwhile messages would become Jobs of a dead owner.
func bindingEvents(registry *intake.Registry) handler.EventHandler {
	enqueue := func(object client.Object, q requests) {
		q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(object)})
	}
	gone := func(object client.Object) { registry.Gone(client.ObjectKeyFromObject(object), object.GetUID()) }
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q requests) { enqueue(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q requests) {
			if e.ObjectNew.GetDeletionTimestamp() != nil || e.ObjectNew.GetUID() != e.ObjectOld.GetUID() {
				gone(e.ObjectOld)
			}
			enqueue(e.ObjectNew, q)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q requests) {
			gone(e.Object)
			enqueue(e.Object, q)
		},
	}
}

// jobEvents enters Jobs into the ledgers and then enqueues their bindings, in this order: the reconciler must find what
// happened.
func jobEvents(ledgers *ledger.Set, ends *ends) handler.EventHandler {
	enqueue := func(object client.Object, q requests) {
		if owner := metav1.GetControllerOf(object); owner != nil {
			q.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: object.GetNamespace(), Name: owner.Name}}, gatherFor)
		}
	}
	observe := func(object client.Object, q requests) {
		if uid := job.Owner(object); uid != "" {
			ledgers.Observe(uid, job.Observe(object.(*batchv1.Job)))
			enqueue(object, q)
		}
	}
	forget := func(object client.Object, q requests) {
		if uid := job.Owner(object); uid != "" {
			ledgers.Forget(uid, object.GetName(), object.GetUID())
			enqueue(object, q)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q requests) {
			observe(e.Object, q)
			ends.found(ctx, e.Object)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q requests) {
			if job.Owner(e.ObjectOld) != job.Owner(e.ObjectNew) || e.ObjectOld.GetUID() != e.ObjectNew.GetUID() {
				forget(e.ObjectOld, q)
			}
			observe(e.ObjectNew, q)
			ends.changed(ctx, e.ObjectOld, e.ObjectNew)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q requests) {
			forget(e.Object, q)
			ends.deleted(ctx, e.Object)
		},
	}
}
