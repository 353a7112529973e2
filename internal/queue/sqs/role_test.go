package sqs

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/queuebinding/queuebinding/internal/queue"
)

const (
	cloudURL      = "https://sqs.eu-west-1.amazonaws.com/123456789012/pings"
	cloudARN      = "arn:aws:sqs:eu-west-1:123456789012:pings"
	deadLetterURL = "https://sqs.eu-west-1.amazonaws.com/123456789012/pings-dead"
	deadLetterARN = "arn:aws:sqs:eu-west-1:123456789012:pings-dead"
)

// cloud plays STS, which grants every role, and an SQS whose queue has a dead-letter queue. It notes what it was asked.
type cloud struct {
	mu sync.Mutex
	// sessions are the requests for roles.
	sessions []url.Values
	// actions are those that the requests to SQS took, by the queue that they were about.
	actions map[string][]string
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{actions: map[string][]string{}}
	sts := httptest.NewServer(http.HandlerFunc(c.assumeRole))
	t.Cleanup(sts.Close)
	sqs := httptest.NewServer(http.HandlerFunc(c.answer))
	t.Cleanup(sqs.Close)
	t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
	at(t, sqs.URL, cloudURL)
	return c
}

func (c *cloud) assumeRole(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	asked, _ := url.ParseQuery(string(body))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions = append(c.sessions, asked)
	fmt.Fprint(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
		<AccessKeyId>ASSUMED</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
		<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
}

func (c *cloud) answer(w http.ResponseWriter, r *http.Request) {
	var input struct {
		URL    string `json:"QueueUrl"`
		Name   string `json:"QueueName"`
		Source string `json:"SourceArn"`
	}
	_ = json.NewDecoder(r.Body).Decode(&input)
	action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
	about := map[string]string{cloudURL: cloudARN, deadLetterURL: deadLetterARN}[input.URL]
	if input.Name != "" || input.Source != "" {
		about = deadLetterARN
	}
	c.mu.Lock()
	// A batch needs the permission of what it is a batch of.
	c.actions[about] = append(c.actions[about], "sqs:"+strings.TrimSuffix(action, "Batch"))
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	switch action {
	case "GetQueueAttributes":
		fmt.Fprintf(w, `{"Attributes": {"ApproximateNumberOfMessages": "1", "ApproximateNumberOfMessagesNotVisible": "0", "ApproximateNumberOfMessagesDelayed": "0",
			"RedrivePolicy": %q}}`, `{"deadLetterTargetArn": "`+deadLetterARN+`", "maxReceiveCount": 3}`)
	case "GetQueueUrl":
		fmt.Fprintf(w, `{"QueueUrl": %q}`, deadLetterURL)
	case "SendMessageBatch":
		fmt.Fprint(w, `{"Successful": [{"Id": "0", "MessageId": "1", "MD5OfMessageBody": "92eb5ffee6ae2fec3ad71c777531578f"}]}`) // of b
	case "ListDeadLetterSourceQueues":
		fmt.Fprintf(w, `{"queueUrls": [%q]}`, cloudURL)
	default:
		fmt.Fprint(w, `{}`)
	}
}

// granted are the actions that the last session's policy grants on a queue by its ARN.
func (c *cloud) granted(t *testing.T, queueARN string) []string {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var policy struct{ Statement []statement }
	if err := json.Unmarshal([]byte(c.sessions[len(c.sessions)-1].Get("Policy")), &policy); err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, s := range policy.Statement {
		if slices.Contains(s.Resource, queueARN) {
			actions = append(actions, s.Action...)
		}
	}
	return actions
}

// What CloudTrail shows names the binding, and a session can do for its own queue what the code asks for, and no more elsewhere
// than to count.
func TestASessionIsForOneQueueAndNamed(t *testing.T) {
	cloud := newCloud(t)
	opened, err := NewOpener().Open(t.Context(), queue.Address{URL: cloudURL, Credentials: queue.Credentials{
		RoleARN: "arn:aws:iam::123456789012:role/pings", ExternalID: "queuebinding:batch/pings", Session: "batch.pings",
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, err = opened.Receive(ctx, 1, 0, time.Minute)
	errs := slices.Concat([]error{err, opened.Send(ctx, queue.Outgoing{Body: "b"})},
		opened.Delete(ctx, []string{"handle"}), opened.ChangeVisibility(ctx, []string{"handle"}, 0), opened.SendBatch(ctx, []queue.Outgoing{{Body: "b"}}))
	_, err = opened.Stats(ctx)
	for _, err := range append(errs, err) {
		if err != nil {
			t.Fatal(err)
		}
	}
	asked := cloud.sessions[0]
	if len(cloud.sessions) != 1 || asked.Get("RoleSessionName") != "queuebinding.batch.pings" || asked.Get("SourceIdentity") != "queuebinding.batch.pings" {
		t.Errorf("%d sessions, the first by %v; want one named after the binding", len(cloud.sessions), asked)
	}
	if granted := cloud.granted(t, deadLetterARN); len(granted) > 0 {
		t.Errorf("the session for the queue may %v on another", granted)
	}
	compareActions(t, "the queue", cloud.granted(t, cloudARN), cloud.actions[cloudARN])
	compareActions(t, "the dead-letter queue, to count", cloud.granted(t, "*"), append(cloud.actions[deadLetterARN], kmsActions...))

	cloud.actions = map[string][]string{}
	if err := opened.Redrive(ctx); err != nil {
		t.Fatal(err)
	}
	// SQS itself receives and deletes the messages that it moves, with the rights of who asked for it.
	asks := append(cloud.actions[deadLetterARN], "sqs:ReceiveMessage", "sqs:DeleteMessage")
	asks = slices.DeleteFunc(asks, func(action string) bool { return slices.Contains(deadLetterCounts, action) })
	compareActions(t, "the dead-letter queue, to redrive", cloud.granted(t, deadLetterARN), asks)
}

func compareActions(t *testing.T, what string, granted, asked []string) {
	t.Helper()
	unique := func(actions []string) []string { return slices.Compact(slices.Sorted(slices.Values(actions))) }
	if granted, asked := unique(granted), unique(asked); !slices.Equal(granted, asked) {
		t.Errorf("%s: the session may %v, the code asks for %v", what, granted, asked)
	}
}

func TestARN(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	for name, test := range map[string]struct {
		url, region, want string // an empty want: InvalidQueue
	}{
		"region of the host":             {url: cloudURL, want: cloudARN},
		"FIFO":                           {url: cloudURL + ".fifo", want: cloudARN + ".fifo"},
		"the region that is asked in":    {url: cloudURL, region: "us-east-1", want: "arn:aws:sqs:us-east-1:123456789012:pings"},
		"China":                          {url: "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/pings", want: "arn:aws-cn:sqs:cn-north-1:123456789012:pings"},
		"GovCloud":                       {url: "https://sqs.us-gov-west-1.amazonaws.com/123456789012/pings", want: "arn:aws-us-gov:sqs:us-gov-west-1:123456789012:pings"},
		"the first host of us-east-1":    {url: "https://queue.amazonaws.com/123456789012/pings", want: "arn:aws:sqs:us-east-1:123456789012:pings"},
		"a VPC endpoint":                 {url: "https://vpce-0a.sqs.eu-west-1.vpce.amazonaws.com/123456789012/pings", want: cloudARN},
		"no account":                     {url: "https://sqs.eu-west-1.amazonaws.com/pings"},
		"more than a name":               {url: cloudURL + "/more"},
		"another account behind a slash": {url: "https://sqs.eu-west-1.amazonaws.com//999999999999/pings"},
		"escapes":                        {url: "https://sqs.eu-west-1.amazonaws.com/123456789012/ping%3as"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := NewOpener().ARN(t.Context(), queue.Address{URL: test.url, Region: test.region})
			if got != test.want || (test.want == "") != (err != nil) || err != nil && queue.ReasonOf(err) != queue.InvalidQueue {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestSessionNamesFit(t *testing.T) {
	long := strings.Repeat("n", 63) + "." + strings.Repeat("b", 50)
	a, b := sessionName(long), sessionName(long[:len(long)-1]+"c")
	if len(a) > maxSessionName || len(b) > maxSessionName || a == b {
		t.Errorf("got %s and %s, want two names of at most %d characters", a, b, maxSessionName)
	}
}
