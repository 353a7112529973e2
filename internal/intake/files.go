package intake

import (
	"context"
	"errors"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// Under File delivery the Secrets that hold a message are created before its Job, so that no Job ever waits for a message which
// that Job's own slot keeps from coming back. They belong to the binding until there is the Job, and the message is acknowledged
// once they are the Job's.

// secretsOf are the Secrets that a Job needs: none where its message is not in files.
func secretsOf(target *batchv1.Job, message *queue.Message) ([]*corev1.Secret, Verdict) {
	if !job.HasFiles(target) {
		return nil, Verdict{Action: Acknowledge}
	}
	secrets, err := job.Secrets(target, message)
	if rejection, ok := errors.AsType[*job.RejectionError](err); ok {
		return nil, Verdict{Reject, rejection.Reason, rejection.Message}
	}
	return secrets, Verdict{Action: Acknowledge}
}

// store creates the Secrets of a Job that is to be made, or finds them.
func (l *Loop) store(rendered *batchv1.Job, message *queue.Message) ([]*corev1.Secret, Verdict) {
	secrets, verdict := secretsOf(rendered, message)
	for _, secret := range secrets {
		verdict = l.create(secret)
		if verdict.Action == Verify {
			verdict = l.find(secret, rendered.Name)
		}
		if verdict.Action != Acknowledge {
			break
		}
	}
	return secrets, verdict
}

// find is called where a Secret by the name exists. It may have been stored before, for a Job that there was or was not.
func (l *Loop) find(secret *corev1.Secret, jobName string) Verdict {
	existing, err := l.readSecret(secret.Name)
	switch {
	case apierrors.IsNotFound(err):
		return Verdict{Action: Retry}
	case err != nil:
		return unavailable(err)
	case job.Owner(existing) == l.uid:
		secret.UID, secret.ResourceVersion = existing.UID, existing.ResourceVersion
		return Verdict{Action: Acknowledge}
	case !ofAJob(existing, jobName):
		return nameTaken(secret.Name)
	}
	switch owner, err := l.read(l.requests, jobName); {
	case err == nil && metav1.IsControlledBy(existing, owner):
		return Verdict{Action: Acknowledge}
	case err != nil && !apierrors.IsNotFound(err):
		return unavailable(err)
	}
	return uncollected(secret.Name)
}

// deliverFiles has a Job that was found have its message.
func (l *Loop) deliverFiles(owner *batchv1.Job, message *queue.Message) Verdict {
	secrets, verdict := secretsOf(owner, message)
	if verdict.Action != Acknowledge {
		return verdict
	}
	return l.handOver(secrets, owner)
}

// handOver makes Secrets a Job's own, and says then what the Job's rule has become of the message. A Job that cannot have them is
// deleted: its Pods would wait for them for ever.
func (l *Loop) handOver(secrets []*corev1.Secret, owner *batchv1.Job) Verdict {
	for _, secret := range secrets {
		verdict := l.own(partial(secret), owner)
		if verdict.Action == Retry { // somebody deleted it
			job.OwnSecret(owner, secret)
			secret.UID, secret.ResourceVersion = "", ""
			verdict = l.create(secret)
		}
		switch verdict.Action {
		case Acknowledge:
			continue
		case Verify:
			return Verdict{Action: Retry}
		case Reject:
			if err := l.delete(owner, client.Preconditions{UID: &owner.UID}); err != nil {
				return unavailable(err)
			}
		}
		return verdict
	}
	if job.Observe(owner).KeepsMessage() {
		return Verdict{Action: Keep}
	}
	return Verdict{Action: Acknowledge}
}

// own makes a Secret a Job's own, if there is one. What is known of it is read first where that is but its name.
func (l *Loop) own(secret *metav1.PartialObjectMetadata, owner *batchv1.Job) Verdict {
	if secret.UID == "" {
		existing, err := l.readSecret(secret.Name)
		if apierrors.IsNotFound(err) {
			return Verdict{Action: Retry}
		}
		if err != nil {
			return unavailable(err)
		}
		secret = existing
	}
	switch {
	case metav1.IsControlledBy(secret, owner):
		return Verdict{Action: Acknowledge}
	case ofAJob(secret, owner.Name):
		return uncollected(secret.Name)
	case job.Owner(secret) != l.uid:
		return nameTaken(secret.Name)
	}
	if err := l.patchOwner(secret, owner); err != nil {
		return unavailable(err)
	}
	return Verdict{Action: Acknowledge}
}

// claimSecrets makes the Secrets of a Job that was made earlier the Job's own. Without an error there is no more to do.
func (l *Loop) claimSecrets(record job.Record) error {
	owner, err := l.read(l.requests, record.Name)
	if apierrors.IsNotFound(err) || err == nil && owner.UID != record.UID {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range job.SecretNames(owner) {
		secret := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if verdict := l.own(secret, owner); verdict.Action == Hold {
			return errors.New(verdict.Message)
		}
	}
	return nil
}

// discard deletes Secrets whose Job is refused: the message may never come back, and they would stay as long as the binding does.
// What an operator beside this one has made a Job's meanwhile is left alone.
func (l *Loop) discard(secrets []*corev1.Secret) {
	for _, secret := range secrets {
		if secret.UID == "" {
			continue
		}
		err := l.delete(secret, client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion})
		if err != nil && !apierrors.IsConflict(err) {
			l.log.Error(err, "Could not delete the Secret of a rejected message", "secret", secret.Name)
		}
	}
}

func (l *Loop) readSecret(name string) (*metav1.PartialObjectMetadata, error) {
	ctx, cancel := context.WithTimeout(l.requests, requestTimeout)
	defer cancel()
	existing := partial(&corev1.Secret{})
	err := l.deps.Reader.Get(ctx, types.NamespacedName{Namespace: l.key.Namespace, Name: name}, existing)
	return existing, err
}

// patchOwner makes a Secret a Job's own, unless somebody changed it since it was read.
func (l *Loop) patchOwner(existing *metav1.PartialObjectMetadata, owner *batchv1.Job) error {
	ctx, cancel := context.WithTimeout(l.requests, requestTimeout)
	defer cancel()
	changed := existing.DeepCopy()
	job.OwnSecret(owner, changed)
	return l.deps.Client.Patch(ctx, changed, client.MergeFromWithOptions(existing, client.MergeFromWithOptimisticLock{}))
}

func (l *Loop) delete(target client.Object, condition client.Preconditions) error {
	ctx, cancel := context.WithTimeout(l.requests, requestTimeout)
	defer cancel()
	return client.IgnoreNotFound(l.deps.Client.Delete(ctx, target, condition, client.PropagationPolicy(metav1.DeletePropagationBackground)))
}

// partial is what is known of a Secret without its data, which may be a mebibyte.
func partial(secret *corev1.Secret) *metav1.PartialObjectMetadata {
	existing := &metav1.PartialObjectMetadata{ObjectMeta: *secret.ObjectMeta.DeepCopy()}
	existing.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return existing
}

// ofAJob is whether a Secret belongs to a Job of a name, which may be gone.
func ofAJob(secret *metav1.PartialObjectMetadata, name string) bool {
	owner := metav1.GetControllerOf(secret)
	return owner != nil && owner.Kind == "Job" && owner.Name == name
}

// uncollected has a message wait until the Secret of a Job that is gone is gone too.
func uncollected(name string) Verdict {
	return Verdict{Hold, v1alpha1.ReasonAPIServerUnavailable, "the Secret " + name + " of a deleted Job is not collected yet"}
}

func nameTaken(name string) Verdict {
	return Verdict{Reject, v1alpha1.RejectedNameTaken, "a Secret named " + name + " exists and belongs to something else"}
}
