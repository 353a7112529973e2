package creator

import (
	"context"
	"maps"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/internal/job"
)

const (
	// requestTimeout bounds a request to the API server: webhooks may take as long.
	requestTimeout = 30 * time.Second
	// parallelCreates is how many objects are created at a time for one binding.
	parallelCreates = 16
)

// requests makes the requests to the API server for one binding, each within its time. Their errors are classified: NotFound,
// AlreadyExists and Conflict as they are, *job.RejectionError where an object was refused for itself, else *BlockedError.
type requests struct {
	ctx     context.Context
	client  client.Client
	reader  client.Reader
	limiter *Limiter
	gate    *gate
	// places bounds the objects that are created at a time for this binding.
	places    chan struct{}
	namespace string
	uid       types.UID
}

func (r *requests) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.ctx, requestTimeout)
}

// create creates an object, bounded over all bindings. Where it had to wait for its turn, and the API server was found to take
// nothing meanwhile, it returns errGateClosed, unless it is to find out whether that still holds: what waits on a slow webhook
// must not take the places of other bindings.
func (r *requests) create(object client.Object, probe bool, options ...client.CreateOption) error {
	// The binding's own places come first: a namespace with a slow webhook must not take all that there are.
	r.places <- struct{}{}
	defer func() { <-r.places }()
	r.limiter.acquire(r.uid)
	defer r.limiter.release(r.uid)
	if !probe && r.gate.isClosed() {
		return errGateClosed
	}
	ctx, cancel := r.bounded()
	defer cancel()
	return classify(r.client.Create(ctx, object, options...))
}

func (r *requests) readJob(name string) (*batchv1.Job, error) {
	existing := &batchv1.Job{}
	return existing, r.read(name, existing)
}

func (r *requests) readSecret(name string) (*metav1.PartialObjectMetadata, error) {
	existing := named(name)
	return existing, r.read(name, existing)
}

func (r *requests) read(name string, into client.Object) error {
	ctx, cancel := r.bounded()
	defer cancel()
	err := r.reader.Get(ctx, types.NamespacedName{Namespace: r.namespace, Name: name}, into)
	if err == nil || apierrors.IsNotFound(err) {
		return err
	}
	return blockedBy(err)
}

// patchReceipt writes a message's receipt onto the Job that answers for it, unless somebody else changed the Job since it was
// read: it may bear a later one by now.
func (r *requests) patchReceipt(existing *batchv1.Job, receipt job.Receipt) error {
	changed := existing.DeepCopy()
	maps.Copy(changed.Annotations, receipt.Annotations())
	err := r.patch(changed, existing)
	if err == nil || !IsDenied(err) && (apierrors.IsNotFound(err) || apierrors.IsConflict(err)) {
		return err
	}
	return blockedBy(err)
}

// patchOwner makes a Secret a Job's own, unless somebody changed it since it was read.
func (r *requests) patchOwner(existing *metav1.PartialObjectMetadata, owner *batchv1.Job) error {
	changed := existing.DeepCopy()
	job.OwnSecret(owner, changed)
	err := r.patch(changed, existing)
	if err == nil || !IsDenied(err) && (apierrors.IsNotFound(err) || apierrors.IsConflict(err)) {
		return err
	}
	return classify(err)
}

// patch writes what was changed of an object, unless somebody else changed it meanwhile.
func (r *requests) patch(changed, existing client.Object) error {
	ctx, cancel := r.bounded()
	defer cancel()
	return r.client.Patch(ctx, changed, client.MergeFromWithOptions(existing, client.MergeFromWithOptimisticLock{}))
}

// deleteSecret deletes a Secret, unless somebody changed it since it was read.
func (r *requests) deleteSecret(secret *corev1.Secret) error {
	ctx, cancel := r.bounded()
	defer cancel()
	return WithoutValues(client.IgnoreNotFound(r.client.Delete(ctx, secret,
		client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion})))
}

// named is a Secret of which no more is known than its name.
func named(name string) *metav1.PartialObjectMetadata {
	return partial(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

// partial is what is known of a Secret without its data, which may be a mebibyte.
func partial(secret *corev1.Secret) *metav1.PartialObjectMetadata {
	existing := &metav1.PartialObjectMetadata{ObjectMeta: *secret.ObjectMeta.DeepCopy()}
	existing.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return existing
}
