package requeue

import (
	"context"
	"errors"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

// errNoRightToSecrets refuses a Job whose message cannot be read, as the right to Secrets can be left out.
var errNoRightToSecrets = errors.New("its message is in a Secret, which the operator may not get: ask an administrator to grant it file-delivery-role in the namespace " +
	"(config/rights/file-delivery), and then ask again")

// Secrets returns the Secrets that hold a Job's message, as far as they exist: job.MessageOf tells what is missing. There are
// none for a Job that has its message in annotations.
func Secrets(ctx context.Context, reader client.Reader, of *batchv1.Job) ([]corev1.Secret, error) {
	if !job.HasFiles(of) {
		return nil, nil
	}
	var secrets []corev1.Secret
	for _, name := range job.SecretNames(of) {
		secret := corev1.Secret{}
		err := reader.Get(ctx, types.NamespacedName{Namespace: of.Namespace, Name: name}, &secret)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read Secret %s: %w", name, err)
		}
		if holdsMessageOf(&secret, of) {
			secrets = append(secrets, secret)
		}
	}
	return secrets, nil
}

// holdsMessageOf reports whether a Secret is a Job's own, or was created for its message by its binding, which owns it at
// first. A Job's volumes could name any Secret of the namespace, and the content goes to the queue.
func holdsMessageOf(secret *corev1.Secret, of *batchv1.Job) bool {
	if metav1.IsControlledBy(secret, of) {
		return true
	}
	binding := job.Owner(secret)
	return binding != "" && binding == job.Owner(of) && secret.Labels[v1alpha1.LabelMessage] == of.Labels[v1alpha1.LabelMessage]
}
