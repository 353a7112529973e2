package intake

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// withLineage is a message that bears a lineage attribute.
func withLineage(body, lineage string) queue.Message {
	return queue.Message{ID: "message-" + body, Body: body, Attributes: queue.Attributes{
		v1alpha1.AttributeLineage: {DataType: "String", StringValue: lineage},
	}}
}

// forged is a message by a producer that claims to be an attempt at another's message. Its digest, which anybody can make, is
// what requeued messages once had in place of a signature.
func forged(body, root string, attempt int) queue.Message {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(body))))
	h.Write([]byte(body))
	return withLineage(body, fmt.Sprintf("%s/%d/%s", root, attempt, hex.EncodeToString(h.Sum(nil))[:32]))
}

// signed is a message as a requeue sends it.
func (b *bench) signed(body string, lineage job.Lineage) queue.Message {
	return withLineage(body, testKeys.Attribute(b.binding.Spec.Queue.URL, lineage, body, nil).StringValue)
}

// failedJobs are the names of those that count as failed.
func (b *bench) failedJobs() (names []string) {
	b.ledgers.Of(b.binding.UID).View(func(jobs *job.History) {
		for _, record := range jobs.Failed() {
			names = append(names, record.Name)
		}
	})
	return names
}

// A producer that forges lineages has its own messages run, swallows nobody's, and no failure is forgotten for it.
func TestAForgedLineageIsAMessageOfItsOwn(t *testing.T) {
	for name, attempt := range map[string]int{"the attempt that failed": 1, "the next": 2, "one far ahead": math.MaxInt} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(b *bench) {
				b.queue.Put("a")
				time.Sleep(time.Second)
				b.conclude(b.attempt("a", 1), batchv1.JobFailed)
				b.queue.PutMessages(forged("b", "message-a", attempt))
				time.Sleep(time.Minute)
				names, _ := b.jobs()
				slices.Sort(names)
				want := []string{b.attempt("a", 1), b.attempt("b", 1)}
				slices.Sort(want)
				if left, _ := b.queue.Left(); !slices.Equal(names, want) || left != 0 {
					t.Errorf("%d messages left and Jobs %v, want 0 and %v", left, names, want)
				}
				if got, want := b.failedJobs(), []string{b.attempt("a", 1)}; !slices.Equal(got, want) {
					t.Errorf("failed Jobs %v, want %v", got, want)
				}
			})
		})
	}
}

// A producer that claims ahead the attempt that a requeue will send has taken nothing from it.
func TestARequeueRunsWhateverWasForgedBefore(t *testing.T) {
	run(t, nil, func(b *bench) {
		b.queue.PutMessages(forged("b", "message-a", 2))
		time.Sleep(time.Second)
		b.queue.PutMessages(b.signed("a", job.Lineage{Root: "message-a", Attempt: 2}))
		time.Sleep(time.Minute)
		if body := b.job(b.attempt("a", 2)).Spec.Template.Annotations[v1alpha1.AnnotationBody]; body != "a" {
			t.Errorf("the requeued message's Job has body %s", body)
		}
	})
}

// However great the attempt of a failed Job is, the search for the next one ends, and its slot is free again.
func TestTheSearchForTheNextAttemptEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		message func(*bench) queue.Message
		want    int // Jobs
	}{
		"at a forged attempt": {
			func(*bench) queue.Message { return forged("a", "message-x", math.MaxInt) }, 2,
		},
		"after the last attempt": {
			func(b *bench) queue.Message {
				return b.signed("a", job.Lineage{Root: "message-a", Attempt: job.MaxAttempts})
			}, 1,
		},
	} {
		for _, seen := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, its Job seen: %t", name, seen), func(t *testing.T) {
				run(t, onJobSucceeded, func(b *bench) {
					b.queue.PutMessages(tc.message(b))
					time.Sleep(time.Second)
					names, _ := b.jobs()
					failed := names[0]
					b.conclude(failed, batchv1.JobFailed)
					if !seen { // somebody took its label off
						b.ledgers.Forget(b.binding.UID, failed, b.job(failed).UID)
					}
					time.Sleep(10 * time.Minute)
					names, most := b.jobs()
					if len(names) != tc.want || most != 1 {
						t.Errorf("Jobs %v, made up to %d times; want %d", names, most, tc.want)
					}
					b.free()
				})
			})
		}
	}
}

// free fails the test where not all slots that no Job has can be used.
func (b *bench) free() {
	b.t.Helper()
	list := &batchv1.JobList{}
	if err := b.client.List(b.t.Context(), list, client.InNamespace("batch")); err != nil {
		b.t.Fatal(err)
	}
	for i := range list.Items {
		if len(list.Items[i].Status.Conditions) == 0 {
			b.conclude(list.Items[i].Name, batchv1.JobComplete)
		}
	}
	b.queue.Put("y", "z")
	time.Sleep(time.Minute)
	b.job(b.attempt("y", 1))
	b.job(b.attempt("z", 1))
}
