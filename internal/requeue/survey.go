package requeue

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

// surveyPage is how many Jobs are listed at a time, by their metadata alone.
const surveyPage = 500

// Survey is a look at all Jobs of a binding, as the API server has them: it finds what a cache that is behind does not show, and what
// an operator before this one did and did not live to tell. It reads no Job whole but those that have changed since they were seen.
type Survey struct {
	// Since and Until bound the times of the requeues that are of interest: after Since, and not after Until.
	Since, Until time.Time

	// Sent are the names of the Jobs whose messages were sent again within these times, Newest the last of the times.
	Sent   []string
	Newest time.Time
	// Late are the failed Jobs of which something else was seen so far.
	Late []job.Record

	token    string
	finished bool
}

// Survey goes on with a survey, one page at least, until it is finished or the deadline has come, and reports whether it is finished.
// seen returns what was seen of a Job.
func (e *Executor) Survey(ctx context.Context, s *Survey, binding *v1alpha1.QueueBinding, seen func(name string) (job.Record, bool), deadline time.Time) (finished bool, err error) {
	for !s.finished {
		page := &metav1.PartialObjectMetadataList{}
		page.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("JobList"))
		err := e.Reader.List(ctx, page, client.InNamespace(binding.Namespace), client.MatchingLabels{v1alpha1.LabelBinding: binding.Name},
			client.Limit(surveyPage), client.Continue(s.token))
		if s.token != "" && apierrors.IsResourceExpired(err) {
			*s = Survey{Since: s.Since, Until: s.Until} // pages are kept for some minutes only
			continue
		}
		if err != nil {
			return false, fmt.Errorf("list Jobs: %w", err)
		}
		for i := range page.Items {
			if err := e.lookAt(ctx, s, &page.Items[i], binding, seen); err != nil {
				return false, err
			}
		}
		s.token, s.finished = page.Continue, page.Continue == ""
		if !e.Clock.Now().Before(deadline) {
			break
		}
	}
	return s.finished, nil
}

func (e *Executor) lookAt(ctx context.Context, s *Survey, listed *metav1.PartialObjectMetadata, binding *v1alpha1.QueueBinding, seen func(string) (job.Record, bool)) error {
	if job.Owner(listed) != binding.UID {
		return nil
	}
	if at, _ := job.SentAt(listed); at.After(s.Since) && !at.After(s.Until) {
		s.Sent = append(s.Sent, listed.Name)
		if at.After(s.Newest) {
			s.Newest = at
		}
	}
	if known, ok := seen(listed.Name); ok && known.ResourceVersion == listed.ResourceVersion {
		return nil
	}
	current := &batchv1.Job{}
	if err := e.Reader.Get(ctx, client.ObjectKeyFromObject(listed), current); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("read Job %s: %w", listed.Name, err)
	}
	if record := job.Observe(current); job.Owner(current) == binding.UID && record.State == job.Failed {
		s.Late = append(s.Late, record)
	}
	return nil
}
