package controller

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	fakeclient "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
)

// aJob has a message of its own, named like the Job, and finished at a number of seconds.
func aJob(name string, state job.State, finished int, change ...func(*record)) record {
	r := record{Name: name, State: state, Lineage: job.Lineage{Root: name, Attempt: 1}, Created: time.Unix(int64(finished), 0), Finished: time.Unix(int64(finished), 0)}
	for _, c := range change {
		c(&r)
	}
	return r
}

func attempt(root string, n int) func(*record) {
	return func(r *record) { r.Lineage = job.Lineage{Root: root, Attempt: n} }
}

func requeued(r *record) { r.Sent, r.Requeued = true, true }

func untied(r *record) { r.Sent = true }

func keeping(r *record) { r.Receipt = job.Receipt{Handle: "of " + r.Name} }

func acknowledged(r *record) { r.Acknowledged = true }

// jobsOf are Jobs as a ledger has them.
func jobsOf(records []record) *job.History {
	jobs := job.NewHistory()
	for _, r := range records {
		jobs.Put(r)
		if r.Acknowledged {
			jobs.Acknowledge(r.Name)
		}
	}
	return jobs
}

// summary is what is told of Jobs to a binding of the defaults.
func summary(records []record) history {
	return historyOf(jobsOf(records), ledger.LimitsOf(&v1alpha1.QueueBindingSpec{}, 0), time.Unix(10, 0))
}

func names(records []record) string {
	var all []string
	for _, r := range records {
		all = append(all, r.Name)
	}
	return fmt.Sprint(all)
}

func TestHistory(t *testing.T) {
	for name, tc := range map[string]struct {
		records                                             []record
		wantFailed, wantRequeued, wantSuperseded, wantSpent string
	}{
		"nothing": {nil, "[]", "[]", "[]", "[]"},
		"a failed Job stays": {
			[]record{aJob("a", job.Failed, 1)}, "[a]", "[]", "[]", "[]",
		},
		"a requeued one is not counted, and stays": {
			[]record{aJob("a", job.Failed, 1, requeued)}, "[]", "[a]", "[]", "[]",
		},
		"one whose successor will not be known is counted": {
			[]record{aJob("a", job.Failed, 1, untied)}, "[a]", "[]", "[]", "[]",
		},
		"its successor lets it go": {
			[]record{aJob("a", job.Failed, 1, requeued), aJob("b", job.Active, 0, attempt("a", 2))}, "[]", "[]", "[a]", "[]",
		},
		"not before it is marked as requeued, which the next try does": {
			[]record{aJob("a", job.Failed, 1), aJob("b", job.Failed, 2, attempt("a", 2))}, "[a b]", "[]", "[]", "[]",
		},
		"nor one that is not tied to it": {
			[]record{aJob("a", job.Failed, 1, untied), aJob("b", job.Failed, 2, attempt("a", 2))}, "[a b]", "[]", "[]", "[]",
		},
		"the successor of another message does not": {
			[]record{aJob("a", job.Failed, 1, requeued), aJob("b", job.Active, 0, attempt("c", 2))}, "[]", "[a]", "[]", "[]",
		},
		"a Job that lost its lineage is nobody's successor": {
			[]record{aJob("a", job.Failed, 1, attempt("", 0)), aJob("b", job.Failed, 2, attempt("", 0))}, "[a b]", "[]", "[]", "[]",
		},
		"the oldest succeeded ones go": {
			[]record{aJob("c", job.Succeeded, 3), aJob("a", job.Succeeded, 1), aJob("b", job.Succeeded, 2)}, "[]", "[]", "[]", "[a]",
		},
		"not before their messages are gone from the queue": {
			[]record{aJob("a", job.Succeeded, 1, keeping), aJob("b", job.Succeeded, 2, keeping, acknowledged), aJob("c", job.Succeeded, 3), aJob("d", job.Succeeded, 4)},
			"[]", "[]", "[]", "[b]",
		},
		"or cannot come back any more": {
			[]record{aJob("a", job.Succeeded, 1-12*3600, keeping), aJob("b", job.Succeeded, 2, keeping), aJob("c", job.Succeeded, 3)}, "[]", "[]", "[]", "[a]",
		},
		"an attempt whose message stayed on the queue is a record, whatever follows": {
			[]record{aJob("a", job.Failed, 1, keeping), aJob("b", job.Active, 0, attempt("a", 2), keeping)}, "[a]", "[]", "[]", "[]",
		},
		"the oldest of these go, and they alone": {
			[]record{aJob("r", job.Failed, 0), aJob("a", job.Failed, 1, keeping), aJob("b", job.Failed, 2, keeping), aJob("c", job.Failed, 3, keeping)},
			"[r a b c]", "[]", "[]", "[a]",
		},
		"failed ones do not, by default": {
			[]record{aJob("a", job.Failed, 1), aJob("b", job.Failed, 2), aJob("c", job.Failed, 3)}, "[a b c]", "[]", "[]", "[]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			spec := &v1alpha1.QueueBindingSpec{SuccessfulJobsHistoryLimit: new(int32(2)), FailedJobsHistoryLimit: new(int32(2))}
			jobs := jobsOf(tc.records)
			h := historyOf(jobs, ledger.LimitsOf(spec, 0), time.Unix(10, 0))
			got := []string{names(copied(jobs.Failed())), names(copied(jobs.Requeued())), names(h.superseded), names(h.spent)}
			if want := []string{tc.wantFailed, tc.wantRequeued, tc.wantSuperseded, tc.wantSpent}; !slices.Equal(got, want) {
				t.Errorf("failed, requeued, superseded, beyond the limits: got %v, want %v", got, want)
			}
		})
	}
}

func TestFailedJobsPolicy(t *testing.T) {
	type outcome struct {
		spent string
		stops bool
	}
	for policy, want := range map[v1alpha1.FailedJobsPolicy]struct{ records, kept outcome }{
		"":                              {outcome{"[]", true}, outcome{"[a]", false}},
		v1alpha1.PauseAtFailedJobsLimit: {outcome{"[]", true}, outcome{"[]", true}},
		v1alpha1.DeleteOldestFailedJobs: {outcome{"[a]", false}, outcome{"[a]", false}},
	} {
		spec := &v1alpha1.QueueBindingSpec{FailedJobsHistoryLimit: new(int32(2)), FailedJobsPolicy: policy}
		for rule, tc := range map[string]struct {
			change func(*record)
			want   outcome
		}{
			"OnJobCreated": {func(*record) {}, want.records}, "OnJobSucceeded": {keeping, want.kept},
		} {
			jobs := jobsOf([]record{aJob("a", job.Failed, 1, tc.change), aJob("b", job.Failed, 2, tc.change), aJob("c", job.Failed, 3, tc.change)})
			h := historyOf(jobs, ledger.LimitsOf(spec, 0), time.Unix(10, 0))
			if got := (outcome{names(h.spent), h.failedReached}); got != tc.want {
				t.Errorf("%q, Jobs under %s: deletes and stops %v, want %v", policy, rule, got, tc.want)
			}
		}
	}
}

// A status does not wait for the deletion of thousands of Jobs.
func TestDeletionsTakeTurns(t *testing.T) {
	var records []record
	deletions := atomic.Int64{}
	for i := range 2*maxDeletes + 1 {
		records = append(records, aJob(fmt.Sprint(i), job.Failed, i, func(r *record) { r.Deleting = i == 0 }))
	}
	r := &Reconciler{Client: interceptor.NewClient(fakeclient.NewFakeClient(), interceptor.Funcs{
		Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
			deletions.Add(1)
			return nil
		},
	})}
	for _, want := range []bool{true, false} {
		if more, err := r.deleteJobs(t.Context(), aBinding(), slices.Clone(records)); more != want || err != nil {
			t.Errorf("more: %t and %v, want %t", more, err, want)
		}
		records = records[:maxDeletes+1]
	}
	if deletions.Load() != 2*maxDeletes {
		t.Errorf("deleted %d Jobs", deletions.Load())
	}
}

// An operator that ends before the status counts a requeue leaves the Jobs to the next one, which counts by them.
func TestSupersededJobsStayUntilTheStatusCountsThem(t *testing.T) {
	sentAt := func(second int) func(*record) {
		return func(r *record) { r.Sent, r.Requeued, r.SentAt = true, true, time.Unix(int64(second), 0) }
	}
	found := summary([]record{
		aJob("told", job.Failed, 1, sentAt(5)), aJob("after-told", job.Active, 0, attempt("told", 2)),
		aJob("untold", job.Failed, 2, sentAt(6)), aJob("after-untold", job.Active, 0, attempt("untold", 2)),
	})
	for second, want := range map[int64]string{4: "[]", 5: "[told]", 6: "[told untold]"} {
		kept := found
		kept.superseded = slices.Clone(found.superseded)
		kept.keepUncounted(&v1alpha1.RequeueResult{Time: metav1.NewTime(time.Unix(second, 0))}, time.Unix(10, 0))
		if got := names(kept.superseded); got != want {
			t.Errorf("with a status of second %d, %s go, want %s", second, got, want)
		}
	}
}
