package requeue

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// A message that is sent again carries its trace context again: by the attributes that it came with, or beside them, where it takes no
// room and its lineage is the same.
func TestAMessageCarriesItsContextAgain(t *testing.T) {
	const (
		given  = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"
		header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
	)
	bears := func(traceparent string) func(*batchv1.Job) {
		return func(j *batchv1.Job) { j.Annotations[v1alpha1.AnnotationTraceparent] = traceparent }
	}
	ofProducer := func(j *batchv1.Job) {
		j.Spec.Template.Annotations[v1alpha1.AnnotationAttributes] = `{"traceparent": "` + given + `"}`
	}
	for name, tc := range map[string]struct {
		failed *batchv1.Job
		want   string
	}{
		"none":                      {failed: aFailed("a")},
		"that of X-Ray":             {failed: aFailed("a", bears(given)), want: header},
		"that of attributes":        {failed: aFailed("a", bears(given), ofProducer)},
		"what somebody wrote on it": {failed: aFailed("a", bears("not a context"))},
	} {
		t.Run(name, func(t *testing.T) {
			to := &sink{}
			if _, err := execute(t, to, Named("a"), tc.failed); err != nil || len(to.messages) != 1 {
				t.Fatalf("sent %v: %v", to.messages, err)
			}
			sent := to.messages[0]
			if sent.TraceHeader != tc.want {
				t.Errorf("sent %q, want %q", sent.TraceHeader, tc.want)
			}
			message := &queue.Message{ID: "another", Body: sent.Body, Attributes: sent.Attributes, TraceHeader: sent.TraceHeader}
			if got, want := testKeys.Lineage(aBinding().Spec.Queue.URL, message), (job.Lineage{Root: "a", Attempt: 2}); got != want {
				t.Errorf("its lineage is %v, want %v", got, want)
			}
		})
	}
}
