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

// metadataPageSize is how many Jobs' metadata is read at a time. Each has a few kilobytes.
const metadataPageSize = 500

// Selection is which Jobs of a binding a Requeue means.
type Selection struct {
	// All selects all failed Jobs. Names then tells which these are by now; the leader settles it.
	All bool
	// Names are the Jobs that can be requeued, as far as is known: the leader looks at each again.
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
	// Live reads Jobs from the API server. It is asked before a Job is refused for what may have changed; nil if Jobs reads live.
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

// byName resolves names. A few are read one by one. For many there is one list of metadata, whoever asks: what that cannot tell
// of a Job is left to the leader, which reads it whole.
func (r *Resolver) byName(ctx context.Context, binding *v1alpha1.QueueBinding, names []string) (Selection, error) {
	candidates := make([]*candidate, len(names))
	var doubtful []*candidate
	for i, name := range names {
		candidates[i] = &candidate{name: name}
		settled := false
		if r.Live != nil {
			var err error
			if settled, err = candidates[i].lookUp(ctx, r.Jobs, binding); err != nil {
				return Selection{}, err
			}
		}
		if !settled {
			doubtful = append(doubtful, candidates[i])
		}
	}
	live := r.Live
	if live == nil {
		live = r.Jobs
	}
	var err error
	if len(doubtful) > parallel {
		if doubtful, err = compare(ctx, live, binding, doubtful); err != nil {
			return Selection{}, err
		}
	}
	if len(doubtful) <= parallel {
		err = readEach(ctx, live, binding, doubtful)
	}
	return selectionOf(candidates), err
}

// candidate is a Job that was named, and what is known of it.
type candidate struct {
	name string
	// version is the resourceVersion that the Job was read with, empty if it was not found.
	version string
	refusal *v1alpha1.RequeueRefusal
}

// lookUp reads a Job and reports whether what was found will stay so, even if the reader is behind: a failed Job stays failed, a
// succeeded one succeeded, and whose it is does not change.
func (c *candidate) lookUp(ctx context.Context, reader client.Reader, binding *v1alpha1.QueueBinding) (settled bool, err error) {
	found := &batchv1.Job{}
	err = reader.Get(ctx, client.ObjectKey{Namespace: binding.Namespace, Name: c.name}, found)
	if apierrors.IsNotFound(err) {
		c.version, c.refusal = "", new(notFound(c.name))
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read Job %s: %w", c.name, err)
	}
	c.version, c.refusal = found.ResourceVersion, Refusal(binding, found)
	return c.refusal == nil || c.refusal.Reason == v1alpha1.RefusedNotOwned || job.Observe(found).State != job.Active, nil
}

// compare settles candidates by one list of the metadata of the binding's Jobs, and returns those that it cannot settle. These
// are no longer refused.
func compare(ctx context.Context, live client.Reader, binding *v1alpha1.QueueBinding, candidates []*candidate) (rest []*candidate, err error) {
	byName := make(map[string]*candidate, len(candidates))
	for _, c := range candidates {
		byName[c.name] = c
	}
	list := &metav1.PartialObjectMetadataList{}
	options := []client.ListOption{client.InNamespace(binding.Namespace), client.MatchingLabels{v1alpha1.LabelBinding: binding.Name}, client.Limit(metadataPageSize)}
	for {
		list.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("JobList"))
		if err := live.List(ctx, list, options...); err != nil {
			return nil, fmt.Errorf("list the metadata of Jobs: %w", err)
		}
		for i := range list.Items {
			found := &list.Items[i]
			c, asked := byName[found.Name]
			if !asked {
				continue
			}
			delete(byName, found.Name)
			switch {
			case job.Owner(found) != binding.UID:
				c.refusal = new(notOwned(c.name, binding))
			case c.refusal != nil && c.version == found.ResourceVersion:
				// Nothing has changed since it was read.
			default:
				c.refusal = nil
				rest = append(rest, c)
			}
		}
		if list.Continue == "" {
			break
		}
		options = append(options[:3:3], client.Continue(list.Continue))
	}
	for _, c := range byName {
		c.refusal = new(notFound(c.name))
	}
	return rest, nil
}

// readEach reads candidates one by one.
func readEach(ctx context.Context, live client.Reader, binding *v1alpha1.QueueBinding, candidates []*candidate) error {
	group, groupCtx := errgroup.WithContext(ctx)
	for _, c := range candidates {
		group.Go(func() error {
			_, err := c.lookUp(groupCtx, live, binding)
			return err
		})
	}
	return group.Wait()
}

// selectionOf divides candidates into those that can be requeued, in order of their names, and those that are refused.
func selectionOf(candidates []*candidate) Selection {
	var selection Selection
	for _, c := range candidates {
		if c.refusal != nil {
			selection.Refused = append(selection.Refused, *c.refusal)
		} else {
			selection.Names = append(selection.Names, c.name)
		}
	}
	slices.Sort(selection.Names)
	return selection
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
