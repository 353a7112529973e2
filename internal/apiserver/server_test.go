package apiserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	clientrest "k8s.io/client-go/rest"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/utils/keymutex"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/internal/requeue"
)

// front stands for the cluster's API server: it publishes how it forwards requests once it is told to, forwards them, and counts
// the reviews that it is asked for.
type front struct {
	*httptest.Server
	publish  chan struct{}
	reviews  atomic.Int32 // of tokens
	proxyPEM []byte       // the certificate that it forwards with, which is its own authority
	forwards *http.Client
}

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{publish: make(chan struct{})}
	certificate, key, err := sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "front-proxy"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.proxyPEM = encode(certificate)
	f.forwards = trusting(tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key})
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/namespaces/kube-system/configmaps", f.serveConfigMaps)
	mux.HandleFunc("/apis/authentication.k8s.io/v1/tokenreviews", func(w http.ResponseWriter, r *http.Request) {
		f.reviews.Add(1)
		_, _ = io.Copy(w, r.Body) // not authenticated
	})
	mux.HandleFunc("/apis/authorization.k8s.io/v1/subjectaccessreviews", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, &authorizationv1.SubjectAccessReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SubjectAccessReview"},
			Status:   authorizationv1.SubjectAccessReviewStatus{Allowed: true},
		})
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

// serveConfigMaps answers a list once there is something to publish, and a watch never.
func (f *front) serveConfigMaps(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("sendInitialEvents") != "" {
		http.Error(w, "lists are not watched", http.StatusUnprocessableEntity)
		return
	}
	if r.URL.Query().Get("watch") != "" {
		<-r.Context().Done()
		return
	}
	select {
	case <-f.publish:
	case <-r.Context().Done():
		return
	}
	answer(w, &corev1.ConfigMapList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMapList"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"},
		Items: []corev1.ConfigMap{{
			ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: authenticationConfig},
			Data: map[string]string{
				"client-ca-file":                     string(f.proxyPEM), // anybody's certificates
				"requestheader-client-ca-file":       string(f.proxyPEM),
				"requestheader-allowed-names":        `["front-proxy"]`,
				"requestheader-username-headers":     `["X-Remote-User"]`,
				"requestheader-group-headers":        `["X-Remote-Group"]`,
				"requestheader-extra-headers-prefix": `["X-Remote-Extra-"]`,
			},
		}},
	})
}

func answer(w http.ResponseWriter, object any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object)
}

// trusting returns a client that looks at no certificate and shows those that it has.
func trusting(certificates ...tls.Certificate) *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true, Certificates: certificates}, //nolint:gosec // it is on this machine
		MaxIdleConnsPerHost: maxConnections,
	}}
}

// holding is an API server that keeps whoever reads a binding waiting.
type holding struct {
	client.Reader
	reading atomic.Int32
	release chan struct{}
}

func (h *holding) Get(ctx context.Context, _ client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	h.reading.Add(1)
	defer h.reading.Add(-1)
	select {
	case <-h.release:
	case <-ctx.Done():
	}
	return errors.New("there is none")
}

// serve serves the aggregated API behind a front until the test ends.
func serve(t *testing.T, f *front, bindings client.Reader) *server {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	clientset, err := kubernetes.NewForConfig(&clientrest.Config{Host: f.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := newFrontProxy(clientset)
	if err != nil {
		t.Fatal(err)
	}
	certificates := &certificateSource{loaded: make(chan struct{})}
	certificate, key, err := newCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	certificates.load(&corev1.Secret{Data: map[string][]byte{corev1.TLSCertKey: encode(certificate), corev1.TLSPrivateKeyKey: keyPEM}})
	s := &server{
		clientset: clientset, frontProxy: proxy, listener: listener, certificates: certificates,
		waitForJobs: func(context.Context) error { return nil },
		requeue:     &requeueREST{intents: &requeue.IntentStore{Reader: bindings}, locks: keymutex.NewHashed(bindingLocks)},
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	return s
}

// await waits until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return holds(), nil })
	if err != nil {
		t.Fatalf("waited in vain until %s", what)
	}
}

// ask sends a request, as a user if one is forwarded, and returns the code of the answer.
func (s *server) ask(t *testing.T, c *http.Client, method, path, user, token string, body []byte) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "https://"+s.listener.Addr().String()+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if user != "" {
		request.Header.Set("X-Remote-User", user)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := c.Do(request)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

const (
	group       = "/apis/subresources.queuebinding.dev/v1alpha1"
	requeuePath = group + "/namespaces/batch/queuebindings/pings/requeue"
)

func TestReadyOnceItKnowsHowRequestsAreForwarded(t *testing.T) {
	f := newFront(t)
	s := serve(t, f, nil)
	await(t, "it serves", s.serving.Load)
	if s.checkReady(nil) == nil {
		t.Error("it is ready, and would refuse every request that is forwarded")
	}
	close(f.publish)
	await(t, "it is ready", func() bool { return s.checkReady(nil) == nil })
	if code := s.ask(t, f.forwards, http.MethodGet, group, "jane", "", nil); code != http.StatusOK {
		t.Errorf("what is forwarded is answered with %d", code)
	}
}

// Whoever reaches the port gets probes and nothing else, and makes the cluster's API server do nothing.
func TestOnlyForwardedRequestsAndProbesGetIn(t *testing.T) {
	f := newFront(t)
	close(f.publish)
	s := serve(t, f, nil)
	await(t, "it is ready", func() bool { return s.checkReady(nil) == nil })
	anybody := trusting()
	for _, path := range probePaths {
		if code := s.ask(t, anybody, http.MethodGet, path, "", "", nil); code != http.StatusOK {
			t.Errorf("the probe %s is answered with %d", path, code)
		}
	}
	for _, path := range []string{"/", "/apis", "/version", "/openapi/v2", "/metrics", "/debug/pprof/", "/livez/ping", group, requeuePath} {
		for _, user := range []string{"", "jane"} { // who has no certificate can claim to be anyone
			if code := s.ask(t, anybody, http.MethodGet, path, user, "", nil); code != http.StatusUnauthorized {
				t.Errorf("%s is answered with %d", path, code)
			}
		}
	}

	var flood sync.WaitGroup
	for worker := range 16 {
		flood.Go(func() {
			for i := range 30 {
				if code := s.ask(t, anybody, http.MethodPost, requeuePath, "", fmt.Sprintf("bad-%d-%d", worker, i), nil); code != http.StatusUnauthorized {
					t.Errorf("a bad token is answered with %d", code)
				}
			}
		})
	}
	flood.Wait()
	if n := f.reviews.Load(); n != 0 {
		t.Errorf("%d bad tokens were sent on to be reviewed", n)
	}
}

func TestRequestsInFlightAndBodiesAreBounded(t *testing.T) {
	f := newFront(t)
	close(f.publish)
	bindings := &holding{release: make(chan struct{})}
	s := serve(t, f, bindings)
	await(t, "it is ready", func() bool { return s.checkReady(nil) == nil })
	body := []byte(`{"spec":{"all":true}}`)
	var held sync.WaitGroup
	for range maxMutatingRequests {
		held.Go(func() { s.ask(t, f.forwards, http.MethodPost, requeuePath, "jane", "", body) })
	}
	await(t, "as many are handled as may be", func() bool { return bindings.reading.Load() == maxMutatingRequests })
	if code := s.ask(t, f.forwards, http.MethodPost, requeuePath, "jane", "", body); code != http.StatusTooManyRequests {
		t.Errorf("one more is answered with %d", code)
	}
	if code := s.ask(t, trusting(), http.MethodGet, "/readyz", "", "", nil); code != http.StatusOK {
		t.Errorf("meanwhile a probe is answered with %d", code)
	}
	close(bindings.release)
	held.Wait()

	large := []byte(`{"spec":{"jobNames":["` + strings.Repeat("a", maxRequestBodyBytes) + `"]}}`)
	if code := s.ask(t, f.forwards, http.MethodPost, requeuePath, "jane", "", large); code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body that is too large is answered with %d", code)
	}
}

// A connection costs memory: there are no more than may be, however many knock.
func TestConnectionsAreBounded(t *testing.T) {
	f := newFront(t)
	close(f.publish)
	s := serve(t, f, nil)
	await(t, "it is ready", func() bool { return s.checkReady(nil) == nil })
	greeted := func() bool {
		dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // it is on this machine
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		connection, err := dialer.DialContext(ctx, "tcp", s.listener.Addr().String())
		if err == nil {
			t.Cleanup(func() { connection.Close() })
		}
		return err == nil
	}
	for i := range maxConnections {
		await(t, fmt.Sprintf("connection %d is taken", i), greeted)
	}
	if greeted() {
		t.Errorf("connection %d was taken", maxConnections+1)
	}
}
