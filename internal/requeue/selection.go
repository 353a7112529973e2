package requeue

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

// Selection is which Jobs of a binding a Requeue means.
type Selection struct {
	// All selects all failed Jobs. Names then tells which these are by now; the leader settles it.
	All bool
	// Names are the Jobs that can be requeued.
	Names []string
	// Refused are the Jobs that were named and cannot be requeued.
	Refused []v1alpha1.RequeueRefusal
}

// Status returns the answer to a Requeue, with the refusals in order of their names.
func (s Selection) Status() subresources.RequeueStatus {
	status := subresources.RequeueStatus{Accepted: s.Names}
	for _, refusal := range s.Refused {
		status.Refused = append(status.Refused, subresources.RequeueRefusal(refusal))
	}
	slices.SortFunc(status.Refused, func(a, b subresources.RequeueRefusal) int { return strings.Compare(a.JobName, b.JobName) })
	return status
}

// Resolver finds the Jobs that a Requeue means.
type Resolver struct {
	// Jobs reads Jobs. It may be a cache of trimmed ones, which may be behind.
	Jobs client.Reader
	// Live reads Jobs from the API server. It is asked before a Job is refused; nil if Jobs reads live.
	Live client.Reader
}

// Resolve returns the selection that a valid spec makes of a binding's Jobs, as they are by now.
func (r *Resolver) Resolve(ctx context.Context, binding *v1alpha1.QueueBinding, spec *subresources.RequeueSpec) (Selection, error) {
	if len(spec.JobNames) > 0 {
		return r.byName(ctx, binding, spec.JobNames)
	}
	selector := labels.Everything()
	if spec.LabelSelector != nil {
		var err error
		if selector, err = metav1.LabelSelectorAsSelector(spec.LabelSelector); err != nil {
			return Selection{}, fmt.Errorf("label selector: %w", err)
		}
	}
	list := &batchv1.JobList{}
	if err := r.Jobs.List(ctx, list, client.InNamespace(binding.Namespace), client.MatchingLabels{v1alpha1.LabelBinding: binding.Name},
		client.UnsafeDisableDeepCopy); err != nil { // a cache may hold thousands, and they are only read
		return Selection{}, fmt.Errorf("list Jobs: %w", err)
	}
	return Selection{All: spec.All, Names: failedJobs(binding, list.Items, selector, spec.Reasons)}, nil
}

func (r *Resolver) byName(ctx context.Context, binding *v1alpha1.QueueBinding, names []string) (Selection, error) {
	refusals := make([]*v1alpha1.RequeueRefusal, len(names))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, name := range names {
		group.Go(func() (err error) {
			refusals[i], err = r.refusal(groupCtx, binding, name)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Selection{}, err
	}
	var selection Selection
	for i, name := range names {
		if refusals[i] != nil {
			selection.Refused = append(selection.Refused, *refusals[i])
		} else {
			selection.Names = append(selection.Names, name)
		}
	}
	slices.Sort(selection.Names)
	return selection, nil
}

// refusal returns why a name cannot be requeued, or nil. What a cache says in a Job's favour is believed: a failed Job stays
// failed, and the leader looks again.
func (r *Resolver) refusal(ctx context.Context, binding *v1alpha1.QueueBinding, name string) (*v1alpha1.RequeueRefusal, error) {
	refusal, err := refusalFrom(ctx, r.Jobs, binding, name)
	if err != nil || refusal == nil || r.Live == nil {
		return refusal, err
	}
	return refusalFrom(ctx, r.Live, binding, name)
}

func refusalFrom(ctx context.Context, reader client.Reader, binding *v1alpha1.QueueBinding, name string) (*v1alpha1.RequeueRefusal, error) {
	candidate := &batchv1.Job{}
	err := reader.Get(ctx, client.ObjectKey{Namespace: binding.Namespace, Name: name}, candidate)
	if apierrors.IsNotFound(err) {
		refusal := notFound(name)
		return &refusal, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Job %s: %w", name, err)
	}
	return Refusal(binding, candidate), nil
}

// failedJobs returns the names of a binding's failed Jobs that are not on their way back already, oldest first. Reasons are
// those of the condition Failed; none means any.
func failedJobs(binding *v1alpha1.QueueBinding, jobs []batchv1.Job, selector labels.Selector, reasons []string) []string {
	var selected []job.Record
	for i := range jobs {
		record := job.Observe(&jobs[i])
		if Refusal(binding, &jobs[i]) != nil || record.Sent || record.Deleting {
			continue
		}
		if !selector.Matches(labels.Set(jobs[i].Labels)) || len(reasons) > 0 && !slices.Contains(reasons, record.Reason) {
			continue
		}
		selected = append(selected, record)
	}
	slices.SortFunc(selected, func(a, b job.Record) int {
		if c := a.Finished.Compare(b.Finished); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	var names []string
	for _, record := range selected {
		names = append(names, record.Name)
	}
	return names
}
