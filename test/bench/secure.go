package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/util/cert"

	"github.com/queuebinding/queuebinding/test/faultproxy"
)

// secureSQS is the emulator as AWS would serve it, by HTTPS and HTTP/1.1: what a connection costs the operator is part of
// what a binding costs. It counts requests.
type secureSQS struct {
	// env leads an operator there.
	env    []string
	server *http.Server
}

func newSecureSQS(endpoint, folder string, counter *counter) (*secureSQS, error) {
	upstream, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	certificate, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	authority := filepath.Join(folder, "sqs.pem")
	if err := os.WriteFile(authority, certificate, 0o600); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for a proxy: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 10_000
	quiet := log.New(io.Discard, "", 0) // operators are killed in the middle of polls
	forward := &httputil.ReverseProxy{Transport: transport, ErrorLog: quiet, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(upstream)
		counter.count(faultproxy.Request{Name: strings.TrimPrefix(r.In.Header.Get("X-Amz-Target"), "AmazonSQS.")})
	}}
	s := &secureSQS{
		env: []string{"AWS_ENDPOINT_URL_SQS=https://" + listener.Addr().String(), "AWS_CA_BUNDLE=" + authority},
		server: &http.Server{
			Handler: forward, ErrorLog: quiet, ReadHeaderTimeout: time.Minute,
			TLSConfig:    &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
			TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // no HTTP/2
		},
	}
	go func() {
		if err := s.server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "bench: the proxy of SQS ended:", err)
		}
	}()
	return s, nil
}

func (s *secureSQS) close() { s.server.Close() }
