package main

import (
	"slices"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

func job(name, messageID, attempt string, conditions ...batchv1.JobConditionType) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: types.UID("uid-" + name),
		Annotations: map[string]string{"queuebinding.dev/message-id": messageID, "queuebinding.dev/attempt": attempt},
	}}
	for _, condition := range conditions {
		j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: condition, Status: corev1.ConditionTrue})
	}
	return j
}

func TestJobLogCountsThePeak(t *testing.T) {
	log := newJobLog()
	for _, event := range []watch.Event{
		{Type: watch.Added, Object: job("a", "m1", "1")},
		{Type: watch.Added, Object: job("b", "m2", "1")},
		{Type: watch.Modified, Object: job("a", "m1", "1")},
		// About to fail, but not yet: it still takes its place.
		{Type: watch.Modified, Object: job("a", "m1", "1", batchv1.JobFailureTarget)},
		{Type: watch.Added, Object: job("c", "m3", "1")},
		{Type: watch.Modified, Object: job("a", "m1", "1", batchv1.JobFailureTarget, batchv1.JobFailed)},
		{Type: watch.Modified, Object: job("b", "m2", "1", batchv1.JobSuccessCriteriaMet, batchv1.JobComplete)},
		{Type: watch.Deleted, Object: job("c", "m3", "1")},
		{Type: watch.Added, Object: job("d", "m4", "1")},
	} {
		log.observe(event)
	}
	got, err := log.read()
	if err != nil {
		t.Fatal(err)
	}
	if got.peak != 3 {
		t.Errorf("got peak %d, want 3", got.peak)
	}
	if count := got.count(isUnfinished); count != 1 {
		t.Errorf("got %d unfinished Jobs, want 1", count)
	}
	if got := got.of("m3"); len(got) != 1 || !got[0].gone {
		t.Errorf("a Job that went was forgotten: %v", got)
	}
	if count := countOutcome(got.of("m1"), failed); count != 1 {
		t.Errorf("got %d failed Jobs of m1, want 1", count)
	}

	log.restartPeak()
	if got, _ := log.read(); got.peak != 1 {
		t.Errorf("got peak %d after the restart, want 1", got.peak)
	}
}

func TestJobLogNamesRepeatedAttempts(t *testing.T) {
	log := newJobLog()
	for _, j := range []*batchv1.Job{
		job("a", "m1", "1"), job("b", "m1", "2"), job("c", "m2", "1"), job("d", "m2", "1"), job("e", "m2", "1"),
	} {
		log.observe(watch.Event{Type: watch.Added, Object: j})
	}
	got, _ := log.read()
	if want := []string{"attempt 1 at message m2"}; !slices.Equal(got.repeated(), want) {
		t.Errorf("got %q, want %q", got.repeated(), want)
	}
}

func TestJobLogSaysThatItIsIncomplete(t *testing.T) {
	log := newJobLog()
	log.observe(watch.Event{Type: watch.Error, Object: &metav1.Status{Message: "too old resource version"}})
	if _, err := log.read(); err == nil {
		t.Error("a watch that failed gave no error")
	}
}
