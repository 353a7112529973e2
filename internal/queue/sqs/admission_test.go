package sqs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/queuebinding/queuebinding/internal/queue"
)

const pingsURL = "https://sqs.eu-west-1.amazonaws.com/123456789012/pings"

// answering is an SQS whose every answer is the same.
func answering(t *testing.T, answer string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
		_, _ = w.Write([]byte(answer)) // who asked may have gone
	}))
	t.Cleanup(server.Close)
	return server.URL
}

const oneMessage = `{"Messages": [{"MessageId": "1", "ReceiptHandle": "handle", "Body": "%s"}]}`

func TestAnAnswerIsReadOnceThereIsRoom(t *testing.T) {
	answer := fmt.Sprintf(oneMessage, strings.Repeat("x", 1<<20))
	q := at(t, answering(t, answer), pingsURL)
	var asked []int64
	room := make(chan struct{})
	ctx := queue.WithAdmission(t.Context(), func(_ context.Context, bytes int64) error {
		asked = append(asked, bytes)
		<-room
		return nil
	})
	received := make(chan error)
	go func() {
		messages, err := q.Receive(ctx, 10, time.Second, time.Minute)
		if err == nil && (len(messages) != 1 || len(messages[0].Body) != 1<<20) {
			err = fmt.Errorf("received %d messages", len(messages))
		}
		received <- err
	}()
	select {
	case err := <-received:
		t.Fatalf("received without room: %v", err)
	case room <- struct{}{}:
	}
	if err := <-received; err != nil {
		t.Fatal(err)
	}
	if len(asked) != 1 || asked[0] != int64(len(answer)) {
		t.Errorf("asked for %d bytes, want %d once", asked, len(answer))
	}
}

func TestNoRoomIsNoFaultOfSQS(t *testing.T) {
	q := at(t, answering(t, fmt.Sprintf(oneMessage, "x")), pingsURL)
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	messages, err := q.Receive(queue.WithAdmission(ctx, func(ctx context.Context, _ int64) error {
		asked++
		cancel() // the loop ends before there is room
		return ctx.Err()
	}), 10, time.Second, time.Minute)
	if !errors.Is(err, context.Canceled) || len(messages) > 0 || asked != 1 {
		t.Errorf("got %d messages and %v after asking %d times, want the context's error at once", len(messages), err, asked)
	}
}

func TestAnEmptyAnswerTakesNoRoom(t *testing.T) {
	q := at(t, answering(t, `{"Messages": []}`), pingsURL)
	messages, err := q.Receive(queue.WithAdmission(t.Context(), func(context.Context, int64) error {
		return errors.New("there is no room")
	}), 10, time.Second, time.Minute)
	if err != nil || len(messages) > 0 {
		t.Errorf("got %d messages and %v, want none", len(messages), err)
	}
}
