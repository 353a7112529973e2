package intake

import (
	"errors"
	"slices"
	"time"

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

// claimed is how many Jobs' Secrets a loop sees to at its start: the newest. No more messages were being worked on when the
// operators before it ended, one that led and one that had been deposed.
const claimed = 2 * batchesInFlight * queue.MaxBatch

// store creates the Secrets of a Job that is to be made, unless an earlier attempt did.
func (l *Loop) store(secrets []*corev1.Secret, jobName string) Verdict {
	for _, secret := range secrets {
		if secret.UID != "" {
			continue
		}
		verdict := l.create(secret)
		if verdict.Action != Acknowledge {
			// Quotas and policies are asked before the API server looks whether there is one.
			if found := l.find(secret, jobName); found.Action != Retry || verdict.Action == Verify {
				verdict = found
			}
		}
		if verdict.Action != Acknowledge {
			return verdict
		}
	}
	return Verdict{Action: Acknowledge}
}

// find looks for a Secret that was stored before, for a Job that there was or was not.
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
	secrets, err := job.Secrets(owner, message)
	if rejection, ok := errors.AsType[*job.RejectionError](err); ok {
		return Verdict{Reject, rejection.Reason, rejection.Message}
	}
	if err != nil {
		return unavailable(err)
	}
	return l.handOver(secrets, owner)
}

// handOver makes Secrets a Job's own, and says then what the Job's rule has become of the message.
func (l *Loop) handOver(secrets []*corev1.Secret, owner *batchv1.Job) Verdict {
	record := job.Observe(owner)
	for _, secret := range secrets {
		verdict := l.own(partial(secret), owner)
		if verdict.Action == Retry { // somebody deleted it
			if record.State == job.Succeeded {
				continue // it is of no use any more
			}
			job.OwnSecret(owner, secret)
			secret.UID, secret.ResourceVersion = "", ""
			verdict = l.create(secret)
		}
		switch verdict.Action {
		case Acknowledge:
		case Verify:
			return Verdict{Action: Retry}
		default:
			return verdict
		}
	}
	if record.KeepsMessage() {
		return Verdict{Action: Keep}
	}
	return Verdict{Action: Acknowledge}
}

// own makes a Secret a Job's own. Where no more is known of it than its name, it is read first; Retry says that there is none.
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
	err := l.patchOwner(secret, owner)
	switch {
	case err == nil:
	case apierrors.IsNotFound(err):
		return Verdict{Action: Retry}
	case apierrors.IsConflict(err): // somebody was faster
		return l.own(named(secret.Name), owner)
	case Judge(err).Action == Reject:
		// The Job has it all the same.
		l.log.Info("A Secret stays the binding's, as it may not be made its Job's", "secret", secret.Name, "cause", err.Error())
	default:
		return unavailable(err)
	}
	return Verdict{Action: Acknowledge}
}

// discard deletes Secrets that have no Job: the message may never come back, and they would stay as long as the binding does.
// What is a Job's meanwhile is left alone.
func (l *Loop) discard(secrets []*corev1.Secret) {
	for _, secret := range secrets {
		if secret.UID == "" {
			continue
		}
		if err := l.delete(secret); err != nil && !apierrors.IsConflict(err) {
			l.log.Error(err, "Could not delete the Secret of a message without a Job", "secret", secret.Name)
		}
		secret.UID, secret.ResourceVersion = "", ""
	}
}

// existingJob is what the first list of a loop tells of a Job in files.
type existingJob struct {
	name    string
	uid     types.UID
	created time.Time
}

// claim makes Secrets their Jobs' own where an operator ended before it did. The message would do so too, but may not come back for
// long, or at all.
func (l *Loop) claim(jobs []existingJob) {
	slices.SortFunc(jobs, func(a, b existingJob) int { return b.created.Compare(a.created) })
	jobs = jobs[:min(len(jobs), claimed)]
	backoff := freshBackoff()
	for {
		jobs = slices.DeleteFunc(jobs, l.claimSecrets)
		if len(jobs) == 0 || l.requests.Err() != nil {
			return
		}
		sleep(l.requests, l.deps.Clock, backoff.Step())
	}
}

// claimSecrets makes the Secrets of a Job the Job's own. It is false where that is to be tried again.
func (l *Loop) claimSecrets(each existingJob) bool {
	owner, err := l.read(l.requests, each.name)
	if apierrors.IsNotFound(err) || err == nil && owner.UID != each.uid {
		return true
	}
	if err != nil {
		return false
	}
	record := job.Observe(owner)
	for _, name := range job.SecretNames(owner) {
		switch verdict := l.own(named(name), owner); verdict.Action {
		case Hold:
			l.log.V(1).Info("Could not claim a Secret", "secret", name, "cause", verdict.Message)
			return false
		case Retry:
			if record.State == job.Active && record.KeepsMessage() {
				l.giveBack(record.Receipt.Handle, 0) // nothing else tells what was in it
			}
			return true
		}
	}
	return true
}

func (l *Loop) readSecret(name string) (*metav1.PartialObjectMetadata, error) {
	ctx, cancel := l.request()
	defer cancel()
	existing := named(name)
	err := l.deps.Reader.Get(ctx, types.NamespacedName{Namespace: l.key.Namespace, Name: name}, existing)
	return existing, err
}

// patchOwner makes a Secret a Job's own, unless somebody changed it since it was read.
func (l *Loop) patchOwner(existing *metav1.PartialObjectMetadata, owner *batchv1.Job) error {
	ctx, cancel := l.request()
	defer cancel()
	changed := existing.DeepCopy()
	job.OwnSecret(owner, changed)
	return l.deps.Client.Patch(ctx, changed, client.MergeFromWithOptions(existing, client.MergeFromWithOptimisticLock{}))
}

// delete deletes a Secret, unless somebody changed it since it was read.
func (l *Loop) delete(secret *corev1.Secret) error {
	ctx, cancel := l.request()
	defer cancel()
	return client.IgnoreNotFound(l.deps.Client.Delete(ctx, secret,
		client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion}))
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
