package intake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/queue/fake"
)

var errQuota = apierrors.NewForbidden(schema.GroupResource{Group: "batch", Resource: "jobs"}, "x", errors.New("exceeded quota: jobs"))

// errInvalid is said of a Job that will never be accepted.
var errInvalid = apierrors.NewBadRequest("no such Job")

// refused has every creation refused.
func refused(func() error, client.Object) error { return errQuota }

// P5: an hour of refusals costs no message a second receive, which redrive policies count.
func TestMessagesAreKeptWhileTheAPIServerRefuses(t *testing.T) {
	run(t, nil, func(b *bench) {
		b.setFault(refused)
		b.queue.Put("a", "b")
		time.Sleep(time.Second)
		for range 3600 {
			if !b.queue.AllHidden() {
				t.Fatal("a message that is held became visible")
			}
			time.Sleep(time.Second)
		}
		b.queue.Put("c")
		if left, receives := b.queue.Left(); left != 3 || receives != 1 {
			t.Fatalf("%d messages left, received up to %d times; want 3, once", left, receives)
		}
		if report := b.loop.report.snapshot(); report.BlockedReason != v1alpha1.ReasonQuotaExceeded {
			t.Errorf("reported %q", report.BlockedReason)
		}
		b.setFault(nil)
		time.Sleep(2 * time.Minute)
		if names, most := b.jobs(); len(names) != 2 || most != 1 {
			t.Errorf("%d Jobs, one of them made %d times; want 2, once", len(names), most)
		}
	})
}

// failsAt has the creation of everything that belongs to the message of a body fail as a broken webhook does.
func failsAt(body string) func(func() error, client.Object) error {
	hash := job.Lineage{Root: "message-" + body, Attempt: 1}.MessageLabel()
	return func(create func() error, object client.Object) error {
		if object.GetLabels()[v1alpha1.LabelMessage] == hash {
			return apierrors.NewInternalError(errors.New(`failed calling webhook "w": unexpected end of input`))
		}
		return create()
	}
}

// P5: a message that the API server fails at goes back, and the others pass, however few slots there are.
func TestAMessageThatTheAPIServerFailsAtStopsNobody(t *testing.T) {
	for slots, delivery := range map[int32]v1alpha1.Delivery{1: v1alpha1.DeliverEnv, 5: v1alpha1.DeliverFile} {
		t.Run(fmt.Sprintf("%d slots, %s", slots, delivery), func(t *testing.T) {
			run(t, func(b *v1alpha1.QueueBinding) {
				b.Spec.Concurrency.MaxActiveJobs = new(slots)
				b.Spec.Message.Delivery = delivery
			}, func(b *bench) {
				b.setFault(failsAt("bad"))
				b.queue.Put("bad", "a", "b", "c")
				done := map[string]bool{}
				for range 60 {
					time.Sleep(time.Second)
					names, _ := b.jobs()
					for _, name := range names {
						if !done[name] {
							done[name] = true
							b.finish(name)
						}
					}
				}
				if len(done) != 3 {
					t.Errorf("%d Jobs within a minute, want 3", len(done))
				}
				if report := b.loop.report.snapshot(); report.BlockedReason != "" || report.LastRejection == nil || report.LastRejection.Reason != v1alpha1.RejectedCreateFails {
					t.Errorf("reported %+v", report)
				}
				b.setFault(nil)
				time.Sleep(15 * time.Minute)
				if names, most := b.jobs(); len(names) != 4 || most != 1 {
					t.Errorf("%d Jobs, one of them made %d times; want 4, once", len(names), most)
				}
			})
		})
	}
}

// P5: as many of them as there are slots, none of which passes, do not wait for each other's turns until all have failed often.
func TestMessagesThatTheAPIServerFailsAtHoldNobodyUpTogether(t *testing.T) {
	const slots = 20
	run(t, func(b *v1alpha1.QueueBinding) { b.Spec.Concurrency.MaxActiveJobs = new(int32(slots)) }, func(b *bench) {
		good := job.Lineage{Root: "message-good", Attempt: 1}.MessageLabel()
		b.setFault(func(create func() error, object client.Object) error {
			if label := object.GetLabels()[v1alpha1.LabelMessage]; label == good || label == (job.Lineage{Root: "sample", Attempt: 1}).MessageLabel() {
				return create()
			}
			return apierrors.NewInternalError(errors.New("replace operation does not apply"))
		})
		for n := range slots {
			b.queue.Put(fmt.Sprint(n))
		}
		b.queue.Put("good")
		time.Sleep(time.Minute)
		if names, _ := b.jobs(); len(names) != 1 {
			t.Errorf("%d Jobs within a minute, want that of the message behind", len(names))
		}
	})
}

// unanswered are the ways in which a create ends that nobody answers: webhooks may take longer, one after the other, than the
// operator or the API server waits.
var unanswered = map[string]error{
	"by the operator's clock":     context.DeadlineExceeded,
	"by that of the API server's": apierrors.NewTimeoutError("request did not complete within requested timeout", 0),
}

// P5: a webhook that hangs for one object holds up that one's message only.
func TestAMessageWhoseCreateIsNotAnsweredStopsNobody(t *testing.T) {
	for name, cause := range unanswered {
		for _, slots := range []int32{1, 5} {
			t.Run(fmt.Sprintf("%s, %d slots", name, slots), func(t *testing.T) {
				run(t, func(b *v1alpha1.QueueBinding) { b.Spec.Concurrency.MaxActiveJobs = new(slots) }, func(b *bench) {
					fails := failsAt("bad")
					b.setFault(func(create func() error, object client.Object) error {
						err := fails(create, object)
						if apierrors.IsInternalError(err) {
							time.Sleep(30 * time.Second)
							return cause
						}
						return err
					})
					b.queue.Put("bad", "a", "b", "c")
					for range 5 * 60 {
						time.Sleep(time.Second)
						names, _ := b.jobs()
						for _, name := range names {
							if b.exists(name) {
								b.finish(name)
							}
						}
					}
					if names, _ := b.jobs(); len(names) != 3 {
						t.Errorf("%d Jobs within five minutes, want 3", len(names))
					}
					if report := b.loop.report.snapshot(); report.LastRejection == nil || report.LastRejection.Reason != v1alpha1.RejectedCreateFails {
						t.Errorf("reported %+v", report)
					}
				})
			})
		}
	}
}

// P3: a message is rejected for a create that was not answered, and the create gets through after that.
func TestAnUnansweredCreateThatGetsThroughLateHasItsSlot(t *testing.T) {
	run(t, func(b *v1alpha1.QueueBinding) { b.Spec.Concurrency.MaxActiveJobs = new(int32(1)) }, func(b *bench) {
		fails, attempts := failsAt("late"), 0
		b.setFault(func(create func() error, object client.Object) error {
			err := fails(create, object)
			if !apierrors.IsInternalError(err) {
				return err
			}
			time.Sleep(30 * time.Second)
			if attempts++; attempts == 3 {
				time.AfterFunc(2*time.Second, func() {
					if err := create(); err != nil {
						t.Error(err)
					}
				})
			}
			return context.DeadlineExceeded
		})
		b.queue.Put("late")
		time.Sleep(time.Second)
		b.queue.Put("a")
		time.Sleep(5 * time.Minute)
		if names, _ := b.jobs(); len(names) != 1 || names[0] != b.attempt("late", 1) {
			t.Errorf("Jobs %v run, want only %s: there is one slot", names, b.attempt("late", 1))
		}
		if report := b.loop.report.snapshot(); report.LastRejection == nil {
			t.Error("the message was not rejected")
		}
		b.conclude(b.attempt("late", 1), batchv1.JobComplete)
		time.Sleep(time.Minute)
		b.want(0, 2, 2)
	})
}

// P5: where the API server fails at all of them it is no message's fault.
func TestAnAPIServerThatFailsAtAllRejectsNobody(t *testing.T) {
	faults := maps.Clone(unanswered)
	faults["webhook down"] = apierrors.NewInternalError(errors.New(`failed calling webhook "w": connection refused`))
	for name, cause := range faults {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(b *bench) {
				b.setFault(func(func() error, client.Object) error { return cause })
				b.queue.Put("a", "b")
				time.Sleep(time.Hour)
				if _, receives := b.queue.Left(); receives != 1 || !b.queue.AllHidden() {
					t.Errorf("received up to %d times, hidden: %t", receives, b.queue.AllHidden())
				}
			})
		})
	}
}

// A message is hidden again in time also where the visibility timeout was lowered a moment before.
func TestAShorterVisibilityTimeoutIsKeptToo(t *testing.T) {
	run(t, func(b *v1alpha1.QueueBinding) { b.Spec.Queue.VisibilityTimeoutSeconds = new(int32(3600)) }, func(b *bench) {
		time.Sleep(time.Minute)
		b.edit(func(binding *v1alpha1.QueueBinding) { binding.Spec.Queue.VisibilityTimeoutSeconds = new(int32(3)) })
		time.Sleep(queue.MaxWait + time.Second) // the poll that was open asked for the longer one
		b.setFault(refused)
		b.queue.Put("a")
		time.Sleep(time.Second)
		for range 7200 {
			time.Sleep(time.Second)
			if !b.queue.AllHidden() {
				t.Fatal("a message that is held became visible")
			}
		}
		if _, receives := b.queue.Left(); receives != 1 {
			t.Errorf("received %d times", receives)
		}
	})
}

func TestABindingThatWasSuspendedWhileRefusedGoesOnAfterwards(t *testing.T) {
	run(t, nil, func(b *bench) {
		b.setFault(refused)
		b.queue.Put("a", "b")
		time.Sleep(time.Minute)
		b.edit(func(binding *v1alpha1.QueueBinding) { binding.Spec.Suspend = true })
		time.Sleep(time.Minute)
		b.setFault(nil)
		b.edit(func(binding *v1alpha1.QueueBinding) { binding.Spec.Suspend = false })
		time.Sleep(2 * time.Minute)
		if names, _ := b.jobs(); len(names) != 2 {
			t.Errorf("%d Jobs, want 2", len(names))
		}
	})
}

// P3: a create that takes long keeps its slot, however long.
func TestASlowCreateKeepsItsSlot(t *testing.T) {
	run(t, nil, func(b *bench) {
		b.setFault(func(create func() error, _ client.Object) error {
			time.Sleep(29 * time.Second) // less than a request may take
			return create()
		})
		b.queue.Put("a", "b", "c", "d", "e")
		time.Sleep(5 * time.Minute)
		if names, _ := b.jobs(); len(names) != 2 {
			t.Errorf("%d Jobs with a limit of 2", len(names))
		}
	})
}

// P2: a Job whose creation was not answered is not made anew when it has run and is gone by the next try.
func TestAJobThatWasSeenIsNotMadeAgain(t *testing.T) {
	run(t, nil, func(b *bench) {
		lost := true
		b.setFault(func(create func() error, object client.Object) error {
			if !lost {
				return create()
			}
			lost = false
			if err := create(); err != nil {
				return err
			}
			b.finish(object.GetName())
			return context.DeadlineExceeded
		})
		b.queue.Put("a")
		time.Sleep(2 * time.Minute)
		names, most := b.jobs()
		if left, _ := b.queue.Left(); len(names) != 1 || most != 1 || left != 0 {
			t.Errorf("%d Jobs, made up to %d times, %d messages left; want 1, once, none", len(names), most, left)
		}
	})
}

// P2: a message that comes back after its Job is gone is not run again.
func TestAMessageThatComesBackIsRemembered(t *testing.T) {
	run(t, nil, func(b *bench) {
		b.queue.Put("a")
		time.Sleep(time.Minute)
		names, _ := b.jobs()
		b.finish(names[0])
		b.queue.Change(func(m []*fake.Message) { m[0].Deleted, m[0].VisibleAt = false, time.Time{} }) // as if SQS had forgotten the delete
		time.Sleep(time.Minute)
		if _, most := b.jobs(); most != 1 {
			t.Errorf("made %d times", most)
		}
		if left, _ := b.queue.Left(); left != 0 {
			t.Errorf("%d messages left", left)
		}
	})
}

// P1: once the binding is gone its Jobs are, so that nothing is deleted from the queue any more.
func TestNothingIsDeletedForABindingThatIsGone(t *testing.T) {
	for name, stopping := range map[string]bool{"and nothing else": false, "while the loop ends for another reason": true} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(b *bench) {
				time.Sleep(time.Second) // the poll is open
				if stopping {
					b.stop()
				}
				b.loop.disown()
				b.stop()
				b.queue.Put("a", "b")
				<-b.done
				if names, _ := b.jobs(); len(names) != 0 {
					t.Errorf("%d Jobs of a dead owner", len(names))
				}
				if left, _ := b.queue.Left(); left != 2 {
					t.Errorf("%d messages left, want 2", left)
				}
			})
		})
	}
}

// On SIGTERM the open poll is answered, and what it brings is handled.
func TestWhatTheLastPollBringsIsHandled(t *testing.T) {
	run(t, nil, func(b *bench) {
		time.Sleep(time.Second)
		b.stop()
		b.queue.Put("a", "b")
		<-b.done
		names, _ := b.jobs()
		if left, _ := b.queue.Left(); len(names) != 2 || left != 0 {
			t.Errorf("%d Jobs and %d messages left, want 2 and none", len(names), left)
		}
	})
}

// A loop that is to end while the API server is away gives back what it holds instead of waiting.
func TestALoopEndsWhileTheAPIServerIsAway(t *testing.T) {
	run(t, nil, func(b *bench) {
		b.setFault(refused)
		b.queue.Put("a", "b")
		time.Sleep(time.Minute)
		began := time.Now()
		b.stop()
		<-b.done
		if took := time.Since(began); took > 45*time.Second {
			t.Errorf("took %s", took)
		}
		b.queue.Change(func(messages []*fake.Message) {
			for _, message := range messages {
				if message.Deleted || message.VisibleAt.After(time.Now()) {
					t.Errorf("%s was not given back", message.ID)
				}
			}
		})
	})
}

// A time with fractions would come back from the API server without them, and have each status differ from the last.
func TestARejectionIsToldInWholeSeconds(t *testing.T) {
	run(t, nil, func(b *bench) {
		time.Sleep(300 * time.Millisecond)
		b.queue.Put("a\x00b")
		time.Sleep(time.Second)
		rejection := b.loop.report.snapshot().LastRejection
		if rejection == nil || rejection.Time.Nanosecond() != 0 {
			t.Errorf("got %+v", rejection)
		}
	})
}

// P5: expressions that do not compile any more, changed while a poll is open, stop the binding and nothing else.
func TestAMessageWaitsWhereTheVariablesDoNotCompileAnyMore(t *testing.T) {
	run(t, nil, func(b *bench) {
		time.Sleep(time.Second) // the poll is open
		settings := b.settings()
		settings.Variables = nil
		b.loop.update(settings)
		b.queue.Put("a")
		time.Sleep(time.Minute)
		if names, _ := b.jobs(); len(names) != 0 || b.queue.AllHidden() {
			t.Errorf("%d Jobs, hidden: %t; want none, and the message given back", len(names), b.queue.AllHidden())
		}
		b.loop.update(b.settings())
		time.Sleep(time.Minute)
		if names, _ := b.jobs(); len(names) != 1 {
			t.Errorf("%d Jobs once they compile, want 1", len(names))
		}
	})
}
