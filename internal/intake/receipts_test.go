package intake

import (
	"context"
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/queue/fake"
)

func onJobSucceeded(b *v1alpha1.QueueBinding) {
	b.Spec.Acknowledge = v1alpha1.AcknowledgeOnJobSucceeded
}

// stayHidden fails the test where a message is visible at any second of a time.
func (b *bench) stayHidden(d time.Duration) {
	b.t.Helper()
	for range int(d / time.Second) {
		if !b.queue.AllHidden() {
			b.t.Fatal("a message became visible")
		}
		time.Sleep(time.Second)
	}
}

// want compares with how many messages are left, how often one was received at most, and how many Jobs were made, none twice.
func (b *bench) want(left, receives, jobs int) {
	b.t.Helper()
	gotLeft, gotReceives := b.queue.Left()
	names, most := b.jobs()
	if gotLeft != left || gotReceives != receives || len(names) != jobs || most > 1 {
		b.t.Errorf("%d messages left, received up to %d times, %d Jobs, made up to %d times; want %d, %d, %d, once", gotLeft, gotReceives, len(names), most, left, receives, jobs)
	}
}

// P1: the message stays on the queue, hidden, for as long as its Job runs, and goes when that has succeeded.
func TestAMessageIsKeptUntilItsJobHasSucceeded(t *testing.T) {
	run(t, onJobSucceeded, func(b *bench) {
		b.queue.Put("a", "b")
		time.Sleep(time.Second)
		b.stayHidden(2 * time.Hour)
		b.want(2, 1, 2)
		b.conclude(b.attempt("a", 1), batchv1.JobComplete)
		time.Sleep(time.Second)
		b.want(1, 1, 2)
		b.ledgers.Of(b.binding.UID).View(func(jobs *job.History) {
			for record := range jobs.All() {
				if record.Acknowledged != (record.State == job.Succeeded) {
					t.Errorf("%s is %s and acknowledged: %t", record.Name, record.State, record.Acknowledged)
				}
			}
		})
	})
}

// A failed Job's message comes back after 30 s, 60 s, … and gets a Job of its own for each attempt.
func TestAFailedJobsMessageComesBackForTheNextAttempt(t *testing.T) {
	run(t, onJobSucceeded, func(b *bench) {
		b.queue.Put("a")
		time.Sleep(time.Second)
		for attempt, delay := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute} {
			b.want(1, attempt+1, attempt+1)
			b.conclude(b.attempt("a", attempt+1), batchv1.JobFailed)
			time.Sleep(time.Second)
			b.stayHidden(delay - 3*time.Second)
			b.want(1, attempt+1, attempt+1)
			time.Sleep(5 * time.Second)
		}
		b.conclude(b.attempt("a", 4), batchv1.JobComplete)
		time.Sleep(time.Minute)
		b.want(0, 4, 4)
	})
}

// SQS hides a message for 12 hours at most. Then it comes back, and the Job that runs answers for it anew.
func TestAfterTwelveHoursTheRunningJobAnswersAgain(t *testing.T) {
	run(t, onJobSucceeded, func(b *bench) {
		b.queue.Put("a")
		time.Sleep(30 * time.Hour)
		b.want(1, 3, 1)
		if n := b.queue.Counts().Impossible; n > 0 {
			t.Errorf("asked %d times for what SQS never gives", n)
		}
		if receipt := job.RecordedReceipt(b.job(b.attempt("a", 1))); receipt.Handle != "message-a/3" || receipt.Count != 3 {
			t.Errorf("the Job bears %+v", receipt)
		}
		b.stayHidden(time.Hour)
		b.conclude(b.attempt("a", 1), batchv1.JobComplete)
		time.Sleep(time.Second)
		b.want(0, 3, 1)
	})
}

// A visibility timeout near SQS's own limit leaves less than a third of it: what is left is used.
func TestTheLastExtensionIsWhatTwelveHoursLeave(t *testing.T) {
	run(t, func(b *v1alpha1.QueueBinding) {
		onJobSucceeded(b)
		b.Spec.Queue.VisibilityTimeoutSeconds = new(int32(queue.MaxVisibilityTimeout / time.Second))
	}, func(b *bench) {
		b.queue.Put("a")
		time.Sleep(time.Second)
		b.stayHidden(queue.MaxVisibilityTimeout - time.Minute)
		b.want(1, 1, 1)
	})
}

// All is in the Jobs: a loop that starts keeps hidden what another one's Jobs run for, and finishes what it left.
func TestANewLoopGoesOnFromTheJobsAlone(t *testing.T) {
	run(t, func(b *v1alpha1.QueueBinding) {
		onJobSucceeded(b)
		b.Spec.Concurrency.MaxActiveJobs = new(int32(3))
	}, func(b *bench) {
		b.queue.Put("runs", "succeeds", "fails")
		for range 5 {
			time.Sleep(5 * time.Second)
			b.end()
			time.Sleep(5 * time.Second)
			b.start(b.queue)
			b.stayHidden(time.Minute)
		}
		b.end()
		b.conclude(b.attempt("succeeds", 1), batchv1.JobComplete)
		b.conclude(b.attempt("fails", 1), batchv1.JobFailed)
		b.start(b.queue)
		time.Sleep(time.Second)
		b.want(2, 1, 3)
		time.Sleep(time.Minute)
		b.want(2, 2, 4)
	})
}

// An extension that fails is tried again in time.
func TestAFailedExtensionIsTriedAgain(t *testing.T) {
	run(t, onJobSucceeded, func(b *bench) {
		b.queue.Put("a")
		for range 20 {
			time.Sleep(10 * time.Second)
			b.queue.SetFault(queue.Errorf(queue.Throttled, "slower"))
			b.stayHidden(15 * time.Second)
			b.queue.SetFault(nil)
		}
		b.want(1, 1, 1)
	})
}

// P2: where all extensions failed the message comes back to its running Job, and creates nothing.
func TestAMessageThatCameBackRefreshesTheReceiptOfItsRunningJob(t *testing.T) {
	run(t, onJobSucceeded, func(b *bench) {
		b.queue.Put("a")
		time.Sleep(time.Second)
		b.queue.SetFault(queue.Errorf(queue.Unreachable, "no answer"))
		time.Sleep(time.Minute)
		b.queue.SetFault(nil)
		time.Sleep(time.Minute)
		_, receives := b.queue.Left()
		if receives < 2 {
			t.Fatal("it did not come back")
		}
		b.stayHidden(time.Hour)
		b.want(1, receives, 1)
		b.conclude(b.attempt("a", 1), batchv1.JobComplete)
		time.Sleep(time.Second)
		b.want(0, receives, 1)
	})
}

// An operator that was deposed may hold an earlier receive than the Job bears.
func TestAnEarlierReceiveLeavesTheReceiptAlone(t *testing.T) {
	run(t, onJobSucceeded, func(b *bench) {
		b.queue.Put("a")
		time.Sleep(time.Second)
		name := b.attempt("a", 1)
		earlier := job.RecordedReceipt(b.job(name))
		for _, tc := range []struct {
			count int
			later bool
		}{{earlier.Count, false}, {earlier.Count + 7, true}} {
			count, later := tc.count, tc.later
			message := &queue.Message{ID: "message-a", Body: "a", ReceiptHandle: "another", ReceiveCount: count, ReceivedTime: earlier.Time.Add(-time.Minute)}
			record, err := b.loop.creator.Adopt(job.Record{Name: name, Lineage: job.Lineage{Root: "message-a", Attempt: 1}}, message)
			if err != nil || (record.Receipt.Handle == "another") != later {
				t.Errorf("a receive of count %d: got %+v, %v, want the later receipt: %t", count, record.Receipt, err, later)
			}
			if got := job.RecordedReceipt(b.job(name)); got.Count != max(count, earlier.Count) || (got.Handle == "another") != later {
				t.Errorf("after a receive of count %d the Job bears %+v", count, got)
			}
			earlier = job.RecordedReceipt(b.job(name))
		}
	})
}

// The rule belongs to the Job: a binding that switches changes nothing for those that exist.
func TestTheRuleBelongsToTheJob(t *testing.T) {
	t.Run("from OnJobCreated, before the acknowledgement", func(t *testing.T) {
		run(t, nil, func(b *bench) {
			b.queue.SetFault(queue.Errorf(queue.Unreachable, "no answer"))
			b.queue.Put("a")
			time.Sleep(time.Second)
			b.end()
			b.queue.SetFault(nil)
			b.binding.Spec.Acknowledge = v1alpha1.AcknowledgeOnJobSucceeded
			b.start(b.queue)
			time.Sleep(2 * time.Minute)
			b.want(0, 2, 1)
		})
	})
	t.Run("from OnJobSucceeded, before the acknowledgement", func(t *testing.T) {
		run(t, onJobSucceeded, func(b *bench) {
			b.queue.Put("a")
			time.Sleep(time.Second)
			b.end()
			b.conclude(b.attempt("a", 1), batchv1.JobComplete)
			time.Sleep(time.Hour) // it is visible again
			b.binding.Spec.Acknowledge = v1alpha1.AcknowledgeOnJobCreated
			b.start(b.queue)
			time.Sleep(time.Minute)
			if left, _ := b.queue.Left(); left != 0 {
				t.Errorf("%d messages left", left)
			}
			if names, _ := b.jobs(); len(names) != 1 {
				t.Errorf("%d Jobs", len(names))
			}
			b.ledgers.Of(b.binding.UID).View(func(jobs *job.History) {
				for record := range jobs.All() {
					if !record.Acknowledged {
						t.Errorf("%+v", record)
					}
				}
			})
		})
	})
	t.Run("from OnJobSucceeded, while the Job runs", func(t *testing.T) {
		run(t, onJobSucceeded, func(b *bench) {
			b.queue.Put("a")
			time.Sleep(time.Second)
			b.edit(func(binding *v1alpha1.QueueBinding) { binding.Spec.Acknowledge = v1alpha1.AcknowledgeOnJobCreated })
			time.Sleep(queue.MaxWait)
			b.queue.Put("b")
			time.Sleep(time.Second)
			b.want(1, 1, 2) // the new one is acknowledged at once
			b.stayHidden(time.Hour)
			b.conclude(b.attempt("a", 1), batchv1.JobFailed)
			time.Sleep(time.Minute)
			b.want(0, 2, 3) // the next attempt is made, under the new rule
		})
	})
}

// The message of a Job that was deleted while it ran comes back when its Pods have had their grace period.
func TestAMessageWaitsForThePodsOfItsDeletedJob(t *testing.T) {
	run(t, func(b *v1alpha1.QueueBinding) {
		onJobSucceeded(b)
		b.Spec.JobTemplate.Spec.Template.Spec.TerminationGracePeriodSeconds = new(int64(300))
	}, func(b *bench) {
		b.queue.Put("a")
		time.Sleep(time.Minute)
		b.finish(b.attempt("a", 1))
		time.Sleep(time.Second)
		b.stayHidden(298 * time.Second)
		b.want(1, 1, 1)
		time.Sleep(5 * time.Second)
		if _, most := b.jobs(); most != 2 {
			t.Errorf("the Job was made %d times, want twice: once it was deleted", most)
		}
	})
}

// taken is the receipt of a message that is hidden for an hour, and nobody's yet.
func (b *bench) taken(body string) job.Receipt {
	b.t.Helper()
	b.queue.Put(body)
	for _, message := range b.queue.Take(1, time.Hour) {
		message.ReceivedTime = time.Now()
		return job.ReceiptOf(&message)
	}
	b.t.Fatal("nothing to take")
	return job.Receipt{}
}

// visibleAfter waits until a message is visible.
func (b *bench) visibleAfter() time.Duration {
	began := time.Now()
	for b.queue.AllHidden() {
		time.Sleep(time.Second)
	}
	return time.Since(began)
}

func suspended(b *v1alpha1.QueueBinding) {
	onJobSucceeded(b)
	b.Spec.Suspend = true
}

// A Job that is first seen when it has failed: its message is given back for what is left of the delay, once.
func TestAFailureThatIsSeenLate(t *testing.T) {
	for name, tc := range map[string]struct {
		ago      time.Duration
		newer    bool // whether the next attempt exists
		min, max time.Duration
	}{
		"a moment later":            {ago: 0, min: 28 * time.Second, max: 32 * time.Second},
		"a while later":             {ago: 20 * time.Second, min: 8 * time.Second, max: 12 * time.Second},
		"when it has come back":     {ago: time.Minute, min: time.Hour - time.Second, max: time.Hour + time.Second},
		"when the next attempt has": {ago: 0, newer: true, min: time.Hour - time.Second, max: time.Hour + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, suspended, func(b *bench) {
				receipt := b.taken("a")
				if tc.newer {
					b.ledgers.Observe(b.binding.UID, job.Record{Name: "second", Lineage: job.Lineage{Root: "a", Attempt: 2}, State: job.Succeeded, Receipt: job.Receipt{Handle: "other", Count: 2}})
				}
				b.ledgers.Observe(b.binding.UID, job.Record{
					Name: "first", Lineage: job.Lineage{Root: "a", Attempt: 1}, State: job.Failed, Receipt: receipt, Finished: time.Now().Add(-tc.ago),
				})
				if got := b.visibleAfter(); got < tc.min || got > tc.max {
					t.Errorf("visible after %s, want %s to %s", got, tc.min, tc.max)
				}
			})
		})
	}
}

// A cache that is behind may show an earlier receipt after a later one.
func TestOnlyALaterReceiptReplacesOne(t *testing.T) {
	run(t, suspended, func(b *bench) {
		earlier := b.taken("a")
		time.Sleep(time.Hour + time.Second)
		b.queue.Change(func(m []*fake.Message) { m[0].VisibleAt = time.Time{} })
		message := b.queue.Take(1, time.Hour)[0]
		message.ReceivedTime = time.Now()
		later := job.ReceiptOf(&message)
		for _, receipt := range []job.Receipt{earlier, later, earlier} {
			b.ledgers.Observe(b.binding.UID, job.Record{Name: "first", Lineage: job.Lineage{Root: "a", Attempt: 1}, State: job.Active, Receipt: receipt})
		}
		b.stayHidden(3 * time.Hour)
	})
}

// The work is done: its message goes, although the binding did.
func TestASuccessIsAcknowledgedThoughTheBindingIsGone(t *testing.T) {
	run(t, onJobSucceeded, func(b *bench) {
		b.queue.Put("a")
		time.Sleep(time.Second)
		b.loop.disown()
		b.conclude(b.attempt("a", 1), batchv1.JobComplete)
		time.Sleep(time.Second)
		b.want(0, 1, 1)
	})
}

// A failed Job that the cache does not show yet makes way for the next attempt, and gives up its slot.
func TestAnAttemptAfterOneThatWasNotSeen(t *testing.T) {
	run(t, func(b *v1alpha1.QueueBinding) {
		onJobSucceeded(b)
		b.Spec.Concurrency.MaxActiveJobs = new(int32(1))
	}, func(b *bench) {
		b.queue.Put("a")
		time.Sleep(time.Second)
		b.end()
		b.conclude(b.attempt("a", 1), batchv1.JobFailed)
		b.ledgers = ledger.NewSet(b.clock)
		b.start(b.queue)
		time.Sleep(3 * time.Minute)
		b.job(b.attempt("a", 2))
		b.queue.Put("b")
		time.Sleep(time.Minute)
		if names, _ := b.jobs(); len(names) != 2 {
			t.Fatalf("%d Jobs with a limit of 1 and one that has failed", len(names))
		}
		b.conclude(b.attempt("a", 2), batchv1.JobComplete)
		time.Sleep(time.Minute)
		b.job(b.attempt("b", 1))
	})
}

// A Job that was deleted before it was ever seen leaves no message hidden behind.
func TestAJobThatIsGoneBeforeItIsSeenGivesItsMessageBack(t *testing.T) {
	run(t, onJobSucceeded, func(b *bench) {
		b.blind = true
		b.queue.Put("a")
		time.Sleep(time.Second)
		if err := b.client.Delete(t.Context(), b.job(b.attempt("a", 1))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if _, most := b.jobs(); most != 2 {
			t.Errorf("the Job was made %d times, want twice", most)
		}
	})
}

// One message at a time: the next of a group must not be received before this one's Job has succeeded, and those of other
// groups find their own receive.
func TestAFIFOQueueIsReceivedOneByOne(t *testing.T) {
	run(t, func(b *v1alpha1.QueueBinding) {
		onJobSucceeded(b)
		b.Spec.Queue.URL += ".fifo"
	}, func(b *bench) {
		b.queue.Put("a", "b", "c")
		time.Sleep(time.Minute)
		if b.queue.Counts().MaxLimit != 1 {
			t.Errorf("received up to %d messages at a time", b.queue.Counts().MaxLimit)
		}
	})
}

// P1: a Job whose creation was not answered and that is gone by the next try has not succeeded: its message stays.
func TestAJobThatWasSeenAndIsGoneLosesNothing(t *testing.T) {
	run(t, onJobSucceeded, func(b *bench) {
		lost := true
		b.setFault(func(create func() error, object client.Object) error {
			err := create()
			if lost && err == nil {
				lost = false
				b.finish(object.GetName())
				return context.DeadlineExceeded
			}
			return err
		})
		b.queue.Put("a")
		time.Sleep(2 * time.Minute)
		b.job(b.attempt("a", 1))
		if left, _ := b.queue.Left(); left != 1 {
			t.Errorf("%d messages left, want 1", left)
		}
	})
}

// A Job that has run for longer than SQS hides a message is not asked for.
func TestAReceiptOfYesterdayIsLeftAlone(t *testing.T) {
	run(t, suspended, func(b *bench) {
		receipt := b.taken("a")
		receipt.Time = receipt.Time.Add(-13 * time.Hour)
		b.ledgers.Observe(b.binding.UID, job.Record{Name: "first", Lineage: job.Lineage{Root: "a", Attempt: 1}, State: job.Active, Receipt: receipt})
		time.Sleep(2 * time.Hour)
		if n := b.queue.Counts().Impossible; n > 0 || b.queue.AllHidden() {
			t.Errorf("asked %d times for what SQS never gives, or extended", n)
		}
	})
}

// Thousands of Jobs keep their messages hidden, ten to a request, and not all at the same moment.
func TestThousandsOfMessagesAreKeptHidden(t *testing.T) {
	const messages = 2000
	run(t, suspended, func(b *bench) {
		var bodies []string
		for i := range messages {
			bodies = append(bodies, fmt.Sprint(i))
		}
		b.queue.Put(bodies...)
		for i, message := range b.queue.Take(messages, 30*time.Second) {
			message.ReceivedTime = time.Now()
			b.ledgers.Observe(b.binding.UID, job.Record{Name: fmt.Sprint(i), Lineage: job.Lineage{Root: message.ID, Attempt: 1}, State: job.Active, Receipt: job.ReceiptOf(&message)})
		}
		time.Sleep(time.Second)
		before := b.queue.Counts().Requests
		b.stayHidden(5 * time.Minute)
		b.want(messages, 1, 0)
		// Every third of 30 seconds at the latest, three quarters of that at the soonest, and a request for each ten.
		asked := b.queue.Counts().Requests - before
		if least, most := 30*messages/queue.MaxBatch, 30*messages/queue.MaxBatch*2; asked < least || asked > most {
			t.Errorf("%d requests in 5 minutes, want %d to %d", asked, least, most)
		}
	})
}

// P1: a Job goes by the rule under which it was rendered, also where the binding switches while its creation is not answered.
func TestTheRuleOfALostCreationIsItsOwn(t *testing.T) {
	run(t, onJobSucceeded, func(b *bench) {
		lost := true
		b.setFault(func(create func() error, object client.Object) error {
			err := create()
			if lost && err == nil {
				lost = false
				b.finish(object.GetName())
				b.edit(func(binding *v1alpha1.QueueBinding) { binding.Spec.Acknowledge = v1alpha1.AcknowledgeOnJobCreated })
				return context.DeadlineExceeded
			}
			return err
		})
		b.queue.Put("a")
		time.Sleep(10 * time.Second)
		if left, _ := b.queue.Left(); left != 1 {
			t.Errorf("%d messages left before the Job has succeeded, want 1", left)
		}
	})
}

// A poll that was open during the switch to OnJobSucceeded may bring several messages of a group.
func TestTheRestOfAGroupGoesBackAfterASwitch(t *testing.T) {
	run(t, func(b *v1alpha1.QueueBinding) {
		b.Spec.Queue.URL += ".fifo"
		b.Spec.Concurrency.MaxActiveJobs = new(int32(10))
	}, func(b *bench) {
		time.Sleep(time.Second + 10*time.Millisecond) // the poll is open
		b.edit(onJobSucceeded)
		for _, body := range []string{"a", "b", "c"} {
			b.queue.PutMessages(queue.Message{ID: "message-" + body, Body: body, GroupID: "g"})
		}
		time.Sleep(95 * time.Millisecond) // before those that went back are received again
		if names, _ := b.jobs(); len(names) != 1 {
			t.Errorf("%d Jobs of one group side by side", len(names))
		}
	})
}

// Two messages for one attempt, as when a failed Job was sent again twice, must not take the Job from each other: each take is a
// receive, and counts for the dead-letter queue.
func TestTwoMessagesOfOneAttemptWaitForOneJob(t *testing.T) {
	for end, want := range map[batchv1.JobConditionType]int{batchv1.JobComplete: 0, batchv1.JobFailed: 2} {
		t.Run(string(end), func(t *testing.T) {
			run(t, onJobSucceeded, func(b *bench) {
				for _, id := range []string{"first", "second"} {
					message := b.signed("a", job.Lineage{Root: "root", Attempt: 2})
					message.ID = id
					b.queue.PutMessages(message)
				}
				time.Sleep(3 * time.Hour)
				names, most := b.jobs()
				if _, receives := b.queue.Left(); len(names) != 1 || most != 1 || receives > 2 {
					t.Errorf("%d Jobs, made up to %d times, messages received up to %d times; want 1, once, twice at most", len(names), most, receives)
				}
				b.setFault(refused) // of the next attempt
				b.conclude(names[0], end)
				time.Sleep(10 * time.Second)
				if left, _ := b.queue.Left(); left != want {
					t.Errorf("%d messages are left, want %d", left, want)
				}
				b.setFault(nil)
				time.Sleep(time.Hour)
				if names, most := b.jobs(); len(names) != 1+want/2 || most != 1 {
					t.Errorf("%d Jobs, made up to %d times", len(names), most)
				}
			})
		})
	}
}

// A Job that is deleted at the moment at which a message of its is adopted answers for none: the message must come back.
func TestAMessageOfAJobThatIsGoneAtThatMomentComesBack(t *testing.T) {
	run(t, onJobSucceeded, func(b *bench) {
		b.queue.Put("a")
		time.Sleep(time.Second)
		name := b.attempt("a", 1)
		record := job.Observe(b.job(name))
		b.queue.Change(func(m []*fake.Message) { m[0].VisibleAt = time.Time{} })
		again := b.queue.Take(1, 30*time.Second)[0]
		again.ReceivedTime = time.Now()
		b.loop.inFlight.Received([]queue.Message{again}, time.Now(), 30*time.Second)
		b.finish(name)
		record.Receipt = job.ReceiptOf(&again)
		b.loop.handler.acknowledge(&again, record.Lineage, record, way{})
		time.Sleep(time.Minute)
		if _, most := b.jobs(); most != 2 {
			t.Errorf("the Job was made %d times within a minute, want again", most)
		}
	})
}
