package main

import (
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/queuebinding/queuebinding/test/faultproxy"
)

// conditions are how bad the weather is on the ways between the operators and their servers.
type conditions int

const (
	calm conditions = iota
	stormy
)

// weather breaks requests. What happens to an operator's n-th request of a name depends on the seed alone, windows
// aside.
type weather struct {
	seed  uint64
	count func(what string)
	now   atomic.Int64

	mu sync.Mutex
	// windows are times in which all requests of a kind share a fate.
	windows map[window]int
	// numbers count requests by operator and name.
	numbers map[string]uint64
	// leader is the operator that last did anything that counts.
	leader string
}

// window is a fate that requests share for a while.
type window string

const (
	throttledSQS window = "SQS throttles"
	brokenSQS    window = "SQS answers 5xx"
	throttledAPI window = "API server throttles"
	brokenAPI    window = "API server answers 5xx"
	slowAPI      window = "API server is slow"
	noLease      window = "Lease cannot be renewed" // followed by the operator's name
)

func newWeather(seed uint64, count func(string)) *weather {
	return &weather{seed: seed, count: count, windows: map[window]int{}, numbers: map[string]uint64{}}
}

func (w *weather) set(c conditions) { w.now.Store(int64(c)) }

// open has requests share a fate until close is called.
func (w *weather) open(fate window) (closeIt func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.windows[fate]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.windows[fate]--
	}
}

// leading is the name of the operator that leads, as far as its requests tell.
func (w *weather) leading() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leader
}

// over is the weather over an operator's ways.
func (w *weather) over(operator string) faultproxy.Decide {
	return func(request faultproxy.Request) faultproxy.Fault {
		fault, what := w.decide(operator, request)
		if what != "" {
			w.count(what)
		}
		return fault
	}
}

func (w *weather) decide(operator string, request faultproxy.Request) (faultproxy.Fault, string) {
	w.mu.Lock()
	if request.Counts && operator != rogue {
		w.leader = operator
	}
	w.numbers[operator+request.Name]++
	h := fnv.New64a()
	_, _ = h.Write([]byte(operator + "/" + request.Name)) // it never fails
	random := rand.New(rand.NewPCG(w.seed, h.Sum64()+w.numbers[operator+request.Name]))
	fate, fated := w.fate(operator, request)
	w.mu.Unlock()

	switch {
	case conditions(w.now.Load()) == calm:
		return faultproxy.Fault{}, ""
	case fated:
		return fate, ""
	case strings.HasPrefix(request.Name, "watch "):
		if random.IntN(20) == 0 {
			return faultproxy.Fault{Kind: faultproxy.CutBefore}, "watches cut"
		}
		return faultproxy.Fault{}, ""
	case !request.Counts:
		return faultproxy.Fault{}, ""
	}
	return misfortune(random, request)
}

// fate is what the open windows have happen to a request.
func (w *weather) fate(operator string, request faultproxy.Request) (faultproxy.Fault, bool) {
	sqs := !strings.Contains(request.Name, " ")
	refuse := func(status int) (faultproxy.Fault, bool) {
		return faultproxy.Fault{Kind: faultproxy.RefuseBefore, Status: status}, true
	}
	switch {
	case strings.HasSuffix(request.Name, " leases"):
		if w.windows[noLease+window(operator)] > 0 {
			return faultproxy.Fault{Kind: faultproxy.CutBefore}, true
		}
	case !request.Counts:
	case sqs && w.windows[throttledSQS] > 0:
		return refuse(http.StatusTooManyRequests)
	case sqs && w.windows[brokenSQS] > 0:
		return refuse(http.StatusServiceUnavailable)
	case sqs:
	case w.windows[throttledAPI] > 0:
		return refuse(http.StatusTooManyRequests)
	case w.windows[brokenAPI] > 0:
		return refuse(http.StatusInternalServerError)
	case w.windows[slowAPI] > 0:
		return faultproxy.Fault{Delay: 1500 * time.Millisecond}, true
	}
	return faultproxy.Fault{}, false
}

// misfortune is what happens to a single request.
func misfortune(random *rand.Rand, request faultproxy.Request) (faultproxy.Fault, string) {
	fault := faultproxy.Fault{Duplicate: random.IntN(5) == 0 && request.Name == "ReceiveMessage"}
	status := []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}[random.IntN(3)]
	switch n := random.IntN(100); {
	case n < 3:
		return faultproxy.Fault{Kind: faultproxy.CutBefore}, "requests cut before"
	case n < 6:
		return faultproxy.Fault{Kind: faultproxy.CutAfter}, "requests cut after"
	case n < 9:
		return faultproxy.Fault{Kind: faultproxy.RefuseBefore, Status: status}, "requests refused before"
	case n < 11:
		return faultproxy.Fault{Kind: faultproxy.RefuseAfter, Status: http.StatusInternalServerError}, "requests refused after"
	case n < 18:
		fault.Delay = time.Duration(random.IntN(2000)) * time.Millisecond
		return fault, "requests delayed"
	}
	if fault.Duplicate {
		return fault, "receives doubled"
	}
	return fault, ""
}
