package apiserver

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/requeue"
)

// parallelReads is how many Jobs of one request are read from the API server at a time.
const parallelReads = 16

// selection is which Jobs a request means.
type selection struct {
	names   []string
	refused []v1alpha1.RequeueRefusal
}

// resolve finds the Jobs that a request means by now.
func (r *requeueREST) resolve(ctx context.Context, binding *v1alpha1.QueueBinding, spec *subresources.RequeueSpec) (selection, error) {
	if len(spec.JobNames) > 0 {
		return r.named(ctx, binding, spec.JobNames)
	}
	selector := labels.Everything()
	if spec.LabelSelector != nil {
		var err error
		if selector, err = metav1.LabelSelectorAsSelector(spec.LabelSelector); err != nil {
			return selection{}, fmt.Errorf("label selector: %w", err) // validate lets none pass
		}
	}
	return r.matching(ctx, binding, selector, spec.Reasons)
}

// named looks up Jobs by name. What the cache says in a Job's favour is believed: a failed Job stays failed, and the
// leader looks again. A refusal is only given after asking the API server, as the cache may be behind.
func (r *requeueREST) named(ctx context.Context, binding *v1alpha1.QueueBinding, names []string) (selection, error) {
	var mu sync.Mutex
	var found selection
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	for _, name := range names {
		group.Go(func() error {
			refusal, err := r.look(ctx, binding, name)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if refusal != nil {
				found.refused = append(found.refused, *refusal)
			} else {
				found.names = append(found.names, name)
			}
			return nil
		})
	}
	err := group.Wait()
	slices.Sort(found.names)
	return found, err
}

func (r *requeueREST) look(ctx context.Context, binding *v1alpha1.QueueBinding, name string) (*v1alpha1.RequeueRefusal, error) {
	key := types.NamespacedName{Namespace: binding.Namespace, Name: name}
	asked := &batchv1.Job{}
	for _, reader := range []client.Reader{r.cache, r.live} {
		switch err := reader.Get(ctx, key, asked); {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, fmt.Errorf("read Job %s: %w", name, err)
		case requeue.Refusal(binding, asked) == nil:
			return nil, nil
		case reader == r.live:
			return requeue.Refusal(binding, asked), nil
		}
	}
	refusal := requeue.NotFound(name)
	return &refusal, nil
}

// matching finds the binding's failed Jobs, oldest first, that are not on their way back already.
func (r *requeueREST) matching(ctx context.Context, binding *v1alpha1.QueueBinding, selector labels.Selector, reasons []string) (selection, error) {
	list := &batchv1.JobList{}
	if err := r.cache.List(ctx, list, client.InNamespace(binding.Namespace),
		client.MatchingLabels{v1alpha1.LabelBinding: binding.Name},
		client.UnsafeDisableDeepCopy); err != nil { // thousands of Jobs, only read
		return selection{}, fmt.Errorf("list Jobs: %w", err)
	}
	var found selection
	for _, record := range requeue.Select(binding, list.Items, selector, reasons) {
		found.names = append(found.names, record.Name)
	}
	return found, nil
}
