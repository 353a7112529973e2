package sqs

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/version"
)

// What SQS is asked tells which build asks: CloudTrail records it.
func TestRequestsTellTheVersion(t *testing.T) {
	endpoint := emulator(t)
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	agents := map[string]string{}
	forward := httputil.NewSingleHostReverseProxy(target)
	recorder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		agents[r.Header.Get("X-Amz-Target")] = r.UserAgent()
		mu.Unlock()
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(recorder.Close)

	q := at(t, recorder.URL, createQueue(t, endpoint, map[string]any{"QueueName": "versions"}))
	if err := q.Send(t.Context(), queue.Outgoing{Body: "x"}); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := "queuebinding/" + version.Get().Version; !slices.Contains(strings.Fields(agents["AmazonSQS.SendMessage"]), want) {
		t.Errorf("got User-Agents %q, want %q in that of SendMessage", agents, want)
	}
}
