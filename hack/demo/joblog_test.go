package main

import (
	"slices"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/queuebinding/queuebinding/test/recorder"
)

func job(name, messageID, attempt string, conditions ...batchv1.JobConditionType) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: types.UID("uid-" + name),
		Annotations: map[string]string{"queuebinding.dev/message-id": messageID, "queuebinding.dev/attempt": attempt},
	}}
	for _, condition := range conditions {
		j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: condition, Status: corev1.ConditionTrue})
	}
	return j
}

func TestJobLogCountsThePeak(t *testing.T) {
	log := newJobLog(recorder.New(), namespace)
	for _, event := range []struct {
		kind watch.EventType
		job  *batchv1.Job
	}{
		{watch.Added, job("a", "m1", "1")},
		{watch.Added, job("b", "m2", "1")},
		{watch.Modified, job("a", "m1", "1")},
		// About to fail, but not yet: it still takes its place.
		{watch.Modified, job("a", "m1", "1", batchv1.JobFailureTarget)},
		{watch.Added, job("c", "m3", "1")},
		{watch.Modified, job("a", "m1", "1", batchv1.JobFailureTarget, batchv1.JobFailed)},
		{watch.Modified, job("b", "m2", "1", batchv1.JobSuccessCriteriaMet, batchv1.JobComplete)},
		{watch.Deleted, job("c", "m3", "1")},
		{watch.Added, job("d", "m4", "1")},
	} {
		log.recorder.Observe(event.kind, event.job)
	}
	got, err := log.read()
	if err != nil {
		t.Fatal(err)
	}
	if got.peak != 3 {
		t.Errorf("got peak %d, want 3", got.peak)
	}
	if count := got.count(recorder.Job.Active); count != 1 {
		t.Errorf("got %d active Jobs, want 1", count)
	}
	if got := got.of("m3"); len(got) != 1 || !got[0].Gone {
		t.Errorf("a Job that went was forgotten: %v", got)
	}
	if count := got.of("m1").count(isFailed); count != 1 {
		t.Errorf("got %d failed Jobs of m1, want 1", count)
	}

	log.restartPeak()
	if got, _ := log.read(); got.peak != 1 {
		t.Errorf("got peak %d after the restart, want 1", got.peak)
	}
}

func TestJobLogNamesRepeatedAttempts(t *testing.T) {
	log := newJobLog(recorder.New(), namespace)
	for _, j := range []*batchv1.Job{
		job("a", "m1", "1"), job("b", "m1", "2"), job("c", "m2", "1"), job("d", "m2", "1"), job("e", "m2", "1"),
	} {
		log.recorder.Observe(watch.Added, j)
	}
	got, _ := log.read()
	if want := []string{"attempt 1 at message m2"}; !slices.Equal(got.repeated(), want) {
		t.Errorf("got %q, want %q", got.repeated(), want)
	}
}

func TestJobLogSaysThatItIsIncomplete(t *testing.T) {
	log := newJobLog(recorder.New(), namespace)
	log.recorder.ReplaceJobs(nil) // as at the beginning
	if _, err := log.read(); err != nil {
		t.Fatal(err)
	}
	log.recorder.ReplaceJobs(nil) // as when the resource version of the watch was too old
	if _, err := log.read(); err == nil {
		t.Error("a watch that failed gave no error")
	}
}
