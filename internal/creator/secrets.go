package creator

import (
	"errors"
	"fmt"

	"github.com/go-logr/logr"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

// secrets makes the Secrets exist that hold messages under File delivery. They are created before their Job, so that no Job
// ever waits for a message which that Job's own slot keeps from coming back. They belong to the binding until there is the
// Job, and the message is acknowledged once they are the Job's.
type secrets struct {
	requests *requests
	log      logr.Logger
	uid      types.UID
}

// store creates the Secrets of a Job that is to be made, unless an earlier attempt did.
func (s *secrets) store(secrets []*corev1.Secret, jobName string, probe bool) error {
	for _, secret := range secrets {
		if secret.UID != "" {
			continue
		}
		err := s.requests.create(secret, probe)
		if err == nil {
			continue
		}
		if errors.Is(err, errGateClosed) {
			return err
		}
		// Quotas and policies are asked before the API server looks whether there is one.
		found := s.find(secret, jobName)
		if apierrors.IsNotFound(found) && !apierrors.IsAlreadyExists(err) {
			return err
		}
		if found != nil {
			return found
		}
	}
	return nil
}

// find looks for a Secret that was stored before, for a Job that there was or was not.
func (s *secrets) find(secret *corev1.Secret, jobName string) error {
	existing, err := s.requests.readSecret(secret.Name)
	switch {
	case err != nil:
		return err
	case job.Owner(existing) == s.uid && existing.DeletionTimestamp != nil:
		return uncollected(secret.Name) // it would go, and leave the Job waiting
	case job.Owner(existing) == s.uid:
		secret.UID, secret.ResourceVersion = existing.UID, existing.ResourceVersion
		return nil
	case !ofAJob(existing, jobName):
		return nameTaken("a Secret named %s exists and belongs to something else", secret.Name)
	}
	owner, err := s.requests.readJob(jobName)
	switch {
	case err == nil && metav1.IsControlledBy(existing, owner):
		return nil
	case err != nil && !apierrors.IsNotFound(err):
		return err
	}
	return uncollected(secret.Name)
}

// handOver makes Secrets a Job's own.
func (s *secrets) handOver(secrets []*corev1.Secret, owner *batchv1.Job) error {
	for _, secret := range secrets {
		err := s.own(partial(secret), owner)
		if apierrors.IsNotFound(err) { // somebody deleted it
			if job.Observe(owner).State == job.Succeeded {
				continue // it is of no use any more
			}
			job.OwnSecret(owner, secret)
			secret.UID, secret.ResourceVersion = "", ""
			err = s.requests.create(secret, true) // the Job is there and waits for it
		}
		if apierrors.IsAlreadyExists(err) {
			return apierrors.NewNotFound(corev1.Resource("secrets"), secret.Name) // somebody created it meanwhile: look again
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// own makes a Secret a Job's own. Where no more is known of it than its name, it is read first; a NotFound error says that
// there is none.
func (s *secrets) own(secret *metav1.PartialObjectMetadata, owner *batchv1.Job) error {
	if secret.UID == "" {
		existing, err := s.requests.readSecret(secret.Name)
		if err != nil {
			return err
		}
		secret = existing
	}
	switch {
	case metav1.IsControlledBy(secret, owner):
		return nil
	case ofAJob(secret, owner.Name):
		return uncollected(secret.Name)
	case job.Owner(secret) != s.uid:
		return nameTaken("a Secret named %s exists and belongs to something else", secret.Name)
	}
	err := s.requests.patchOwner(secret, owner)
	if apierrors.IsConflict(err) { // somebody was faster
		return s.own(named(secret.Name), owner)
	}
	if rejection, ok := errors.AsType[*job.RejectionError](err); ok {
		// The Job has it all the same.
		s.log.Info("A Secret stays the binding's, as it may not be made its Job's", "secret", secret.Name, "cause", rejection.Message)
		return nil
	}
	return err
}

// discard deletes Secrets that have no Job: the message may never come back, and they would stay as long as the binding does.
// What is a Job's meanwhile is left alone.
func (s *secrets) discard(secrets []*corev1.Secret) {
	for _, secret := range secrets {
		if secret.UID == "" {
			continue
		}
		if err := s.requests.deleteSecret(secret); err != nil && !apierrors.IsConflict(err) {
			s.log.Error(err, "Could not delete the Secret of a message without a Job", "secret", secret.Name)
		}
		secret.UID, secret.ResourceVersion = "", ""
	}
}

// ofAJob reports whether a Secret belongs to a Job of a name, which may be gone.
func ofAJob(secret *metav1.PartialObjectMetadata, name string) bool {
	owner := metav1.GetControllerOf(secret)
	return owner != nil && owner.Kind == "Job" && owner.Name == name
}

// uncollected has a message wait until a Secret is gone that goes: that of a Job that is gone, or one that somebody deleted.
func uncollected(name string) error {
	return &BlockedError{v1alpha1.ReasonAPIServerUnavailable, fmt.Errorf("%w: %s", errUncollected, name)}
}
