package requeue

import (
	"context"
	"encoding/json"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// mark notes on the Job that its message was sent. The UID keeps it off another Job of the same name.
func (x *execution) mark(ctx context.Context, a *attempt) error {
	annotations := map[string]string{v1alpha1.AnnotationRequeuedAt: x.slice.At.UTC().Format(time.RFC3339)}
	if !a.tied {
		annotations[v1alpha1.AnnotationUntied] = "true"
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":         a.failed.UID,
		"annotations": annotations,
	}})
	if err != nil {
		return err
	}
	target := &batchv1.Job{}
	target.Namespace, target.Name = a.failed.Namespace, a.failed.Name
	err = x.Client.Patch(ctx, target, client.RawPatch(types.MergePatchType, patch))
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // its successor was seen already, or the user deleted it: the message is on the queue
	}
	return err
}
