package controller

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
)

// manyJobs are the Jobs of a binding, n of each state.
func manyJobs(n int) *job.History {
	jobs := job.NewHistory()
	for i := range n {
		for _, state := range []job.State{job.Active, job.Succeeded, job.Failed} {
			jobs.Put(aJob(fmt.Sprintf("%s-%d", state, i), state, i))
		}
	}
	return jobs
}

// A status must cost the same however many Jobs a binding keeps: it is made anew after each that comes or goes.
func TestAStatusCostsTheSameAtAnyNumberOfJobs(t *testing.T) {
	binding := aBinding()
	binding.Spec.FailedJobsHistoryLimit = new(int32(1 << 30))
	binding.Spec.SuccessfulJobsHistoryLimit = new(int32(1 << 30))
	cost := func(n int) float64 {
		jobs := manyJobs(n)
		return testing.AllocsPerRun(10, func() {
			statusOf(binding, fine(func(o *observed) { o.history = historyOf(jobs, ledger.LimitsOf(&binding.Spec, 0), time.Now()) }), metav1.Now())
		})
	}
	if few, many := cost(100), cost(10_000); many > few {
		t.Errorf("a status takes %.0f allocations at 100 Jobs of each state and %.0f at 10,000", few, many)
	}
}

// BenchmarkAJobFinishes has one of 10,000 Jobs finish, the oldest go, and the status told.
func BenchmarkAJobFinishes(b *testing.B) {
	binding := aBinding()
	jobs := manyJobs(10_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		jobs.Put(aJob(fmt.Sprintf("new-%d", i), job.Active, 0))
		jobs.Put(aJob(fmt.Sprintf("new-%d", i), job.Succeeded, 10_000+i))
		jobs.Drop(jobs.Succeeded()[0].Name)
		statusOf(binding, fine(func(o *observed) { o.history = historyOf(jobs, ledger.LimitsOf(&binding.Spec, 0), time.Now()) }), metav1.Now())
	}
}
