package recorder_test

import (
	"strconv"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/recorder"
)

const owner = types.UID("binding")

// job is a Job of the binding, created at a revision.
func job(revision int, conditions ...batchv1.JobConditionType) *batchv1.Job {
	name := strconv.Itoa(revision)
	made := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name), ResourceVersion: name}}
	binding := &v1alpha1.QueueBinding{ObjectMeta: metav1.ObjectMeta{Name: "pings", UID: owner}}
	made.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(binding, v1alpha1.GroupVersion.WithKind("QueueBinding"))}
	for _, condition := range conditions {
		made.Status.Conditions = append(made.Status.Conditions, batchv1.JobCondition{Type: condition, Status: corev1.ConditionTrue})
	}
	return made
}

func TestJobsStayWhenTheyGo(t *testing.T) {
	r := recorder.New()
	r.Observe(watch.Added, job(2))
	r.Observe(watch.Added, job(1))
	r.Observe(watch.Modified, job(1, batchv1.JobFailed))
	r.Observe(watch.Deleted, job(1, batchv1.JobFailed))
	r.Observe(watch.Modified, job(2, batchv1.JobComplete))
	jobs := r.Jobs("default")
	if len(jobs) != 2 || jobs[0].Name != "1" {
		t.Fatalf("got %v, want two Jobs in the order of their creation", jobs)
	}
	if first := jobs[0]; !first.Failed || !first.Gone || first.Succeeded() || first.Active() {
		t.Errorf("got %+v, want a failed Job that is gone", first)
	}
	if second := jobs[1]; !second.Succeeded() || second.Failed || second.Gone || second.Active() {
		t.Errorf("got %+v, want a Job that succeeded", second)
	}
}

// A limit that was kept must not look passed because the end of the old Jobs is seen after the beginning of the new.
func TestPeakAfterAGap(t *testing.T) {
	r := recorder.New()
	r.ReplaceJobs([]client.Object{job(1), job(2)})
	if r.Gaps() != 0 {
		t.Errorf("got %d gaps at the beginning, want none", r.Gaps())
	}
	r.ReplaceJobs([]client.Object{job(4), job(3), job(2, batchv1.JobComplete)}) // and 1 is gone
	if r.Gaps() != 1 {
		t.Errorf("got %d gaps, want 1", r.Gaps())
	}
	if peak := r.Peak(owner); peak != 2 {
		t.Errorf("got a peak of %d, want 2", peak)
	}
	if first := r.Jobs("default")[0]; !first.Gone {
		t.Error("a Job that went unseen does not count as gone")
	}
}

// The Jobs of another operator's object are counted as those of a binding.
func TestPeakOfAnotherController(t *testing.T) {
	r := recorder.New()
	for revision := range 3 {
		made := job(revision + 1)
		made.OwnerReferences[0].APIVersion, made.OwnerReferences[0].Kind = "keda.sh/v1alpha1", "ScaledJob"
		r.Observe(watch.Added, made)
	}
	if peak := r.Peak(owner); peak != 3 {
		t.Errorf("got a peak of %d, want 3", peak)
	}
}
