package intake

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/queue/sqs"
	"github.com/queuebinding/queuebinding/test/testenv"
)

// SQS lets a message come back 12 hours after its receive, and the Job that runs answers for it anew. The queue is the emulator;
// the clock is the test's, and leaps.
func TestAfterTwelveHoursTheEmulatorsMessageIsAdopted(t *testing.T) {
	environment, err := testenv.Start(testenv.Options{Parts: []string{testenv.Queue}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	}()
	for name, value := range map[string]string{
		sqs.EndpointVariable: environment.SQSEndpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "eu-west-1",
	} {
		t.Setenv(name, value)
	}
	url := environment.SQSEndpoint + "/000000000000/twelve"
	createQueue(t, environment.SQSEndpoint, "twelve")
	emulated, err := sqs.NewOpener().Open(t.Context(), queue.Address{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	if err := emulated.Send(t.Context(), queue.Outgoing{Body: "a"}); err != nil {
		t.Fatal(err)
	}

	clock := testingclock.NewFakeClock(time.Now())
	b := newBench(t, clock, func(b *v1alpha1.QueueBinding) {
		onJobSucceeded(b)
		b.Spec.Queue.VisibilityTimeoutSeconds = new(int32(3))
	})
	ticking, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { // the clock goes as real time does, but for the leap
		for ticking.Err() == nil {
			time.Sleep(50 * time.Millisecond)
			clock.Step(50 * time.Millisecond)
		}
	}()
	b.start(shortPolls{emulated})
	inFlight := func(visible, hidden int64) func() bool {
		return func() bool {
			settings, err := emulated.Stats(t.Context())
			return err == nil && settings.VisibleMessages == visible && settings.InFlightMessages == hidden
		}
	}
	receipt := func() job.Receipt {
		names, _ := b.jobs()
		if len(names) != 1 {
			return job.Receipt{}
		}
		return job.RecordedReceipt(b.job(names[0]))
	}
	eventually(t, "the message has a Job", func() bool { return receipt().Count == 1 })
	time.Sleep(7 * time.Second) // more than twice the visibility timeout
	if count := receipt().Count; count != 1 || !inFlight(0, 1)() {
		t.Fatalf("received %d times, or visible, while its Job runs", count)
	}

	clock.Step(queue.MaxVisibilityTimeout)
	eventually(t, "the Job has the receipt of the second receive", func() bool { return receipt().Count == 2 })
	time.Sleep(7 * time.Second)
	if count := receipt().Count; count != 2 || !inFlight(0, 1)() {
		t.Errorf("received %d times, or visible, after it was adopted", count)
	}
	names, most := b.jobs()
	if len(names) != 1 || most != 1 {
		t.Fatalf("%d Jobs, made up to %d times", len(names), most)
	}
	b.conclude(names[0], batchv1.JobComplete)
	eventually(t, "the message is deleted", inFlight(0, 0))
	b.end()
}

// createQueue makes a queue as a producer would.
func createQueue(t *testing.T, endpoint, name string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader(`{"QueueName": "`+name+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Amz-Target", "AmazonSQS.CreateQueue")
	request.Header.Set("Content-Type", "application/x-amz-json-1.0")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatal(response.Status)
	}
}

// shortPolls polls for a second at most: a poll that was open during the leap would have begun 12 hours ago.
type shortPolls struct{ queue.Queue }

func (q shortPolls) Receive(ctx context.Context, limit int, _, visibility time.Duration) ([]queue.Message, error) {
	return q.Queue.Receive(ctx, limit, time.Second, visibility)
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
