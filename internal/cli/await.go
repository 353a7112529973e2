package cli

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/requeue"
)

// awaitInterval is how often the cluster is asked how far a requeue is.
const awaitInterval = 500 * time.Millisecond

// await waits until the messages of all accepted Jobs are back on the queue.
func (o *requeuer) await(ctx context.Context, c client.Reader, answer *subresources.Requeue) error {
	bar := newProgress(o.plugin, "back on the queue")
	defer bar.end()
	deadline := o.Clock.Now().Add(o.timeout)
	for {
		sent, left, err := outstanding(ctx, c, answer)
		if err != nil {
			return err
		}
		bar.show(sent, len(answer.Status.Accepted))
		switch {
		case sent == len(answer.Status.Accepted):
			return nil
		case left == 0:
			// The operator is done with the request, and these it did not send.
			return &failure{
				code: codeRefused, err: fmt.Errorf("the operator refused %s", plural(len(answer.Status.Accepted)-sent, "Job")),
				next: fmt.Sprintf("see status.lastRequeue in `kubectl get queuebinding %s -n %s -o yaml`", answer.Name, answer.Namespace),
			}
		case o.Clock.Now().After(deadline):
			return &failure{
				code: codeTimeout, err: fmt.Errorf("after %s, %d of %d are back on the queue", o.timeout, sent, len(answer.Status.Accepted)),
				next: fmt.Sprintf("the request stands and goes on; see what stops it with `kubectl queuebinding describe %s -n %s`", answer.Name, answer.Namespace),
			}
		}
		select {
		case <-o.Clock.After(awaitInterval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// outstanding counts, of the accepted Jobs, those whose message was sent and those that the operator has yet to look at.
// It reads no Job whole: with their messages they are large.
func outstanding(ctx context.Context, c client.Reader, answer *subresources.Requeue) (sent, left int, err error) {
	binding := &v1alpha1.QueueBinding{}
	if err := c.Get(ctx, client.ObjectKeyFromObject(answer), binding); err != nil {
		return 0, 0, err
	}
	jobs := &metav1.PartialObjectMetadataList{}
	jobs.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("JobList"))
	if err := c.List(ctx, jobs, client.InNamespace(answer.Namespace), client.MatchingLabels{v1alpha1.LabelBinding: answer.Name}); err != nil {
		return 0, 0, err
	}
	present := make(map[string]bool, len(jobs.Items)) // by name: whether the message was sent
	for i := range jobs.Items {
		_, requeued := jobs.Items[i].Annotations[v1alpha1.AnnotationRequeuedAt]
		present[jobs.Items[i].Name] = requeued
	}
	asked, _ := requeue.Parse(binding.Annotations[v1alpha1.AnnotationRequeue])
	for _, name := range answer.Status.Accepted {
		requeued, exists := present[name]
		_, named := asked.Names[name]
		switch {
		case !exists: // its successor took its place
			sent++
		case named, !requeued && answer.Spec.All && asked.All:
			left++
		case requeued:
			sent++
		}
	}
	return sent, left, nil
}
