package job

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Whatever comes and goes, and in whatever order, a history is the one that the same Jobs make afresh.
func TestAHistoryIsWhatItsJobsAre(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		h := NewHistory()
		there := map[string]Record{}
		for range 300 {
			record := aRecord(random)
			if random.IntN(4) == 0 {
				h.Drop(record.Name)
				delete(there, record.Name)
			} else {
				h.Put(record)
				there[record.Name] = record
			}
			if got, want := told(h), afresh(there); got != want {
				t.Fatalf("seed %d: got %s, want %s", seed, got, want)
			}
		}
	}
}

// aRecord is one of a few Jobs of fewer messages, in any state.
func aRecord(random *rand.Rand) Record {
	n := random.IntN(12)
	record := Record{
		Name: fmt.Sprintf("job-%02d", n), UID: types.UID(fmt.Sprint(n)), Lineage: Lineage{Root: fmt.Sprint(n % 5), Attempt: 1 + n/5},
		State:   []State{Active, Succeeded, Failed, Failed}[random.IntN(4)],
		Created: time.Unix(int64(n), 0), Pending: random.IntN(2) == 0, Requeued: random.IntN(2) == 0,
	}
	if n == 11 {
		record.Lineage = Lineage{} // one that lost it
	}
	if random.IntN(3) == 0 {
		record.Receipt = Receipt{Handle: "handle"}
	}
	if record.State != Active {
		record.Pending, record.Finished = false, time.Unix(int64(random.IntN(5)), 0)
	}
	return record
}

func told(h *History) string {
	return fmt.Sprint(h.Len(), h.Active(), h.Pending(), namesOf(h.Succeeded()), namesOf(h.Failed()), namesOf(h.FailedOnQueue()), namesOf(h.Requeued()), namesOf(h.Superseded()))
}

func namesOf(records []*Record) []string {
	var names []string
	for _, r := range records {
		names = append(names, r.Name)
	}
	return names
}

// afresh sorts Jobs by going through all of them.
func afresh(there map[string]Record) string {
	newest := map[string]int{}
	for _, r := range there {
		newest[r.Lineage.Root] = max(newest[r.Lineage.Root], r.Lineage.Attempt)
	}
	active, pending := 0, 0
	var succeeded, failed, kept, requeued, superseded []*Record
	for _, r := range there {
		switch {
		case r.State == Active:
			active++
			if r.Pending {
				pending++
			}
		case r.State == Succeeded:
			succeeded = append(succeeded, &r)
		case r.Requeued && !r.MessageOnQueue() && r.Lineage.Root != "" && newest[r.Lineage.Root] > r.Lineage.Attempt:
			superseded = append(superseded, &r)
		case r.Requeued:
			requeued = append(requeued, &r)
		default:
			failed = append(failed, &r)
			if r.MessageOnQueue() {
				kept = append(kept, &r)
			}
		}
	}
	for _, list := range [][]*Record{succeeded, failed, kept, requeued, superseded} {
		slices.SortFunc(list, oldestFirst)
	}
	return fmt.Sprint(len(there), active, pending, namesOf(succeeded), namesOf(failed), namesOf(kept), namesOf(requeued), namesOf(superseded))
}

// An acknowledgement is of a Job, not of its name, and outlives what else becomes of the Job.
func TestAcknowledgementsStay(t *testing.T) {
	h := NewHistory()
	h.Put(Record{Name: "a", UID: "1", State: Succeeded})
	h.Acknowledge("a")
	h.Put(Record{Name: "a", UID: "1", State: Succeeded, Deleting: true})
	if r, _ := h.Get("a"); !r.Acknowledged {
		t.Error("a change of the Job lost the acknowledgement")
	}
	h.Put(Record{Name: "a", UID: "2", State: Active})
	if r, _ := h.Get("a"); r.Acknowledged {
		t.Error("another Job of the name has the acknowledgement")
	}
}
