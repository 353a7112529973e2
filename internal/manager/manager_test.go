package manager

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// Prometheus gets exemplars in OpenMetrics only, and who does not ask for it the text that everything reads.
func TestMetricsAreServedAsOpenMetricsToThoseWhoAskForIt(t *testing.T) {
	server, err := metricsserver.NewServer((&Flags{metricsAddress: "127.0.0.1:0"}).metricsServer(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	address := ""
	if err := wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		address = server.(interface{ GetBindAddr() string }).GetBindAddr()
		return address != "", nil
	}); err != nil {
		t.Fatal(err)
	}
	for accept, want := range map[string]string{
		"application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5": "application/openmetrics-text; version=1.0.0",
		"*/*": "text/plain; version=0.0.4",
	} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", accept)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if got := answer.Header.Get("Content-Type"); err != nil || !strings.HasPrefix(got, want) || strings.HasSuffix(string(body), "# EOF\n") != strings.Contains(want, "openmetrics") {
			t.Errorf("asked for %s: got %s, %v; want %s", accept, got, err, want)
		}
	}
}
