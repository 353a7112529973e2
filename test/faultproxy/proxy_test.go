package faultproxy

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
)

// server counts what reaches it, and answers each request with its path, or a receive with one message.
func server(t *testing.T) (url string, reached *atomic.Int64) {
	t.Helper()
	reached = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), receive) {
			_, _ = io.WriteString(w, `{"Messages":[{"MessageId":"a","ReceiptHandle":"h"}]}`)
			return
		}
		_, _ = io.WriteString(w, r.URL.Path)
	}))
	t.Cleanup(s.Close)
	return s.URL, reached
}

// ask sends a request and returns the answer's code and body; 0 where there is none.
func ask(t *testing.T, method, url, target, body string) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Amz-Target", target)
	// A fresh connection each time: the client would send a request again that a kept one lost.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		fault       Fault
		wantStatus  int
		wantReached int64
		wantCut     bool
	}{
		"pass":          {Fault{}, http.StatusOK, 1, false},
		"cut before":    {Fault{Kind: CutBefore}, 0, 0, true},
		"cut after":     {Fault{Kind: CutAfter}, 0, 1, true},
		"refuse before": {Fault{Kind: RefuseBefore, Status: 429}, 429, 0, false},
		"refuse after":  {Fault{Kind: RefuseAfter, Status: 500}, 500, 1, false},
		"delay":         {Fault{Delay: 1}, http.StatusOK, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			upstream, reached := server(t)
			cut := false
			test.fault.AtCut = func() { cut = true }
			proxy, err := Kubernetes(&rest.Config{Host: upstream}, "", func(Request) Fault { return test.fault })
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			status, _ := ask(t, http.MethodPost, proxy.URL+"/apis/batch/v1/namespaces/n/jobs", "", "{}")
			if status != test.wantStatus || reached.Load() != test.wantReached || cut != test.wantCut {
				t.Errorf("got status %d, %d requests upstream and cut %t, want %d, %d and %t",
					status, reached.Load(), cut, test.wantStatus, test.wantReached, test.wantCut)
			}
		})
	}
}

func TestNamesOfKubernetesRequests(t *testing.T) {
	const batch, own = "/apis/batch/v1/", "/apis/queuebinding.dev/v1alpha1/"
	for asked, want := range map[string]Request{
		"POST " + batch + "namespaces/n/jobs":                                        {"create jobs", true},
		"POST " + batch + "namespaces/n/jobs?dryRun=All":                             {"create jobs (dry run)", true},
		"PATCH " + own + "namespaces/n/queuebindings/b/status":                       {"patch queuebindings/status", true},
		"DELETE " + batch + "namespaces/n/jobs/j":                                    {"delete jobs", true},
		"GET " + batch + "namespaces/n/jobs/j":                                       {"get jobs", true},
		"GET " + batch + "namespaces/n/jobs?limit=500":                               {"list jobs", true},
		"GET " + batch + "jobs?limit=500&resourceVersion=0":                          {"list jobs", false},
		"GET " + batch + "jobs?watch=true":                                           {"watch jobs", false},
		"POST /apis/events.k8s.io/v1/namespaces/n/events":                            {"create events", false},
		"PUT /apis/coordination.k8s.io/v1/namespaces/n/leases/leader":                {"update leases", false},
		"POST /api/v1/namespaces/n/secrets":                                          {"create secrets", true},
		"GET /api":                                                                   {"list ", false},
		"POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews":                {"create selfsubjectaccessreviews", false},
		"GET /apis/coordination.k8s.io/v1/namespaces/n/leases/leader.something.else": {"get leases", false},
	} {
		method, url, _ := strings.Cut(asked, " ")
		if got := (kubernetes{}).name(httptest.NewRequest(method, url, nil)); got != want {
			t.Errorf("%s: got %+v, want %+v", asked, got, want)
		}
	}
}

func TestNamespaceIsAllThatIsSeen(t *testing.T) {
	upstream, _ := server(t)
	proxy, err := Kubernetes(&rest.Config{Host: upstream}, "mine", func(Request) Fault { return Fault{} })
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	for path, want := range map[string]string{
		"/apis/batch/v1/jobs":                    "/apis/batch/v1/namespaces/mine/jobs",
		"/api/v1/secrets":                        "/api/v1/namespaces/mine/secrets",
		"/apis/batch/v1/namespaces/theirs/jobs":  "/apis/batch/v1/namespaces/theirs/jobs",
		"/apis/storage.k8s.io/v1/storageclasses": "/apis/storage.k8s.io/v1/storageclasses",
	} {
		if _, got := ask(t, http.MethodGet, proxy.URL+path, "", ""); got != want {
			t.Errorf("%s: reached %s, want %s", path, got, want)
		}
	}
}

func TestMessagesAreDeliveredTwiceWhereThereIsRoom(t *testing.T) {
	upstream, _ := server(t)
	proxy, err := SQS(upstream, func(Request) Fault { return Fault{Duplicate: true} })
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	for asked, want := range map[string]int{`{"MaxNumberOfMessages": 10}`: 2, `{"MaxNumberOfMessages": 1}`: 1, `{}`: 1} {
		_, answer := ask(t, http.MethodPost, proxy.URL, "AmazonSQS.ReceiveMessage", asked)
		var got struct{ Messages []struct{ MessageID string } }
		if err := json.Unmarshal([]byte(answer), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Messages) != want {
			t.Errorf("%s: got %d messages, want %d", asked, len(got.Messages), want)
		}
	}
}
