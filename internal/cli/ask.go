package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"
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
	answer := request.DeepCopy()
	key := client.ObjectKeyFromObject(request)
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		binding := &v1alpha1.QueueBinding{}
		if err := c.Get(ctx, key, binding); err != nil {
			return err
		}
		wish, refused, err := resolve(ctx, c, binding, &request.Spec)
		if err != nil {
			return err
		}
		text := binding.Annotations[v1alpha1.AnnotationRequeue]
		merged, accepted, crowded := requeue.Note(text, wish)
		answer.Status = subresources.RequeueStatus{Accepted: accepted}
		for _, refusal := range slices.Concat(refused, crowded) {
			answer.Status.Refused = append(answer.Status.Refused, subresources.RequeueRefusal(refusal))
		}
		if dryRun || merged == text {
			return nil
		}
		before := binding.DeepCopy()
		metav1.SetMetaDataAnnotation(&binding.ObjectMeta, v1alpha1.AnnotationRequeue, merged)
		// The lock: others merge their wishes too, and the operator takes out what it has done.
		return c.Patch(ctx, binding, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	})
	return answer, err
}

// resolve finds the Jobs that are meant, and refuses those that cannot be requeued.
func resolve(ctx context.Context, c client.Reader, binding *v1alpha1.QueueBinding, spec *subresources.RequeueSpec) (requeue.Wish, []v1alpha1.RequeueRefusal, error) {
	wish := requeue.Wish{All: spec.All}
	if len(spec.JobNames) > 0 {
		var refused []v1alpha1.RequeueRefusal
		for _, name := range spec.JobNames {
			asked := &batchv1.Job{}
			switch err := c.Get(ctx, client.ObjectKey{Namespace: binding.Namespace, Name: name}, asked); {
			case apierrors.IsNotFound(err):
				refused = append(refused, requeue.NotFound(name))
			case err != nil:
				return wish, nil, err
			default:
				if refusal := requeue.Refusal(binding, asked); refusal != nil {
					refused = append(refused, *refusal)
				} else {
					wish.Names = append(wish.Names, name)
				}
			}
		}
		return wish, refused, nil
	}
	selector := labels.Everything()
	if spec.LabelSelector != nil {
		var err error
		if selector, err = metav1.LabelSelectorAsSelector(spec.LabelSelector); err != nil {
			return wish, nil, err
		}
	}
	list := &batchv1.JobList{}
	if err := c.List(ctx, list, client.InNamespace(binding.Namespace), client.MatchingLabels{v1alpha1.LabelBinding: binding.Name}); err != nil {
		return wish, nil, err
	}
	for _, record := range requeue.Select(binding, list.Items, selector, spec.Reasons) {
		wish.Names = append(wish.Names, record.Name)
	}
	return wish, nil, nil
}
