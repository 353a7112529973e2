package faultproxy

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
)

// SQS starts a proxy in front of an SQS emulator. It speaks the JSON protocol.
func SQS(endpoint string, decide Decide) (*Proxy, error) {
	client := http.DefaultTransport.(*http.Transport).Clone()
	client.DisableCompression = true
	return start(endpoint, client, sqs{}, decide)
}

type sqs struct{}

const receive = "ReceiveMessage"

// steps are the actions that move messages.
var steps = []string{
	receive, "SendMessage", "SendMessageBatch", "DeleteMessage", "DeleteMessageBatch",
	"ChangeMessageVisibility", "ChangeMessageVisibilityBatch", "StartMessageMoveTask",
}

func (sqs) name(r *http.Request) Request {
	action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
	return Request{Name: action, Counts: slices.Contains(steps, action)}
}

// rewrite lets a poll whose answer nobody gets end soon: a test would wait for it.
func (q sqs) rewrite(r *http.Request, body []byte, fault Fault) []byte {
	if q.name(r).Name != receive || fault.Kind != CutAfter && fault.Kind != RefuseAfter {
		return body
	}
	return edit(body, func(asked map[string]any) {
		if wait, ok := asked["WaitTimeSeconds"].(float64); ok && wait > 1 {
			asked["WaitTimeSeconds"] = 1
		}
	})
}

// deliverTwice passes on the answer to a receive with each message in it twice, under the same receipt handle.
func deliverTwice(w http.ResponseWriter, asked []byte, answer *http.Response) {
	answered, err := io.ReadAll(answer.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	var limit struct{ MaxNumberOfMessages int }
	if json.Unmarshal(asked, &limit) == nil {
		answered = edit(answered, func(answer map[string]any) {
			messages, _ := answer["Messages"].([]any)
			room := min(len(messages), max(limit.MaxNumberOfMessages, 1)-len(messages))
			if room > 0 {
				answer["Messages"] = append(messages, messages[:room]...)
			}
		})
	}
	answer.Header.Del("Content-Length")
	copyHeader(w, answer)
	_, _ = w.Write(answered) // who has gone gets nothing
}

func edit(body []byte, change func(map[string]any)) []byte {
	var object map[string]any
	if json.Unmarshal(body, &object) != nil {
		return body
	}
	change(object)
	changed, err := json.Marshal(object)
	if err != nil {
		return body
	}
	return changed
}

func (sqs) refuse(w http.ResponseWriter, status int) {
	code := "ServiceUnavailable"
	if status == http.StatusTooManyRequests {
		// SQS throttles with 400 and a code of its own.
		status, code = http.StatusBadRequest, "RequestThrottled"
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": "com.amazonaws.sqs#" + code, "message": "refused by a test"}) // who has gone gets nothing
}
