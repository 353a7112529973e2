package cli

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/requeue"
)

// post asks the subresource.
func post(ctx context.Context, d dynamic.Interface, request *subresources.Requeue, dryRun bool) (*subresources.Requeue, error) {
	body, err := runtime.DefaultUnstructuredConverter.ToUnstructured(request)
	if err != nil {
		return nil, err
	}
	options := metav1.CreateOptions{}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	said, err := d.Resource(subresources.GroupVersion.WithResource("queuebindings")).Namespace(request.Namespace).
		Create(ctx, &unstructured.Unstructured{Object: body}, options, "requeue")
	if err != nil {
		return nil, err
	}
	answer := &subresources.Requeue{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(said.Object, answer); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return answer, nil
}

// isAbsent reports whether an error says that there is no such API. Where it is the binding that is not there, the API says
// so with the binding's group.
func isAbsent(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details == nil || details.Group != v1alpha1.GroupVersion.Group
}

// annotate does what the subresource does, with the caller's own rights.
func annotate(ctx context.Context, c client.Client, request *subresources.Requeue, dryRun bool) (*subresources.Requeue, error) {
	intents := requeue.IntentStore{Reader: c, Writer: c}
	binding, err := intents.Binding(ctx, client.ObjectKeyFromObject(request))
	if err != nil {
		return nil, err
	}
	resolver := requeue.Resolver{Jobs: c}
	selection, err := resolver.Resolve(ctx, binding, &request.Spec)
	if err != nil {
		return nil, err
	}
	if selection, err = intents.Add(ctx, binding, selection, dryRun); err != nil {
		return nil, err
	}
	answer := request.DeepCopy()
	answer.Status = selection.Status()
	return answer, nil
}
