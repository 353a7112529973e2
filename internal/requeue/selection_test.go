package requeue

import (
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

var binding = &v1alpha1.QueueBinding{ObjectMeta: metav1.ObjectMeta{Name: "pings", UID: "uid"}}

// failedJob is a failed Job of the binding, changed by change.
func failedJob(name string, change ...func(*batchv1.Job)) batchv1.Job {
	j := batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Name: name, Annotations: map[string]string{}, Labels: map[string]string{"team": "net"},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "QueueBinding", Name: binding.Name, UID: binding.UID, Controller: new(true),
		}},
	}}
	j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: "BackoffLimitExceeded"}}
	for _, c := range change {
		c(&j)
	}
	return j
}

func TestFailedJobs(t *testing.T) {
	at := func(seconds int64) func(*batchv1.Job) {
		return func(j *batchv1.Job) { j.Status.Conditions[0].LastTransitionTime = metav1.Unix(seconds, 0) }
	}
	jobs := []batchv1.Job{
		failedJob("b", at(2)),
		failedJob("a", at(2)),
		failedJob("first", at(1)),
		failedJob("late", at(3), func(j *batchv1.Job) { j.Status.Conditions[0].Reason = "DeadlineExceeded" }),
		failedJob("labelled", at(4), func(j *batchv1.Job) { j.Labels["team"] = "other" }),
		failedJob("sent", func(j *batchv1.Job) { j.Annotations[v1alpha1.AnnotationRequeuedAt] = "2026-01-01T00:00:00Z" }),
		failedJob("going", func(j *batchv1.Job) { j.DeletionTimestamp = new(metav1.NewTime(time.Unix(1, 0))) }),
		failedJob("running", func(j *batchv1.Job) { j.Status.Conditions = nil }),
		failedJob("done", func(j *batchv1.Job) { j.Status.Conditions[0].Type = batchv1.JobComplete }),
		failedJob("another's", func(j *batchv1.Job) { j.OwnerReferences[0].UID = "other" }),
	}
	for name, tc := range map[string]struct {
		selector string
		reasons  []string
		want     []string
	}{
		"all, oldest first": {"", nil, []string{"first", "a", "b", "late", "labelled"}},
		"by reason":         {"", []string{"DeadlineExceeded", "Other"}, []string{"late"}},
		"by label":          {"team=other", nil, []string{"labelled"}},
		"by both":           {"team=other", []string{"DeadlineExceeded"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			selector, err := labels.Parse(tc.selector)
			if err != nil {
				t.Fatal(err)
			}
			if got := failedJobs(binding, jobs, selector, tc.reasons); !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
