package sqs

import (
	"context"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/test/testenv"
)

// emulated starts the emulator and makes a queue in it.
func emulated(t *testing.T, name string, attributes map[string]string) queue.Queue {
	t.Helper()
	endpoint := emulator(t)
	return at(t, endpoint, createQueue(t, endpoint, map[string]any{"QueueName": name, "Attributes": attributes}))
}

// emulator starts the emulator and returns its endpoint.
func emulator(t *testing.T) string {
	t.Helper()
	environment, err := testenv.Start(testenv.Options{Parts: []string{testenv.Queue}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	return environment.SQSEndpoint
}

// at opens a queue at an endpoint.
func at(t *testing.T, endpoint, queueURL string) queue.Queue {
	t.Helper()
	t.Setenv(EndpointVariable, endpoint)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_REGION", "eu-west-1")
	opened, err := NewOpener().Open(t.Context(), queue.Address{URL: queueURL})
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// createQueue makes a queue, in SQS's JSON protocol, without the SDK.
func createQueue(t *testing.T, endpoint string, input map[string]any) (url string) {
	t.Helper()
	body, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Amz-Target", "AmazonSQS.CreateQueue")
	request.Header.Set("Content-Type", "application/x-amz-json-1.0")
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/sqs/aws4_request, SignedHeaders=host, Signature=x")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	output := map[string]any{}
	if err := json.NewDecoder(response.Body).Decode(&output); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %v %v", response.Status, output, err)
	}
	return output["QueueUrl"].(string)
}

func TestAMessageThroughTheEmulator(t *testing.T) {
	q := emulated(t, "a", nil)
	ctx := t.Context()
	sent := queue.Outgoing{Body: "the body\n", Attributes: queue.Attributes{
		"n":   {DataType: "Number.int", StringValue: "1"},
		"raw": {DataType: "Binary.png", BinaryValue: []byte{0, 0xff}},
	}}
	for range 12 {
		if err := q.Send(ctx, sent); err != nil {
			t.Fatal(err)
		}
	}
	settings, err := q.Stats(ctx)
	if err != nil || settings.VisibleMessages != 12 || settings.FIFO || settings.DeadLetterQueueARN != "" || settings.RetentionPeriod != 4*24*time.Hour {
		t.Fatalf("got %+v and %v", settings, err)
	}

	var handles []string
	for len(handles) < 12 {
		messages, err := q.Receive(ctx, 10, 5*time.Second, time.Minute)
		if err != nil || len(messages) == 0 {
			t.Fatalf("received %v and %v", messages, err)
		}
		for _, m := range messages {
			if m.Body != sent.Body || fmt.Sprint(m.Attributes) != fmt.Sprint(sent.Attributes) || m.ReceiveCount != 1 || m.ID == "" || time.Since(m.SentTime).Abs() > time.Hour {
				t.Errorf("received %+v", m)
			}
			handles = append(handles, m.ReceiptHandle)
		}
	}
	for i, err := range q.ChangeVisibility(ctx, handles[:1], 0) {
		if err != nil {
			t.Fatalf("give back %d: %v", i, err)
		}
	}
	again, err := q.Receive(ctx, 10, 5*time.Second, time.Minute)
	if err != nil || len(again) != 1 || again[0].ReceiveCount != 2 {
		t.Fatalf("received %+v and %v, want the one given back", again, err)
	}
	handles[0] = again[0].ReceiptHandle
	for i, err := range q.Delete(ctx, handles) { // more than fit one request
		if err != nil {
			t.Fatalf("delete %d: %v", i, err)
		}
	}
	if settings, err = q.Stats(ctx); err != nil || settings.VisibleMessages != 0 || settings.InFlightMessages != 0 {
		t.Fatalf("got %+v and %v", settings, err)
	}
}

func TestErrorsHaveAReason(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		code   string
		want   queue.Reason
	}{
		"queue missing":              {400, "com.amazonaws.sqs#QueueDoesNotExist", queue.NotFound},
		"queue missing, query style": {400, "AWS.SimpleQueueService.NonExistentQueue", queue.NotFound},
		"access denied":              {400, "com.amazonaws.sqs#AccessDeniedException", queue.AccessDenied},
		"access denied, query style": {403, "AccessDenied", queue.AccessDenied},
		"unknown key":                {403, "InvalidClientTokenId", queue.AccessDenied},
		"wrong secret":               {403, "SignatureDoesNotMatch", queue.AccessDenied},
		"session over":               {403, "ExpiredToken", queue.AccessDenied},
		"key denied":                 {400, "com.amazonaws.sqs#KmsAccessDenied", queue.KMSError},
		"key disabled":               {400, "com.amazonaws.sqs#KmsDisabled", queue.KMSError},
		"key, query style":           {400, "KMS.NotFoundException", queue.KMSError},
		"key throttled":              {400, "com.amazonaws.sqs#KmsThrottled", queue.Throttled},
		"throttled":                  {400, "com.amazonaws.sqs#RequestThrottled", queue.Throttled},
		"throttled, common":          {400, "ThrottlingException", queue.Throttled},
		"too many in flight":         {403, "com.amazonaws.sqs#OverLimit", queue.Throttled},
		"address":                    {400, "com.amazonaws.sqs#InvalidAddress", queue.InvalidQueue},
		"broken":                     {500, "InternalFailure", queue.Unreachable},
		"unavailable":                {503, "ServiceUnavailable", queue.Unreachable},
		"new to us":                  {400, "SomethingElse", queue.Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/x-amz-json-1.0")
				w.WriteHeader(tc.status)
				fmt.Fprintf(w, `{"__type": %q, "message": "words of SQS"}`, tc.code)
			}))
			defer server.Close()
			_, err := at(t, server.URL, "https://sqs.eu-west-1.amazonaws.com/123456789012/a").Stats(t.Context())
			if queue.ReasonOf(err) != tc.want || !strings.Contains(err.Error(), "words of SQS") {
				t.Errorf("got %s, %v; want %s", queue.ReasonOf(err), err, tc.want)
			}
		})
	}
}

// What SQS says of a message that it does not take ends up in a status and a log.
func TestARefusedMessageIsNotQuoted(t *testing.T) {
	for _, code := range []string{"com.amazonaws.sqs#InvalidMessageContents", "InvalidParameterValue", "SomethingElse"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.0")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"__type": %q, "message": "hunter2 is not allowed"}`, code)
		}))
		err := at(t, server.URL, "https://sqs.eu-west-1.amazonaws.com/123456789012/a").Send(t.Context(), queue.Outgoing{Body: "hunter2"})
		server.Close()
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), code[strings.LastIndexByte(code, '#')+1:]) {
			t.Errorf("%s: got %v", code, err)
		}
	}
}

func TestNoAnswerIsUnreachableAndReadsTheSameEachTime(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		connection, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = connection.Close()
		}
	}))
	defer server.Close()
	q := at(t, server.URL, "https://sqs.eu-west-1.amazonaws.com/123456789012/a")
	_, first := q.Stats(t.Context())
	_, second := q.Stats(t.Context())
	if queue.ReasonOf(first) != queue.Unreachable || first.Error() != second.Error() {
		t.Errorf("got %v and %v", first, second)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.Receive(canceled, 1, 0, time.Second); err == nil {
		t.Error("a canceled receive gave no error")
	}
}

func TestOneBadHandleFailsAlone(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		fmt.Fprint(w, `{"Successful": [{"Id": "0"}], "Failed": [{"Id": "1", "Code": "ReceiptHandleIsInvalid", "SenderFault": true, "Message": "old"}]}`)
	}))
	defer server.Close()
	errs := at(t, server.URL, "https://sqs.eu-west-1.amazonaws.com/123456789012/a").Delete(t.Context(), []string{"good", "bad"})
	if errs[0] != nil || queue.ReasonOf(errs[1]) != queue.ReceiptHandleInvalid {
		t.Errorf("got %v", errs)
	}
}

// batchServer answers to batches by what a function makes of the bodies, and counts the requests by their action.
func batchServer(t *testing.T, answer func(bodies []string) (status int, text string)) (url string, asked map[string]int) {
	t.Helper()
	asked = map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
		asked[action]++
		var request struct {
			MessageBody string
			Entries     []struct{ MessageBody string }
		}
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			t.Error(err)
		}
		bodies := []string{request.MessageBody}
		if action == "SendMessageBatch" {
			bodies = nil
			for _, entry := range request.Entries {
				bodies = append(bodies, entry.MessageBody)
			}
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		status, text := answer(bodies)
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

// P1: what is not known to be on the queue was not sent.
func TestEachMessageOfABatchHasItsOwnError(t *testing.T) {
	url, asked := batchServer(t, func([]string) (int, string) {
		return http.StatusOK, fmt.Sprintf(`{"Successful": [{"Id": "0", "MessageId": "m", "MD5OfMessageBody": "%x"}], "Failed": [
			{"Id": "1", "Code": "InvalidMessageContents", "SenderFault": true, "Message": "bad"},
			{"Id": "2", "Code": "InternalError", "SenderFault": false, "Message": "broken"}]}`, md5.Sum([]byte("good")))
	})
	errs := at(t, url, "https://sqs.eu-west-1.amazonaws.com/123456789012/a").SendBatch(t.Context(), []queue.Outgoing{
		{Body: "good"}, {Body: "bad"}, {Body: "broken"}, {Body: "left out"}, {Body: ""},
	})
	if errs[0] != nil || queue.ReasonOf(errs[1]) != queue.InvalidMessage || queue.ReasonOf(errs[2]) != queue.Unreachable ||
		errs[3] == nil || queue.ReasonOf(errs[3]) != queue.Unreachable || queue.ReasonOf(errs[4]) != queue.InvalidMessage || asked["SendMessageBatch"] != 1 {
		t.Errorf("got %v in %v", errs, asked)
	}
}

// P5: one message must not have the others of its batch refused.
func TestABatchThatIsRefusedAsAWholeIsSentOneByOne(t *testing.T) {
	url, asked := batchServer(t, func(bodies []string) (int, string) {
		if slices.Contains(bodies, "bad") {
			return http.StatusBadRequest, `{"__type": "com.amazonaws.sqs#InvalidMessageContents", "message": "bad"}`
		}
		return http.StatusOK, fmt.Sprintf(`{"MessageId": "m", "MD5OfMessageBody": "%x"}`, md5.Sum([]byte(bodies[0])))
	})
	errs := at(t, url, "https://sqs.eu-west-1.amazonaws.com/123456789012/a").SendBatch(t.Context(), []queue.Outgoing{{Body: "a"}, {Body: "bad"}, {Body: "c"}})
	if errs[0] != nil || queue.ReasonOf(errs[1]) != queue.InvalidMessage || errs[2] != nil || asked["SendMessage"] != 3 {
		t.Errorf("got %v in %v", errs, asked)
	}
}

func TestRegionAndEndpointAreThoseOfTheURL(t *testing.T) {
	for name, tc := range map[string]struct {
		address      queue.Address
		endpoint     string
		wantRegion   string
		wantEndpoint string
		wantError    string
	}{
		"AWS":             {address: queue.Address{URL: "https://sqs.eu-west-1.amazonaws.com/123456789012/a"}, wantRegion: "eu-west-1"},
		"China":           {address: queue.Address{URL: "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/a"}, wantRegion: "cn-north-1"},
		"FIPS":            {address: queue.Address{URL: "https://sqs-fips.us-east-1.amazonaws.com/123456789012/a"}, wantRegion: "us-east-1"},
		"dual stack":      {address: queue.Address{URL: "https://sqs.eu-west-1.api.aws/123456789012/a"}, wantRegion: "eu-west-1"},
		"older":           {address: queue.Address{URL: "https://eu-west-1.queue.amazonaws.com/123456789012/a"}, wantRegion: "eu-west-1"},
		"oldest":          {address: queue.Address{URL: "https://queue.amazonaws.com/123456789012/a"}, wantRegion: "us-east-1"},
		"VPC endpoint":    {address: queue.Address{URL: "https://vpce-1-a.sqs.eu-west-1.vpce.amazonaws.com/123456789012/a"}, wantRegion: "eu-west-1", wantEndpoint: "https://vpce-1-a.sqs.eu-west-1.vpce.amazonaws.com"},
		"region given":    {address: queue.Address{URL: "https://sqs.eu-west-1.amazonaws.com/123456789012/a", Region: "eu-north-1"}, wantRegion: "eu-north-1"},
		"emulator":        {address: queue.Address{URL: "http://127.0.0.1:4566/000000000000/a"}, endpoint: "http://127.0.0.1:4566", wantRegion: "ap-south-1"},
		"foreign host":    {address: queue.Address{URL: "https://sqs.example.com/123456789012/a"}, wantError: "is not an AWS host"},
		"lookalike":       {address: queue.Address{URL: "https://sqs.eu-west-1.amazonaws.com.example.com/1/a"}, wantError: "is not an AWS host"},
		"user for a host": {address: queue.Address{URL: "https://sqs.eu-west-1.amazonaws.com@example.com/1/a"}, wantError: "is not an AWS host"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(EndpointVariable, tc.endpoint)
			opener := NewOpener()
			opener.base.Region = "ap-south-1"
			key, err := opener.keyOf(tc.address)
			if tc.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantError) || queue.ReasonOf(err) != queue.InvalidQueue {
					t.Fatalf("got %+v and %v, want an error with %q", key, err, tc.wantError)
				}
				return
			}
			if err != nil || key.region != tc.wantRegion || key.endpoint != tc.wantEndpoint {
				t.Errorf("got %+v and %v, want %s %s", key, err, tc.wantRegion, tc.wantEndpoint)
			}
		})
	}
}

// A role is assumed with the external ID of the binding, and its keys are what signs the requests.
func TestARoleIsAssumed(t *testing.T) {
	var asked url.Values
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asked, _ = url.ParseQuery(string(body))
		if asked.Get("RoleArn") == "arn:aws:iam::123456789012:role/refused" {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error><RequestId>1</RequestId></ErrorResponse>`)
			return
		}
		fmt.Fprint(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
			<AccessKeyId>ASSUMED</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
			<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
	}))
	defer sts.Close()
	signed := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		signed = r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		fmt.Fprint(w, `{"Attributes": {}}`)
	}))
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
	at(t, server.URL, "https://sqs.eu-west-1.amazonaws.com/123456789012/a")
	opener := NewOpener()
	open := func(c queue.Credentials) queue.Queue {
		t.Helper()
		opened, err := opener.Open(t.Context(), queue.Address{URL: "https://sqs.eu-west-1.amazonaws.com/123456789012/a", Credentials: c})
		if err != nil {
			t.Fatal(err)
		}
		return opened
	}

	if _, err := open(queue.Credentials{RoleARN: "arn:aws:iam::123456789012:role/pings", ExternalID: "queuebinding:batch/pings"}).Stats(t.Context()); err != nil {
		t.Fatal(err)
	}
	if asked.Get("ExternalId") != "queuebinding:batch/pings" || !strings.Contains(signed, "Credential=ASSUMED/") {
		t.Errorf("STS was asked %v, SQS's request was signed by %s", asked, signed)
	}
	_, err := open(queue.Credentials{RoleARN: "arn:aws:iam::123456789012:role/refused"}).Stats(t.Context())
	if queue.ReasonOf(err) != queue.CredentialsUnavailable || !strings.Contains(err.Error(), "role/refused: AccessDenied: not you") {
		t.Errorf("got %s, %v", queue.ReasonOf(err), err)
	}
	if _, err := open(queue.Credentials{AccessKeyID: "KEYS", SecretAccessKey: "s"}).Stats(t.Context()); err != nil || !strings.Contains(signed, "Credential=KEYS/") {
		t.Errorf("got %v, signed by %s", err, signed)
	}
}
