package sqs

import (
	"crypto/md5" //nolint:gosec // it is what SQS answers with
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/queuebinding/queuebinding/internal/queue"
)

const traceHeader = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"

// systemAttribute is AWSTraceHeader as a sender gives it.
type systemAttribute struct {
	AWSTraceHeader struct{ DataType, StringValue string }
}

// The emulator does not know AWSTraceHeader, so that what is asked of SQS is recorded here. It takes no request of its own.
func TestTheTraceHeaderIsAskedForAndSent(t *testing.T) {
	const answers = `{"MessageId": "m", "MD5OfMessageBody": "%[1]x", "Successful": [{"Id": "0", "MessageId": "m", "MD5OfMessageBody": "%[1]x"}],
		"Messages": [{"MessageId": "1", "ReceiptHandle": "handle", "Body": "a", "Attributes": {"AWSTraceHeader": "%[2]s"}}]}`
	var asked []string
	var sent []systemAttribute
	var names []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS."))
		var request struct {
			MessageSystemAttributes     systemAttribute
			MessageSystemAttributeNames []string
			Entries                     []struct{ MessageSystemAttributes systemAttribute }
		}
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			t.Error(err)
		}
		names = append(names, request.MessageSystemAttributeNames...)
		sent = append(sent, request.MessageSystemAttributes)
		for _, entry := range request.Entries {
			sent = append(sent, entry.MessageSystemAttributes)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		fmt.Fprintf(w, answers, md5.Sum([]byte("a")), traceHeader) //nolint:gosec // it is what SQS answers with
	}))
	defer server.Close()
	q := at(t, server.URL, "https://sqs.eu-west-1.amazonaws.com/123456789012/a")

	messages, err := q.Receive(t.Context(), 1, time.Second, time.Minute)
	if err != nil || len(messages) != 1 || messages[0].TraceHeader != traceHeader {
		t.Errorf("received %+v and %v", messages, err)
	}
	if !slices.Contains(names, "AWSTraceHeader") || len(asked) != 1 {
		t.Errorf("asked for %v by %v, want AWSTraceHeader too, and one request", names, asked)
	}
	sent = nil
	if err := q.Send(t.Context(), queue.Outgoing{Body: "a", TraceHeader: traceHeader}); err != nil {
		t.Error(err)
	}
	if errs := q.SendBatch(t.Context(), []queue.Outgoing{{Body: "a", TraceHeader: traceHeader}}); errs[0] != nil {
		t.Error(errs)
	}
	if err := q.Send(t.Context(), queue.Outgoing{Body: "a"}); err != nil {
		t.Error(err)
	}
	var values []string
	for _, each := range sent {
		values = append(values, each.AWSTraceHeader.DataType+" "+each.AWSTraceHeader.StringValue)
	}
	if want := []string{"String " + traceHeader, " ", "String " + traceHeader, " "}; !slices.Equal(values, want) {
		t.Errorf("sent %q, want %q", values, want)
	}
}
