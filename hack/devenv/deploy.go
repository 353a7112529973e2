package devenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// OperatorOverlay is the kustomization of the operator as it is installed unless another is named.
const OperatorOverlay = "hack/devenv/operator"

// Where the overlay in hack/devenv/operator puts the operator, and the Secret that it refers to.
const (
	operatorNamespace = "queuebinding-system"
	queueSecret       = "devenv-queue"
)

// deployments are those of the operator and of the requeue subresource.
var deployments = []string{"deployment/queuebinding-controller-manager", "deployment/queuebinding-apiserver"}

// Deploy installs the operator in the environment in dir: its manifests for everybody, by an overlay over [OperatorOverlay] or by that
// itself, its image out of archive, and the way to the queue. It returns once all replicas are ready.
func Deploy(ctx context.Context, layout Layout, dir, overlay, archive string, out io.Writer) error {
	access, err := ReadAccess(dir)
	if err != nil {
		return fmt.Errorf("the environment is not up: %w", err)
	}
	if access.PodSQSEndpoint == "" {
		return errors.New("the environment has no real node or no queue, so that no operator can run inside it: start it with NODE=real")
	}
	if err := Load(ctx, dir, archive); err != nil {
		return err
	}
	kubectl := func(args ...string) error {
		cmd := exec.CommandContext(ctx, layout.Asset("kubectl"), append([]string{"--kubeconfig=" + access.Kubeconfig}, args...)...)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("kubectl %s: %w", args[0], err)
		}
		return nil
	}
	client, err := clientFor(access)
	if err != nil {
		return err
	}
	_, absent := client.CoreV1().Secrets(operatorNamespace).Get(ctx, queueSecret, metav1.GetOptions{})
	// Server-side, so that a second deployment need not know what the first one said.
	if err := kubectl("apply", "--server-side", "-k", filepath.Join(layout.Root, overlay)); err != nil {
		return err
	}
	if err := writeQueueSecret(ctx, client, access); err != nil {
		return err
	}
	if absent == nil {
		// The image has the same name each time, so that its Pods would not notice a new one.
		if err := kubectl(append([]string{"rollout", "restart", "-n", operatorNamespace}, deployments...)...); err != nil {
			return err
		}
	}
	for _, deployment := range deployments {
		if err := kubectl("rollout", "status", "-n", operatorNamespace, deployment, "--timeout=5m"); err != nil {
			return err
		}
	}
	return nil
}

func clientFor(access Access) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", access.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return client, nil
}

func writeQueueSecret(ctx context.Context, client kubernetes.Interface, access Access) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: queueSecret}, StringData: map[string]string{}}
	for _, v := range variables(Access{SQSEndpoint: access.PodSQSEndpoint}) {
		secret.StringData[v.name] = v.value
	}
	secrets := client.CoreV1().Secrets(operatorNamespace)
	_, err := secrets.Create(ctx, secret, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("writing Secret %s: %w", queueSecret, err)
	}
	return nil
}
