package requeue

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/internal/job"
)

// Secrets reads the Secrets that hold a Job's message, as far as they exist: job.MessageOf tells what is missing. There are
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
		// The Job's own only: its volumes could name any Secret of the namespace, and the content goes to the queue.
		if metav1.IsControlledBy(&secret, of) {
			secrets = append(secrets, secret)
		}
	}
	return secrets, nil
}
