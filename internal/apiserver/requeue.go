package apiserver

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/keymutex"
	"sigs.k8s.io/controller-runtime/pkg/client"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/requeue"
)

// queueBindings is the resource of bindings, for errors about one.
var queueBindings = v1alpha1.GroupVersion.WithResource("queuebindings").GroupResource()

// requeueREST is the subresource queuebindings/requeue.
type requeueREST struct {
	intents  *requeue.IntentStore
	resolver *requeue.Resolver
	recorder *events.Recorder
	// within are the namespaces that are served, none for all.
	within []string
	// locks has requests for one binding write one after the other: side by side they would only conflict.
	locks keymutex.KeyMutex
}

var (
	_ rest.Storage      = &requeueREST{}
	_ rest.NamedCreater = &requeueREST{}
	_ rest.Scoper       = &requeueREST{}
)

// New implements rest.Storage.
func (*requeueREST) New() runtime.Object { return &subresources.Requeue{} }

// Destroy implements rest.Storage.
func (*requeueREST) Destroy() {}

// NamespaceScoped implements rest.Scoper.
func (*requeueREST) NamespaceScoped() bool { return true }

// Create adds the Jobs that a Requeue means to the binding's intent, and answers with which they are. It implements
// rest.NamedCreater. The caller is known and allowed to do this by now.
func (r *requeueREST) Create(ctx context.Context, name string, object runtime.Object, validateObject rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	request, err := checkRequest(ctx, name, object, validateObject)
	if err != nil {
		return nil, err
	}
	namespace := genericapirequest.NamespaceValue(ctx)
	if len(r.within) > 0 && !slices.Contains(r.within, namespace) {
		return nil, apierrors.NewForbidden(queueBindings, name, fmt.Errorf("requeues are not served in namespace %s: add it to --namespaces of queuebinding-apiserver, or annotate the binding", namespace))
	}
	binding, err := r.intents.Binding(ctx, types.NamespacedName{Namespace: namespace, Name: name})
	if err != nil {
		return nil, err
	}
	selection, err := r.resolver.Resolve(ctx, binding, &request.Spec)
	if err != nil {
		return nil, err
	}
	dryRun := len(options.DryRun) > 0
	if selection, err = r.add(ctx, binding, selection, dryRun); err != nil {
		return nil, err
	}
	if !dryRun {
		r.recordEvent(ctx, binding, selection)
	}
	response := request.DeepCopy()
	response.Namespace, response.Name = binding.Namespace, binding.Name
	response.Status = selection.Status()
	return response, nil
}

// checkRequest returns the Requeue that was posted, if it is a valid one for the binding of this name.
func checkRequest(ctx context.Context, name string, object runtime.Object, validateObject rest.ValidateObjectFunc) (*subresources.Requeue, error) {
	request, ok := object.(*subresources.Requeue)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the body is a %T, not a Requeue", object))
	}
	if request.Name != "" && request.Name != name {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("metadata.name is %q, but the request is for %q", request.Name, name))
	}
	if errs := validate(&request.Spec); len(errs) > 0 {
		return nil, apierrors.NewInvalid(subresources.GroupVersion.WithKind("Requeue").GroupKind(), name, errs)
	}
	if validateObject != nil {
		if err := validateObject(ctx, request.DeepCopy()); err != nil {
			return nil, err
		}
	}
	return request, nil
}

// add adds a selection to the binding's intent, while no other request to this replica does.
func (r *requeueREST) add(ctx context.Context, binding *v1alpha1.QueueBinding, selection requeue.Selection, dryRun bool) (requeue.Selection, error) {
	lock := string(binding.UID)
	r.locks.LockKey(lock)
	defer func() { _ = r.locks.UnlockKey(lock) }() // it returns an error for keys that are not locked
	added, err := r.intents.Add(ctx, binding, selection, dryRun)
	if apierrors.IsConflict(err) {
		return requeue.Selection{}, apierrors.NewServerTimeout(queueBindings, "requeue", 1)
	}
	return added, err
}

// recordEvent records an event that names the caller.
func (r *requeueREST) recordEvent(ctx context.Context, binding *v1alpha1.QueueBinding, selection requeue.Selection) {
	if len(selection.Names) == 0 && !selection.All {
		return
	}
	caller := ""
	if user, ok := genericapirequest.UserFrom(ctx); ok {
		caller = user.GetName()
	}
	r.recorder.Record(client.ObjectKeyFromObject(binding), binding.UID, events.RequeueAsked(caller, selection.All, selection.Names))
}
