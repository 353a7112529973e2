package inflight

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/queue/fake"
)

const visibility = 30 * time.Second

// received runs a test with so many messages in flight, in a time of its own.
func received(t *testing.T, n int, test func(q *fake.Queue, m *Messages, messages []queue.Message)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		q := &fake.Queue{}
		for i := range n {
			q.Put(fmt.Sprint(i))
		}
		m := New(t.Context(), Options{Queue: q, Clock: clock.RealClock{}, Log: logr.Discard(), Visibility: func() time.Duration { return visibility }})
		messages := q.Take(n, visibility)
		m.Received(messages, time.Now(), visibility)
		test(q, m, messages)
		m.Close()
	})
}

func TestMessagesStayHiddenTenToARequest(t *testing.T) {
	received(t, 100, func(q *fake.Queue, _ *Messages, _ []queue.Message) {
		for range 3600 {
			time.Sleep(time.Second)
			if !q.AllHidden() {
				t.Fatal("a message became visible")
			}
		}
		// Every third of 30 s, ten messages to a request, and some that drift apart.
		if got, most := q.Counts().Requests, 3600/10*10*2; got > most {
			t.Errorf("took %d requests, want at most %d", got, most)
		}
	})
}

func TestDeletionsShareRequests(t *testing.T) {
	received(t, 25, func(q *fake.Queue, m *Messages, messages []queue.Message) {
		for _, message := range messages {
			m.Delete(message.ReceiptHandle, nil)
		}
		time.Sleep(time.Second)
		if left, _ := q.Left(); left != 0 || q.Counts().Requests != 3 {
			t.Errorf("%d messages are left after %d requests, want none after 3", left, q.Counts().Requests)
		}
	})
}

func TestAMessageThatIsGivenBackIsNotExtended(t *testing.T) {
	received(t, 2, func(q *fake.Queue, m *Messages, messages []queue.Message) {
		m.Return(messages[0].ReceiptHandle, 0, "")
		m.Return(messages[1].ReceiptHandle, time.Minute, "")
		time.Sleep(time.Second)
		if q.AllHidden() {
			t.Error("it is still hidden")
		}
		q.Take(1, time.Hour)
		time.Sleep(58 * time.Second)
		if !q.AllHidden() {
			t.Error("the delayed one came too soon")
		}
		time.Sleep(2 * time.Second)
		if q.AllHidden() {
			t.Error("the delayed one did not come")
		}
	})
}

func TestWhatIsForgottenComesBackByItself(t *testing.T) {
	received(t, 1, func(q *fake.Queue, m *Messages, messages []queue.Message) {
		m.Forget(messages[0].ReceiptHandle)
		time.Sleep(visibility + time.Second)
		if q.AllHidden() || q.Counts().Requests != 0 {
			t.Errorf("it is hidden, or %d requests were made", q.Counts().Requests)
		}
	})
}

// P1: whose Jobs are going is not deleted; whose work is done is.
func TestUndoneMessagesAreGivenBackOnceTheBindingIsGone(t *testing.T) {
	received(t, 2, func(q *fake.Queue, m *Messages, messages []queue.Message) {
		done := false
		m.Delete(messages[0].ReceiptHandle, nil)
		m.DeleteDone(messages[1].ReceiptHandle, func() { done = true })
		m.ReturnUndone()
		time.Sleep(time.Second)
		if left, _ := q.Left(); left != 1 || q.AllHidden() || !done {
			t.Errorf("%d messages are left, hidden: %t; want the undone one, visible", left, q.AllHidden())
		}
	})
}

func TestReleasesAreTriedAgain(t *testing.T) {
	var deleted atomic.Int32
	received(t, 1, func(q *fake.Queue, m *Messages, messages []queue.Message) {
		m.releaser.deleted = func() { deleted.Add(1) }
		q.SetFault(queue.Errorf(queue.Throttled, "slow down"))
		m.Delete(messages[0].ReceiptHandle, nil)
		time.Sleep(time.Second)
		q.SetFault(nil)
		time.Sleep(5 * time.Second)
		if left, _ := q.Left(); left != 0 || deleted.Load() != 1 {
			t.Errorf("%d messages are left, %d counted as deleted", left, deleted.Load())
		}
	})
}

func TestCloseCarriesOutWhatWasAskedFor(t *testing.T) {
	received(t, 3, func(q *fake.Queue, m *Messages, messages []queue.Message) {
		m.Delete(messages[0].ReceiptHandle, nil)
		m.Return(messages[1].ReceiptHandle, 0, "")
		m.Close()
		m.Delete(messages[2].ReceiptHandle, nil)
		if left, _ := q.Left(); left != 2 || q.AllHidden() {
			t.Errorf("%d messages are left, hidden: %t; want two, one of them visible", left, q.AllHidden())
		}
		time.Sleep(visibility)
		if got := q.Take(10, visibility); len(got) != 2 {
			t.Errorf("%d messages are visible, want both: nothing is kept hidden after Close", len(got))
		}
	})
}

// SQS counts 12 h from the receive: the last extension is what they leave, and nothing is asked for that SQS never gives.
func TestNothingIsExtendedBeyondTwelveHours(t *testing.T) {
	received(t, 1, func(q *fake.Queue, _ *Messages, _ []queue.Message) {
		time.Sleep(queue.MaxVisibilityTimeout - 2*time.Second)
		if !q.AllHidden() {
			t.Error("it came before the 12 hours were over")
		}
		time.Sleep(3 * time.Second)
		if q.AllHidden() || q.Counts().Impossible > 0 {
			t.Errorf("hidden: %t after 12 hours, %d impossible requests", q.AllHidden(), q.Counts().Impossible)
		}
	})
}

// slowExtensions lets changes of visibility to a timeout take their time.
type slowExtensions struct {
	*fake.Queue
	timeout, takes time.Duration
}

func (q slowExtensions) ChangeVisibility(ctx context.Context, handles []string, timeout time.Duration) []error {
	if timeout == q.timeout {
		time.Sleep(q.takes)
	}
	return q.Queue.ChangeVisibility(ctx, handles, timeout)
}

// An extension that was under way when its message was given back must not hide it again.
func TestALateExtensionDoesNotLandAfterAGiveBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := slowExtensions{&fake.Queue{}, visibility, 5 * time.Second}
		q.Put("a")
		m := New(t.Context(), Options{Queue: q, Clock: clock.RealClock{}, Log: logr.Discard(), Visibility: func() time.Duration { return visibility }})
		messages := q.Take(1, visibility)
		m.Received(messages, time.Now(), visibility)
		time.Sleep(visibility/3 + time.Second) // the extension is under way
		m.Return(messages[0].ReceiptHandle, 8*time.Second, "")
		time.Sleep(15 * time.Second)
		if q.AllHidden() {
			t.Error("the message that was given back is hidden")
		}
		m.Close()
	})
}
