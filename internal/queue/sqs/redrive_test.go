package sqs

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/queuebinding/queuebinding/internal/queue"
)

// What a queue with a dead-letter queue of its own answers, as SQS documents it.
var ownDeadLetterQueue = map[string]string{
	"GetQueueAttributes":         `{"Attributes": {"RedrivePolicy": "{\"deadLetterTargetArn\":\"arn:aws:sqs:eu-west-1:123456789012:dead\",\"maxReceiveCount\":\"3\"}"}}`,
	"GetQueueUrl":                `{"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/dead"}`,
	"ListDeadLetterSourceQueues": `{"queueUrls": ["https://sqs.eu-west-1.amazonaws.com/123456789012/a"]}`,
	"ListMessageMoveTasks":       `{"Results": [{"SourceArn": "arn:aws:sqs:eu-west-1:123456789012:dead", "Status": "COMPLETED", "ApproximateNumberOfMessagesMoved": 2, "StartedTimestamp": 1700000000000}]}`,
	"StartMessageMoveTask":       `{"TaskHandle": "handle"}`,
}

func TestRedrive(t *testing.T) {
	const running = `{"Results": [{"SourceArn": "arn:aws:sqs:eu-west-1:123456789012:dead", "Status": "RUNNING", "TaskHandle": "handle", "ApproximateNumberOfMessagesMoved": 0, "StartedTimestamp": 1700000000000}]}`
	refusal := func(code string) string { return `{"__type": "com.amazonaws.sqs#` + code + `", "message": "no"}` }
	for name, tc := range map[string]struct {
		// answers replace those of ownDeadLetterQueue; later ones are given from an action's second request on.
		answers, later map[string]string
		want           queue.Reason // empty for success
		wantStarted    int
	}{
		"started": {wantStarted: 1},
		"no redrive policy": {
			answers: map[string]string{"GetQueueAttributes": `{"Attributes": {}}`}, want: queue.NoDeadLetterQueue,
		},
		"a dead-letter queue of two": {
			answers: map[string]string{"ListDeadLetterSourceQueues": `{"queueUrls": ["https://a/1/a", "https://a/1/b"]}`}, want: queue.DeadLetterQueueShared,
		},
		"one runs": {
			answers: map[string]string{"ListMessageMoveTasks": running},
		},
		"one was started by somebody else just now": {
			answers: map[string]string{"StartMessageMoveTask": refusal("UnsupportedOperation")}, later: map[string]string{"ListMessageMoveTasks": running}, wantStarted: 1,
		},
		"refused": {
			answers: map[string]string{"StartMessageMoveTask": refusal("InvalidAddress")}, want: queue.InvalidQueue, wantStarted: 1,
		},
		"not allowed": {
			answers: map[string]string{"StartMessageMoveTask": refusal("AccessDeniedException")}, want: queue.AccessDenied, wantStarted: 1,
		},
		"not allowed to look": {
			answers: map[string]string{"ListMessageMoveTasks": refusal("AccessDeniedException")}, want: queue.AccessDenied,
		},
		"the dead-letter queue is gone": {
			answers: map[string]string{"GetQueueUrl": refusal("QueueDoesNotExist")}, want: queue.NotFound,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
				answer := ownDeadLetterQueue[action]
				if own, ok := tc.answers[action]; ok {
					answer = own
				}
				if own, ok := tc.later[action]; ok && slices.Contains(asked, action) {
					answer = own
				}
				asked = append(asked, action)
				w.Header().Set("Content-Type", "application/x-amz-json-1.0")
				if strings.Contains(answer, "__type") {
					w.WriteHeader(http.StatusBadRequest)
				}
				fmt.Fprint(w, answer)
			}))
			defer server.Close()
			err := at(t, server.URL, "https://sqs.eu-west-1.amazonaws.com/123456789012/a").Redrive(t.Context())
			if (err == nil) != (tc.want == "") || err != nil && queue.ReasonOf(err) != tc.want {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			started := 0
			for _, action := range asked {
				if action == "StartMessageMoveTask" {
					started++
				}
			}
			if started != tc.wantStarted {
				t.Errorf("asked %v, want %d tasks started", asked, tc.wantStarted)
			}
		})
	}
}

// The emulator moves messages to the dead-letter queue as SQS does; the way back is devenv's own.
func TestAMessageGoesToTheDeadLetterQueueAndBack(t *testing.T) {
	environment, q := emulatedWithDeadLetters(t)
	if err := q.Send(t.Context(), queue.Outgoing{Body: "a"}); err != nil {
		t.Fatal(err)
	}
	received := func() []queue.Message {
		t.Helper()
		messages, err := q.Receive(t.Context(), 1, time.Second, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for _, message := range messages {
			q.ChangeVisibility(t.Context(), []string{message.ReceiptHandle}, 0)
		}
		return messages
	}
	first := received()
	if len(first) != 1 || len(received()) != 0 {
		t.Fatal("want one receive, after which the message is in the dead-letter queue")
	}
	settings, err := q.Stats(t.Context())
	if err != nil || settings.DeadLetterMessages == nil || *settings.DeadLetterMessages != 1 {
		t.Fatalf("%+v, %v: want one message in the dead-letter queue", settings, err)
	}
	if err := q.Redrive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if back := received(); len(back) != 1 || back[0].Body != "a" || back[0].ReceiveCount != 1 {
		t.Errorf("received %+v, want the message as a new one", back)
	}
	createQueue(t, environment, map[string]any{"QueueName": "b", "Attributes": map[string]any{"RedrivePolicy": deadLetterPolicy}})
	if err := q.Redrive(t.Context()); queue.ReasonOf(err) != queue.DeadLetterQueueShared || err == nil {
		t.Errorf("with two queues got %v", err)
	}
}

const deadLetterPolicy = `{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:000000000000:dead","maxReceiveCount":1}`

func emulatedWithDeadLetters(t *testing.T) (endpoint string, q queue.Queue) {
	t.Helper()
	endpoint = emulator(t)
	createQueue(t, endpoint, map[string]any{"QueueName": "dead"})
	url := createQueue(t, endpoint, map[string]any{"QueueName": "a", "Attributes": map[string]any{"RedrivePolicy": deadLetterPolicy}})
	return endpoint, at(t, endpoint, url)
}
