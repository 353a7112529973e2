package apiserver

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/requeue"
)

// conflicts is how often and how soon a write is tried again that lost against another: that of another replica, of the
// leader taking out what it has done, or of a user. Requests to this replica wait for each other and do not conflict.
var conflicts = wait.Backoff{Steps: 20, Duration: 5 * time.Millisecond, Factor: 1.5, Jitter: 0.5, Cap: time.Second}

// queueBindings is the resource of bindings, for errors that speak of one.
var queueBindings = v1alpha1.GroupVersion.WithResource("queuebindings").GroupResource()

// requeueREST is the subresource queuebindings/requeue.
type requeueREST struct {
	// live reads from the API server itself.
	live client.Reader
	// cache reads Jobs, trimmed, and may be behind.
	cache    client.Reader
	writer   client.Writer
	recorder *events.Recorder
	turns    turns
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

// Create notes on the binding which Jobs are to be requeued, and answers with who they are. It implements
// rest.NamedCreater. The caller is known and allowed to do this by now.
func (r *requeueREST) Create(ctx context.Context, name string, object runtime.Object, validateObject rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
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
	key := types.NamespacedName{Namespace: genericapirequest.NamespaceValue(ctx), Name: name}
	binding, err := r.binding(ctx, key)
	if err != nil {
		return nil, err
	}
	chosen, err := r.resolve(ctx, binding, &request.Spec)
	if err != nil {
		return nil, err
	}

	dryRun := len(options.DryRun) > 0
	if chosen, err = r.record(ctx, binding, request.Spec.All, chosen, dryRun); err != nil {
		return nil, err
	}
	if !dryRun {
		r.tell(ctx, binding, request.Spec.All, chosen.names)
	}
	return answer(request, key, chosen), nil
}

// binding reads a binding that can take a request.
func (r *requeueREST) binding(ctx context.Context, key types.NamespacedName) (*v1alpha1.QueueBinding, error) {
	binding := &v1alpha1.QueueBinding{}
	if err := r.live.Get(ctx, key, binding); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, apierrors.NewNotFound(queueBindings, key.Name)
		}
		return nil, fmt.Errorf("read QueueBinding %s: %w", key.Name, err)
	}
	if binding.DeletionTimestamp != nil {
		return nil, apierrors.NewForbidden(queueBindings, key.Name, errors.New("the binding is being deleted, and its Jobs with it"))
	}
	return binding, nil
}

// record merges what is asked for into the binding's annotation, and refuses what there is no room for.
func (r *requeueREST) record(ctx context.Context, binding *v1alpha1.QueueBinding, all bool, chosen selection, dryRun bool) (selection, error) {
	key := client.ObjectKeyFromObject(binding)
	leave, err := r.turns.take(ctx, key)
	if err != nil {
		return selection{}, err
	}
	defer leave()

	recorded := chosen
	err = retry.RetryOnConflict(conflicts, func() error {
		current, err := r.binding(ctx, key)
		if err != nil {
			return err
		}
		if current.UID != binding.UID {
			return apierrors.NewNotFound(queueBindings, key.Name) // another one of the same name
		}
		text := current.Annotations[v1alpha1.AnnotationRequeue]
		merged, accepted, refused := requeue.Note(text, requeue.Wish{All: all, Names: chosen.names})
		recorded = selection{names: accepted, refused: append(slices.Clone(chosen.refused), refused...)}
		if dryRun || merged == text {
			return nil
		}
		before := current.DeepCopy()
		if current.Annotations == nil {
			current.Annotations = map[string]string{}
		}
		current.Annotations[v1alpha1.AnnotationRequeue] = merged
		// The lock: others merge their wishes too, and the leader takes out what it has done.
		return r.writer.Patch(ctx, current, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	})
	if apierrors.IsConflict(err) {
		return selection{}, apierrors.NewServerTimeout(queueBindings, "requeue", 1)
	}
	return recorded, err
}

// answer is the request with its status.
func answer(request *subresources.Requeue, key types.NamespacedName, chosen selection) *subresources.Requeue {
	response := request.DeepCopy()
	response.Namespace, response.Name = key.Namespace, key.Name
	response.Status = subresources.RequeueStatus{Accepted: chosen.names}
	slices.SortFunc(chosen.refused, func(a, b v1alpha1.RequeueRefusal) int { return strings.Compare(a.JobName, b.JobName) })
	for _, refusal := range chosen.refused {
		response.Status.Refused = append(response.Status.Refused, subresources.RequeueRefusal(refusal))
	}
	return response
}

// tell records an event that names the caller.
func (r *requeueREST) tell(ctx context.Context, binding *v1alpha1.QueueBinding, all bool, names []string) {
	if len(names) == 0 && !all {
		return
	}
	caller := ""
	if user, ok := genericapirequest.UserFrom(ctx); ok {
		caller = user.GetName()
	}
	r.recorder.Record(client.ObjectKeyFromObject(binding), binding.UID, events.RequeueAsked(caller, all, names))
}

// turns lets requests for one binding write one after the other: side by side they would only conflict with each other.
// Bindings share turns by chance, which costs a wait and nothing else.
type turns struct {
	seed maphash.Seed
	held [64]chan struct{}
}

func newTurns() turns {
	t := turns{seed: maphash.MakeSeed()}
	for i := range t.held {
		t.held[i] = make(chan struct{}, 1)
	}
	return t
}

// take waits for a binding's turn. Whoever gets it calls leave.
func (t *turns) take(ctx context.Context, key types.NamespacedName) (leave func(), err error) {
	turn := t.held[maphash.String(t.seed, key.String())%uint64(len(t.held))]
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
