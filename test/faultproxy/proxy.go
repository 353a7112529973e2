// Package faultproxy stands between the operator and the API server, or an SQS emulator, and breaks the way between them
// where a test says so. It names the requests that pass, cuts connections before or after a request got through,
// answers in the server's place, delays, and delivers messages twice. It changes nothing else. It listens on the
// loopback interface only and speaks plain HTTP to the operator.
package faultproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Request is a request as tests speak of it.
type Request struct {
	// Name is a verb and a resource, as in `create jobs`, or an action of SQS.
	Name string
	// Counts reports whether the request is one of the operator's steps: a write, a live read of a Job or a binding, or a
	// message's receive, delete, change or send. Events, leases, watches and a cache's lists are none.
	Counts bool
}

// Kind is how a request is broken.
type Kind int

const (
	// Pass: not at all.
	Pass Kind = iota
	// CutBefore: the connection is closed and the server never hears of the request.
	CutBefore
	// CutAfter: the server does what it was asked for, then the connection is closed without an answer.
	CutAfter
	// RefuseBefore: the proxy answers with Fault.Status and the server never hears of the request.
	RefuseBefore
	// RefuseAfter: the server does what it was asked for, then the proxy answers with Fault.Status.
	RefuseAfter
)

func (k Kind) String() string {
	return [...]string{"pass", "cut before", "cut after", "refuse before", "refuse after"}[k]
}

// Fault is what happens to a request. The zero value lets it pass.
type Fault struct {
	Kind Kind
	// Status is the answer's code with RefuseBefore and RefuseAfter: 429 for throttling, or 5xx.
	Status int
	// Delay is how long the request is held up before anything else. It is dropped where the client goes meanwhile.
	Delay time.Duration
	// Duplicate has a receive deliver each of its messages twice, as far as the number asked for has room. Other requests
	// it leaves alone.
	Duplicate bool
	// AtCut is called at the moment of a cut, before the operator can learn of it.
	AtCut func()
}

// Decide chooses the fault of a request. It is called once for each request, in the order in which they arrive, by
// several goroutines.
type Decide func(Request) Fault

// longestForward bounds a request that is completed although nobody waits for its answer.
const longestForward = 40 * time.Second

// Proxy is a running proxy.
type Proxy struct {
	// URL is where the operator is to look for the server.
	URL string

	server   *http.Server
	upstream *url.URL
	client   http.RoundTripper
	decide   Decide
	protocol protocol
}

// protocol is what differs between the two servers.
type protocol interface {
	// name tells which request it is.
	name(*http.Request) Request
	// rewrite changes a request before it is forwarded.
	rewrite(r *http.Request, body []byte, fault Fault) []byte
	// refuse writes an error as the server would.
	refuse(w http.ResponseWriter, status int)
}

func start(upstream string, client http.RoundTripper, p protocol, decide Decide) (*Proxy, error) {
	target, err := url.Parse(upstream)
	if err != nil {
		return nil, fmt.Errorf("the address behind a proxy: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for a proxy: %w", err)
	}
	proxy := &Proxy{URL: "http://" + listener.Addr().String(), upstream: target, client: client, decide: decide, protocol: p}
	proxy.server = &http.Server{Handler: proxy, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	go func() { _ = proxy.server.Serve(listener) }() // it ends with Close
	return proxy, nil
}

// Close ends the proxy and all its connections.
func (p *Proxy) Close() error { return p.server.Close() }

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request := p.protocol.name(r)
	fault := p.decide(request)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the client has gone
	}
	if fault.Delay > 0 {
		select {
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		case <-time.After(fault.Delay):
		}
	}
	switch fault.Kind {
	case CutBefore:
		p.cut(fault)
	case RefuseBefore:
		p.protocol.refuse(w, fault.Status)
		return
	}

	// What must get through does so also when the client has gone.
	ctx := r.Context()
	if fault.Kind == CutAfter || fault.Kind == RefuseAfter {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), longestForward)
		defer cancel()
		ctx = bounded
	}
	body = p.protocol.rewrite(r, body, fault)
	answer, err := p.forward(ctx, r, body)
	if err != nil {
		// The server is gone: so is the connection.
		p.cut(fault)
	}
	defer answer.Body.Close()
	switch {
	case fault.Kind == CutAfter, fault.Kind == RefuseAfter:
		_, _ = io.Copy(io.Discard, answer.Body) // until it has answered
		if fault.Kind == RefuseAfter {
			p.protocol.refuse(w, fault.Status)
			return
		}
		p.cut(fault)
	case fault.Duplicate && request.Name == receive:
		deliverTwice(w, body, answer)
	default:
		copyHeader(w, answer)
		stream(w, answer.Body)
	}
}

// cut closes the connection. It does not return.
func (p *Proxy) cut(fault Fault) {
	if fault.AtCut != nil {
		fault.AtCut()
	}
	panic(http.ErrAbortHandler)
}

func (p *Proxy) forward(ctx context.Context, r *http.Request, body []byte) (*http.Response, error) {
	outgoing := r.Clone(ctx)
	outgoing.URL.Scheme, outgoing.URL.Host = p.upstream.Scheme, p.upstream.Host
	outgoing.Host, outgoing.RequestURI = "", ""
	outgoing.Body, outgoing.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	for _, hop := range []string{"Connection", "Keep-Alive", "Te", "Transfer-Encoding", "Upgrade", "Content-Length"} {
		outgoing.Header.Del(hop)
	}
	return p.client.RoundTrip(outgoing)
}

func copyHeader(w http.ResponseWriter, answer *http.Response) {
	for name, values := range answer.Header {
		if name == "Connection" || name == "Transfer-Encoding" {
			continue
		}
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
}

// stream copies an answer as it comes, as watches need it. An answer that breaks off upstream breaks off here.
func stream(w http.ResponseWriter, from io.Reader) {
	control := http.NewResponseController(w)
	_ = control.Flush() // the headers of a watch, before its first event
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				panic(http.ErrAbortHandler)
			}
			_ = control.Flush()
		}
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			panic(http.ErrAbortHandler)
		}
	}
}
