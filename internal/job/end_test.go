package job

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An end is seen once: between a look at the Job that runs and one at the Job that has ended.
func TestObserveEnd(t *testing.T) {
	message := aMessage("{}")
	message.SentTime = time.Date(2026, 5, 1, 12, 0, 0, 250_000_000, time.UTC)
	job := func(change ...func(*batchv1.Job)) *batchv1.Job {
		made := rendered(t, aBinding(), message)
		made.UID, made.CreationTimestamp = "job", metav1.NewTime(message.SentTime.Truncate(time.Second).Add(10*time.Second))
		made.Status.StartTime = new(metav1.NewTime(made.CreationTimestamp.Add(5 * time.Second)))
		for _, c := range change {
			c(made)
		}
		if _, err := Trim(made); err != nil { // as the cache has it
			t.Fatal(err)
		}
		return made
	}
	concluded := func(kind batchv1.JobConditionType) func(*batchv1.Job) {
		return func(job *batchv1.Job) {
			job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{
				Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(job.CreationTimestamp.Add(time.Minute)),
			})
		}
	}
	finished := job().CreationTimestamp.Add(time.Minute)
	for name, tc := range map[string]struct {
		before, after *batchv1.Job
		want          End
		wantEnded     bool
	}{
		"runs":                   {job(), job(), End{}, false},
		"is about to fail":       {job(), job(concluded(batchv1.JobFailureTarget)), End{}, false},
		"succeeds":               {job(), job(concluded(batchv1.JobComplete)), End{State: Succeeded, Finished: finished, Took: 55 * time.Second, SinceSent: 69_750 * time.Millisecond}, true},
		"fails":                  {job(concluded(batchv1.JobFailureTarget)), job(concluded(batchv1.JobFailureTarget), concluded(batchv1.JobFailed)), End{State: Failed, Finished: finished, Took: 55 * time.Second, SinceSent: 69_750 * time.Millisecond}, true},
		"had ended before":       {job(concluded(batchv1.JobFailed)), job(concluded(batchv1.JobFailed)), End{}, false},
		"is another of its name": {job(func(j *batchv1.Job) { j.UID = "other" }), job(concluded(batchv1.JobFailed)), End{}, false},
		"never started, and does not say when its message was sent": {job(), job(concluded(batchv1.JobFailed), func(j *batchv1.Job) {
			j.Status.StartTime, j.Annotations = nil, nil
		}), End{State: Failed, Finished: finished, Took: time.Minute}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ended := ObserveEnd(tc.before, tc.after); got != tc.want || ended != tc.wantEnded {
				t.Errorf("got %+v, %t; want %+v, %t", got, ended, tc.want, tc.wantEnded)
			}
		})
	}
}
