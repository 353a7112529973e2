package intake

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/metrics"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// series returns what a registry has of the metrics of the binding under test: values of counters and gauges, and numbers of observations of
// histograms, by name and, after a slash, the values of further labels.
func series(t *testing.T, from prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, family := range families {
		for _, one := range family.GetMetric() {
			name := family.GetName()
			for _, label := range one.GetLabel() {
				if label.GetName() != "namespace" && label.GetName() != "name" {
					name += "/" + label.GetValue()
				}
			}
			found[name] = one.GetCounter().GetValue() + one.GetGauge().GetValue() + float64(one.GetHistogram().GetSampleCount())
		}
	}
	return found
}

// sum returns the sum of a histogram's observations.
func sum(t *testing.T, from prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetHistogram().GetSampleSum()
		}
	}
	return -1
}

// wantSeries checks some of the metrics, by name without its prefix.
func (b *bench) wantSeries(want map[string]float64) {
	b.t.Helper()
	got := series(b.t, b.registry)
	for name, value := range want {
		if found, ok := got["queuebinding_"+name]; !ok || found != value {
			b.t.Errorf("%s is %v (%t), want %v; there are %v", name, found, ok, value, got)
		}
	}
}

// A message that becomes a Job is counted and observed at each of its steps, on the clocks of SQS and of the operator.
func TestMetricsOfAMessageThatBecomesAJob(t *testing.T) {
	run(t, nil, func(b *bench) {
		time.Sleep(5 * time.Second) // within the first long poll, whose wait is no part of the way to a Job
		b.queue.PutMessages(queue.Message{ID: "message-a", Body: "a", SentTime: time.Now().Add(-time.Minute)})
		time.Sleep(time.Second)
		b.wantSeries(map[string]float64{
			"messages_received_total": 1, "jobs_created_total": 1, "messages_acknowledged_total": 1, "jobs_requeued_total": 0,
			"visibility_extensions_total": 0, "visibility_extensions_late_total": 0,
			"message_age_seconds": 1, "receive_to_job_seconds": 1, "sent_to_job_seconds": 1,
		})
		for name, want := range map[string][2]float64{"message_age_seconds": {60, 61}, "receive_to_job_seconds": {0, 0.1}, "sent_to_job_seconds": {60, 61}} {
			if got := sum(t, b.registry, "queuebinding_"+name); got < want[0] || got > want[1] {
				t.Errorf("%s is %v, want %v to %v", name, got, want[0], want[1])
			}
		}
	})
}

// What is refused, put off or given back is counted by its reason, and what is kept meanwhile by its extensions.
func TestMetricsOfMessagesInTrouble(t *testing.T) {
	t.Run("the API server refuses", func(t *testing.T) {
		run(t, nil, func(b *bench) {
			b.setFault(refused)
			b.queue.Put("a")
			time.Sleep(time.Minute)
			got := series(t, b.registry)
			if got["queuebinding_job_create_errors_total/QuotaExceeded"] < 2 || got["queuebinding_visibility_extensions_total"] < 4 {
				t.Errorf("got %v, want tries and extensions", got)
			}
			b.edit(func(binding *v1alpha1.QueueBinding) { binding.Spec.Suspend = true })
			time.Sleep(time.Minute)
			b.wantSeries(map[string]float64{"messages_given_back_total/NotWanted": 1, "messages_received_total": 1, "jobs_created_total": 0})
		})
	})
	t.Run("a Job is invalid", func(t *testing.T) {
		run(t, nil, func(b *bench) {
			b.setFault(func(func() error, client.Object) error { return errInvalid })
			b.queue.Put("a")
			time.Sleep(time.Second)
			b.wantSeries(map[string]float64{"messages_rejected_total/JobInvalid": 1, "messages_given_back_total/Rejected": 1})
		})
	})
	t.Run("a Job fails that keeps its message", func(t *testing.T) {
		run(t, func(b *v1alpha1.QueueBinding) { b.Spec.Acknowledge = v1alpha1.AcknowledgeOnJobSucceeded }, func(b *bench) {
			b.queue.Put("a")
			time.Sleep(time.Second)
			b.conclude(b.attempt("a", 1), batchv1.JobFailed)
			time.Sleep(time.Second)
			b.wantSeries(map[string]float64{"messages_given_back_total/JobFailed": 1, "messages_acknowledged_total": 0})
		})
	})
	t.Run("the binding is deleted", func(t *testing.T) {
		run(t, nil, func(b *bench) {
			b.queue.SetFault(queue.Errorf(queue.Throttled, "too many"))
			b.queue.Put("a")
			time.Sleep(200 * time.Millisecond)
			b.loop.disown()
			b.stop()
			time.Sleep(200 * time.Millisecond)
			b.queue.SetFault(nil)
			time.Sleep(20 * time.Second)
			b.wantSeries(map[string]float64{"messages_acknowledged_total": 0})
			if got := series(t, b.registry)["queuebinding_messages_given_back_total/BindingDeleted"]; got < 1 { // the open poll may receive it again
				t.Errorf("%v were given back", got)
			}
		})
	})
}

// Failures of the queue are counted by what was asked for and by the reason, one for each request.
func TestMetricsOfAQueueThatFails(t *testing.T) {
	run(t, nil, func(b *bench) {
		b.queue.SetFault(queue.Errorf(queue.Throttled, "too many"))
		b.queue.Put("a", "b")
		time.Sleep(time.Second)
		got := series(t, b.registry)
		if failed := got["queuebinding_queue_errors_total/Delete/Throttled"]; failed < 1 || failed > 5 {
			t.Errorf("%v deletions failed, of two messages a request; there are %v", failed, got)
		}
	})
}

// A heartbeat that comes too late is counted, whether or not SQS takes it; what waits for one is told as lag before that.
func TestMetricsOfLateExtensions(t *testing.T) {
	run(t, nil, func(b *bench) {
		b.setFault(refused)
		b.queue.Put("a")
		time.Sleep(time.Second)
		b.wantSeries(map[string]float64{"visibility_extensions_late_total": 0})
		b.queue.SetFault(queue.Errorf(queue.Unreachable, "no answer"))
		time.Sleep(50 * time.Second)
		b.queue.SetFault(nil)
		time.Sleep(40 * time.Second)
		got := series(t, b.registry)
		if got["queuebinding_visibility_extensions_late_total"] < 1 {
			t.Errorf("got %v, want a late extension", got)
		}
	})
}

// The series of a binding end with it, whatever its loop still finishes, and come back with another one of its name.
func TestMetricsEndWithTheBinding(t *testing.T) {
	run(t, nil, func(b *bench) {
		b.setFault(func(func() error, client.Object) error { return errInvalid })
		b.queue.Put("a")
		time.Sleep(time.Second)
		if got := series(t, b.registry); len(got) == 0 {
			t.Fatal("there are no series")
		}
		b.loop.disown()
		b.metrics.Forget(client.ObjectKeyFromObject(b.binding))
		b.queue.Put("b") // which the open poll receives
		time.Sleep(time.Minute)
		if left, receives := b.queue.Left(); left != 2 || receives == 0 {
			t.Fatalf("%d messages left, received up to %d times", left, receives)
		}
		if got := series(t, b.registry); len(got) != 0 {
			t.Errorf("there are %v", got)
		}
	})
}

// What a scrape is told of a loop is what it has in hand at that moment.
func TestObserveTellsOfWhatIsInHand(t *testing.T) {
	run(t, nil, func(b *bench) {
		began := time.Now()
		time.Sleep(time.Second)
		if got := b.loop.observe(); got.OldestMessage == nil || *got.OldestMessage != 0 || got.ReservedSlots != 2 || got.Retention != 4*24*time.Hour || got.Visibility != 30*time.Second {
			t.Errorf("with an empty queue: %+v", got)
		}
		b.setFault(refused)
		b.queue.PutMessages(queue.Message{ID: "message-a", Body: "a", SentTime: began.Add(-time.Hour)})
		time.Sleep(time.Minute)
		got := b.loop.observe()
		if want := time.Since(began) + time.Hour; got.OldestMessage == nil || *got.OldestMessage != want || got.ExtensionLag != 0 {
			t.Errorf("while a message is held: %+v, want one of %v, and no lag", got, want)
		}
		if got.ReservedSlots != 1 || got.LastReceive.Before(began) || got.LastReceive.After(began.Add(25*time.Second)) { // of a poll for the other slot
			t.Errorf("while a message is held: %+v", got)
		}
		b.queue.SetFault(queue.Errorf(queue.Unreachable, "no answer"))
		time.Sleep(25 * time.Second)
		if got := b.loop.observe(); got.ExtensionLag < 10*time.Second || got.ExtensionLag > 25*time.Second {
			t.Errorf("while nothing can be extended: lag %v", got.ExtensionLag)
		}
	})
}

// SQS tells of no message that was not received how old it is: what is known is told, and nothing where nothing is.
func TestAgeOfTheOldestMessage(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	ago := func(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }
	sent := func(minutes ...int) (messages []queue.Message) {
		for _, m := range minutes {
			messages = append(messages, queue.Message{SentTime: ago(m)})
		}
		return messages
	}
	waits, none := queue.Stats{VisibleMessages: 7}, queue.Stats{InFlightMessages: 1}
	for name, tc := range map[string]struct {
		happened  func(*oldest)
		inHand    time.Time
		want      int
		wantKnown bool
	}{
		"nothing was heard":                    {func(*oldest) {}, time.Time{}, 0, false},
		"nothing was heard, but one is held":   {func(*oldest) {}, ago(3), 3, true},
		"none waits":                           {func(o *oldest) { o.polled(none, ago(1)) }, time.Time{}, 0, true},
		"none waits, one is held":              {func(o *oldest) { o.polled(none, ago(1)) }, ago(3), 3, true},
		"some wait, and none was received":     {func(o *oldest) { o.polled(waits, ago(9)); o.polled(waits, ago(1)) }, time.Time{}, 9, true},
		"some wait behind those received last": {func(o *oldest) { o.polled(waits, ago(9)); o.received(sent(20, 30, 25)) }, ago(10), 30, true},
		"some wait, an older one is held":      {func(o *oldest) { o.polled(waits, ago(9)); o.received(sent(20)) }, ago(60), 60, true},
		"those behind have gone":               {func(o *oldest) { o.received(sent(30)); o.polled(none, ago(8)); o.polled(waits, ago(5)) }, time.Time{}, 5, true},
		"a poll found nothing":                 {func(o *oldest) { o.polled(waits, ago(9)); o.received(sent(30)); o.received(nil) }, time.Time{}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := &oldest{}
			tc.happened(o)
			if age, known := o.age(tc.inHand, now); age != time.Duration(tc.want)*time.Minute || known != tc.wantKnown {
				t.Errorf("got %v, %t; want %d minutes, %t", age, known, tc.want, tc.wantKnown)
			}
		})
	}
}

// Every reason that a queue gives has its place among the values of the label, so that none is told as Other.
func TestReasonsOfQueuesAreKnownToTheMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	counted := metrics.New(registry).Of(client.ObjectKeyFromObject(newTestBinding()))
	reasons := []queue.Reason{
		queue.NotFound, queue.AccessDenied, queue.CredentialsUnavailable, queue.KMSError, queue.Throttled, queue.Unreachable, queue.InvalidQueue,
		queue.NotAllowed, queue.InvalidMessage, queue.NoDeadLetterQueue, queue.DeadLetterQueueShared, queue.ReceiptHandleInvalid,
	}
	for _, reason := range reasons {
		observedQueue{metrics: counted}.count(metrics.OperationReceive, queue.Errorf(reason, "no"), nil, queue.Errorf(reason, "no again"), context.Canceled)
	}
	got := series(t, registry)
	for _, reason := range reasons {
		if name := "queuebinding_queue_errors_total/Receive/" + string(reason); got[name] != 1 {
			t.Errorf("%s is %v, want 1", name, got[name])
		}
	}
}

// What is observed of a message whose producer has a trace leads to that.
func TestWhatIsObservedOfAMessageBearsItsTrace(t *testing.T) {
	run(t, nil, func(b *bench) {
		const id = "4bf92f3577b34da6a3ce929d0e0e4736"
		b.queue.PutMessages(queue.Message{ID: "message-a", Body: "a", SentTime: time.Now().Add(-time.Minute), Attributes: queue.Attributes{
			v1alpha1.AttributeTraceparent: {DataType: "String", StringValue: "00-" + id + "-00f067aa0ba902b7-01"},
		}})
		time.Sleep(time.Minute)
		families, err := b.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		bear := map[string]bool{}
		for _, family := range families {
			for _, bucket := range family.GetMetric()[0].GetHistogram().GetBucket() {
				for _, label := range bucket.GetExemplar().GetLabel() {
					bear[family.GetName()] = label.GetName() == "trace_id" && label.GetValue() == id
				}
			}
		}
		for _, name := range []string{"message_age_seconds", "receive_to_job_seconds", "sent_to_job_seconds"} {
			if !bear["queuebinding_"+name] {
				t.Errorf("%s bears no trace; those that do are %v", name, bear)
			}
		}
	})
}
