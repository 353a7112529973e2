// Package webhook is a real admission webhook: a TLS server in the test's own process, on a free port of the loopback interface,
// which the API server finds by its URL. A test says what it answers for each object, and how it fails to.
package webhook

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"
)

// Failure is how a webhook fails to answer.
type Failure int

const (
	// None is an answer.
	None Failure = iota
	// Error is the status code 500.
	Error
	// Hang is no answer for as long as the API server waits.
	Hang
	// Cut is a connection that is closed in place of an answer.
	Cut
)

// Answer is what a webhook says of an object. The zero value allows it.
type Answer struct {
	Failure Failure
	// Denial, where it is set, denies the object. The API server begins its own words with who denied, and keeps the rest.
	Denial *metav1.Status
	// Patch, where it is set, is a JSON patch. Only a mutating webhook may answer with one.
	Patch string
}

// Decide chooses the answer for an object. It is called by several goroutines.
type Decide func(*admissionv1.AdmissionRequest) Answer

// Server is a webhook that runs.
type Server struct {
	decide      Decide
	address     string
	certificate tls.Certificate
	authority   []byte

	mu     sync.Mutex
	server *http.Server
}

// Start starts a webhook, which Close ends.
func Start(decide Decide) (*Server, error) {
	certPEM, keyPEM, err := cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		return nil, fmt.Errorf("making a webhook's certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("reading a webhook's certificate: %w", err)
	}
	s := &Server{decide: decide, address: "127.0.0.1:0", certificate: pair, authority: certPEM}
	return s, s.Up()
}

// Up has the webhook listen, where it was down at the address that it had.
func (s *Server) Up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		return nil
	}
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return fmt.Errorf("listening for a webhook: %w", err)
	}
	s.address = listener.Addr().String()
	s.server = &http.Server{
		Handler:           http.HandlerFunc(s.review),
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: time.Minute,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{s.certificate}},
		// Without HTTP/2 a connection has one request at a time, and closing it fails no other.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	go func(server *http.Server) { _ = server.ServeTLS(listener, "", "") }(s.server) // it ends with Down
	return nil
}

// Down closes the webhook's port and all connections.
func (s *Server) Down() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil
	}
	server := s.server
	s.server = nil
	return server.Close()
}

// Close ends the webhook.
func (s *Server) Close() error { return s.Down() }

// review answers one AdmissionReview.
func (s *Server) review(w http.ResponseWriter, r *http.Request) {
	review := &admissionv1.AdmissionReview{}
	if err := json.NewDecoder(r.Body).Decode(review); err != nil || review.Request == nil {
		http.Error(w, "no AdmissionReview", http.StatusBadRequest)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body) // to be told when the API server waits no more
	answer := s.decide(review.Request)
	switch answer.Failure {
	case None:
	case Error:
		http.Error(w, "the webhook failed", http.StatusInternalServerError)
		return
	case Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case Cut:
		panic(http.ErrAbortHandler)
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: answer.Denial == nil, Result: answer.Denial}
	if answer.Patch != "" {
		review.Response.Patch, review.Response.PatchType = []byte(answer.Patch), new(admissionv1.PatchTypeJSONPatch)
	}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review) // who waits no more gets nothing
}

// Rule is what a webhook is asked about: the creation of these resources of a group, in one namespace.
type Rule struct {
	Namespace, Group string
	Resources        []string
	// TimeoutSeconds is how long the API server waits for an answer: 1 to 30.
	TimeoutSeconds int32
}

// Validating returns a configuration that has the API server ask the webhook, and create nothing where it fails.
func (s *Server) Validating(name string, rule Rule) *admissionregistrationv1.ValidatingWebhookConfiguration {
	return &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: name + ".example.com", ClientConfig: s.clientConfig(), Rules: rule.rules(), NamespaceSelector: rule.selector(),
			FailurePolicy: new(admissionregistrationv1.Fail), TimeoutSeconds: &rule.TimeoutSeconds,
			SideEffects: new(admissionregistrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
		}},
	}
}

// Mutating returns the same as Validating for a webhook that patches.
func (s *Server) Mutating(name string, rule Rule) *admissionregistrationv1.MutatingWebhookConfiguration {
	return &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: name + ".example.com", ClientConfig: s.clientConfig(), Rules: rule.rules(), NamespaceSelector: rule.selector(),
			FailurePolicy: new(admissionregistrationv1.Fail), TimeoutSeconds: &rule.TimeoutSeconds,
			SideEffects: new(admissionregistrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
		}},
	}
}

func (s *Server) clientConfig() admissionregistrationv1.WebhookClientConfig {
	s.mu.Lock()
	defer s.mu.Unlock()
	return admissionregistrationv1.WebhookClientConfig{URL: new("https://" + s.address), CABundle: s.authority}
}

func (r Rule) rules() []admissionregistrationv1.RuleWithOperations {
	return []admissionregistrationv1.RuleWithOperations{{
		Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
		Rule:       admissionregistrationv1.Rule{APIGroups: []string{r.Group}, APIVersions: []string{"v1"}, Resources: r.Resources},
	}}
}

func (r Rule) selector() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: r.Namespace}}
}
