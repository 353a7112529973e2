package ledger

import (
	"sync"
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

func newTestLedger() *Ledger { return newLedger(testingclock.NewFakeClock(time.Unix(1000, 0))) }

func anActive(name string) job.Record {
	return job.Record{Name: name, State: job.Active, Pending: true, Lineage: job.Lineage{Root: name, Attempt: 1}}
}

func TestReserveStaysWithinEachLimit(t *testing.T) {
	for name, tc := range map[string]struct {
		jobs   []job.Record
		limits Limits
		want   int
	}{
		"nothing yet":            {nil, Limits{MaxActive: 3, MaxPending: -1, KeepFailed: 1000}, 3},
		"more than a batch":      {nil, Limits{MaxActive: 30, MaxPending: -1, KeepFailed: 1000}, 10},
		"active Jobs":            {[]job.Record{anActive("a"), anActive("b")}, Limits{MaxActive: 3, MaxPending: -1, KeepFailed: 1000}, 1},
		"over the limit":         {[]job.Record{anActive("a"), anActive("b")}, Limits{MaxActive: 1, MaxPending: -1, KeepFailed: 1000}, 0},
		"finished Jobs":          {[]job.Record{{Name: "a", State: job.Succeeded}, {Name: "b", State: job.Failed}}, Limits{MaxActive: 3, MaxPending: -1, KeepFailed: 1000}, 3},
		"paused":                 {nil, Limits{MaxActive: 0, MaxPending: -1, KeepFailed: 1000}, 0},
		"pending Jobs":           {[]job.Record{anActive("a")}, Limits{MaxActive: 10, MaxPending: 2, KeepFailed: 1000}, 1},
		"running Jobs":           {[]job.Record{{Name: "a", State: job.Active}}, Limits{MaxActive: 10, MaxPending: 2, KeepFailed: 1000}, 2},
		"below the failed limit": {[]job.Record{{Name: "a", State: job.Failed}}, Limits{MaxActive: 10, MaxPending: -1, KeepFailed: 2}, 10},
		"at the failed limit":    {[]job.Record{{Name: "a", State: job.Failed}, {Name: "b", State: job.Failed}}, Limits{MaxActive: 10, MaxPending: -1, KeepFailed: 2}, 0},
		"room for more bytes":    {[]job.Record{{Name: "a", State: job.Failed, StoredBytes: 99}}, Limits{MaxActive: 10, MaxPending: -1, KeepFailed: 1000, MaxStoredBytes: 100}, 10},
		"no room for more bytes": {[]job.Record{{Name: "a", State: job.Failed, StoredBytes: 100}}, Limits{MaxActive: 10, MaxPending: -1, KeepFailed: 1000, MaxStoredBytes: 100}, 0},
		"requeued Jobs":          {[]job.Record{{Name: "a", State: job.Failed, Requeued: true}, {Name: "b", State: job.Failed}}, Limits{MaxActive: 10, MaxPending: -1, KeepFailed: 2}, 10},
	} {
		t.Run(name, func(t *testing.T) {
			ledger := newTestLedger()
			for _, record := range tc.jobs {
				ledger.Observe(record)
			}
			if got := ledger.Reserve(10, tc.limits); got != tc.want {
				t.Errorf("got %d slots, want %d", got, tc.want)
			}
		})
	}
}

// P3: whatever the order of events, Jobs that exist are never more than the limit.
func TestTheLimitHoldsForAnyOrderOfEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		limits := Limits{MaxActive: limit, MaxPending: -1, KeepFailed: 1000}
		ledger := newTestLedger()
		exist := map[string]bool{} // by name, whether the ledger has seen it
		open, next := 0, 0
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"reserve", "return", "create", "reject", "see", "finish", "vanish"}).Draw(t, "step") {
			case "reserve":
				open += ledger.Reserve(rapid.IntRange(1, 10).Draw(t, "want"), limits)
			case "return":
				if open > 0 {
					open--
					ledger.Return(1)
				}
			case "create":
				if open > 0 {
					open--
					next++
					name := string(rune('a' + next))
					ledger.Assign(name)
					exist[name] = false
				}
			case "reject":
				if open > 0 {
					open--
					ledger.Assign("rejected")
					ledger.Cancel("rejected")
				}
			case "see":
				for name, seen := range exist {
					if !seen {
						ledger.Observe(anActive(name))
						exist[name] = true
						break
					}
				}
			case "finish", "vanish":
				for name, seen := range exist {
					if seen {
						delete(exist, name)
						ledger.Forget(name, "")
						break
					}
				}
			}
			if len(exist)+open > limit {
				t.Fatalf("%d Jobs and %d messages under way with a limit of %d", len(exist), open, limit)
			}
		}
	})
}

func TestAJobIsNotForgottenByAnEventOfItsPredecessor(t *testing.T) {
	ledger := newTestLedger()
	record := anActive("a")
	record.UID = "new"
	ledger.Observe(record)
	ledger.Forget("a", "old")
	if got := ledger.jobs.Active(); got != 1 {
		t.Errorf("%d active Jobs, want 1", got)
	}
}

// P2: a Job of this attempt or a later one answers for the message, an earlier one does not.
func TestFind(t *testing.T) {
	ledger := newTestLedger()
	second := anActive("a")
	second.Lineage = job.Lineage{Root: "m", Attempt: 2}
	ledger.Observe(second)
	for lineage, want := range map[job.Lineage]bool{
		{Root: "m", Attempt: 1}: true, {Root: "m", Attempt: 2}: true, {Root: "m", Attempt: 3}: false, {Root: "n", Attempt: 1}: false,
	} {
		if _, got := ledger.Find(lineage); got != want {
			t.Errorf("%+v: got %t, want %t", lineage, got, want)
		}
	}
	ledger.Forget("a", "")
	if _, ok := ledger.Find(second.Lineage); ok {
		t.Error("a Job that is gone is still there")
	}
}

func TestTheSetKeepsNothingOfABindingThatIsGone(t *testing.T) {
	ledgers := NewSet(testingclock.NewFakeClock(time.Unix(1000, 0)))
	ledgers.Attach("u", func() {})
	ledgers.Observe("u", anActive("a"))
	var group sync.WaitGroup
	group.Go(func() { ledgers.Detach("u") })
	group.Go(func() { ledgers.Forget("u", "a", "") })
	group.Wait()
	if n := len(ledgers.byUID); n != 0 {
		t.Errorf("%d ledgers are left", n)
	}
}

// Failed Jobs whose messages are on the queue are no reason to pause, unless the user says so.
func TestTheFailedJobsLimit(t *testing.T) {
	ledger := newTestLedger()
	for _, name := range []string{"a", "b"} {
		ledger.Observe(job.Record{Name: name, State: job.Failed, Receipt: job.Receipt{Handle: name}})
	}
	for policy, want := range map[v1alpha1.FailedJobsPolicy]int{"": 1, v1alpha1.PauseAtFailedJobsLimit: 0, v1alpha1.DeleteOldestFailedJobs: 1} {
		got := ledger.Reserve(1, Limits{MaxActive: 1, MaxPending: -1, KeepFailed: 2, failedPolicy: policy})
		if ledger.Return(got); got != want {
			t.Errorf("policy %q: %d slots, want %d", policy, got, want)
		}
	}
}

// The budget of failed Jobs that is told is the one that new Jobs count for.
func TestMaxFailed(t *testing.T) {
	for name, tc := range map[string]struct {
		spec v1alpha1.QueueBindingSpec
		want int
	}{
		"defaults":                          {v1alpha1.QueueBindingSpec{}, 1000},
		"a limit":                           {v1alpha1.QueueBindingSpec{FailedJobsHistoryLimit: new(int32(5))}, 5},
		"on success, without a policy":      {v1alpha1.QueueBindingSpec{Acknowledge: v1alpha1.AcknowledgeOnJobSucceeded}, Unlimited},
		"on success, to pause":              {v1alpha1.QueueBindingSpec{Acknowledge: v1alpha1.AcknowledgeOnJobSucceeded, FailedJobsPolicy: v1alpha1.PauseAtFailedJobsLimit}, 1000},
		"on creation, to delete the oldest": {v1alpha1.QueueBindingSpec{FailedJobsPolicy: v1alpha1.DeleteOldestFailedJobs}, Unlimited},
	} {
		t.Run(name, func(t *testing.T) {
			if got := MaxFailed(&tc.spec); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}
