package controller

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// The keys of a Secret that holds credentials.
const (
	keyAccessKeyID     = "AWS_ACCESS_KEY_ID"
	keySecretAccessKey = "AWS_SECRET_ACCESS_KEY"
	keySessionToken    = "AWS_SESSION_TOKEN"
)

// credentialsReader reads the credentials of bindings, and remembers them for a while.
type credentialsReader struct {
	reader client.Reader
	// cluster is the cluster's name, or empty.
	cluster string
	known   rereads[queue.Credentials]
}

// of is the identity of a binding, and after how long to ask again; 0 is never. Its error is a *queue.Error of reason
// CredentialsUnavailable.
func (s *credentialsReader) of(ctx context.Context, binding *v1alpha1.QueueBinding) (queue.Credentials, time.Duration, error) {
	wanted := binding.Spec.Queue.Credentials
	switch {
	case wanted == nil:
		return queue.Credentials{}, 0, nil
	case wanted.SecretRef == nil:
		return queue.Credentials{
			RoleARN: wanted.RoleARN, ExternalID: externalID(s.cluster, binding), Session: binding.Namespace + "." + binding.Name,
		}, 0, nil
	}
	secret := types.NamespacedName{Namespace: binding.Namespace, Name: wanted.SecretRef.Name}
	return s.known.of(client.ObjectKeyFromObject(binding), secret.Name, func() (queue.Credentials, error) { return s.read(ctx, secret) })
}

// externalID is what a role's trust policy can ask for: it names the binding, and the cluster where that has a name.
func externalID(cluster string, binding *v1alpha1.QueueBinding) string {
	if cluster != "" {
		cluster += ":"
	}
	return "queuebinding:" + cluster + binding.Namespace + "/" + binding.Name
}

func (s *credentialsReader) read(ctx context.Context, key types.NamespacedName) (queue.Credentials, error) {
	secret := &corev1.Secret{}
	err := s.reader.Get(ctx, key, secret)
	switch {
	case apierrors.IsNotFound(err):
		return queue.Credentials{}, queue.Errorf(queue.CredentialsUnavailable, "there is no Secret %s in the namespace: create it with the keys %s and %s", key.Name, keyAccessKeyID, keySecretAccessKey)
	case apierrors.IsForbidden(err):
		return queue.Credentials{}, queue.Errorf(queue.CredentialsUnavailable, "the operator may not get Secret %s: ask an administrator to grant it credentials-role in namespace %s (config/rights/credentials)", key.Name, key.Namespace)
	case err != nil:
		return queue.Credentials{}, queue.Errorf(queue.Unreachable, "read Secret %s: %w", key.Name, err)
	}
	found := queue.Credentials{
		AccessKeyID:     string(secret.Data[keyAccessKeyID]),
		SecretAccessKey: string(secret.Data[keySecretAccessKey]),
		SessionToken:    string(secret.Data[keySessionToken]),
	}
	if found.AccessKeyID == "" || found.SecretAccessKey == "" {
		return queue.Credentials{}, queue.Errorf(queue.CredentialsUnavailable, "Secret %s needs the keys %s and %s", key.Name, keyAccessKeyID, keySecretAccessKey)
	}
	return found, nil
}
