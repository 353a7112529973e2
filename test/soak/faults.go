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

// faults break requests. What happens to an operator's n-th request of a name depends on the seed alone, outages
// aside.
type faults struct {
	seed    uint64
	count   func(what string)
	enabled atomic.Bool

	mu sync.Mutex
	// outages are how many there are of a kind at the moment.
	outages map[outage]int
	// numbers count requests by operator and name.
	numbers map[string]uint64
	// leader is the operator that last did anything that counts.
	leader string
}

// outage is a fault that all requests of a kind have for a while.
type outage string

const (
	throttledSQS outage = "SQS throttles"
	brokenSQS    outage = "SQS answers 5xx"
	throttledAPI outage = "API server throttles"
	brokenAPI    outage = "API server answers 5xx"
	slowAPI      outage = "API server is slow"
	noLease      outage = "Lease cannot be renewed" // followed by the operator's name
)

func newFaults(seed uint64, count func(string)) *faults {
	return &faults{seed: seed, count: count, outages: map[outage]int{}, numbers: map[string]uint64{}}
}

// begin begins an outage, which the result ends.
func (f *faults) begin(which outage) (end func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outages[which]++
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.outages[which]--
	}
}

// leading is the name of the operator that leads, as far as its requests tell.
func (f *faults) leading() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.leader
}

// decideFor decides on the requests of an operator.
func (f *faults) decideFor(operator string) faultproxy.Decide {
	return func(request faultproxy.Request) faultproxy.Fault {
		fault, what := f.decide(operator, request)
		if what != "" {
			f.count(what)
		}
		return fault
	}
}

func (f *faults) decide(operator string, request faultproxy.Request) (faultproxy.Fault, string) {
	f.mu.Lock()
	if request.Counts && operator != rogue {
		f.leader = operator
	}
	f.numbers[operator+request.Name]++
	h := fnv.New64a()
	_, _ = h.Write([]byte(operator + "/" + request.Name)) // it never fails
	random := rand.New(rand.NewPCG(f.seed, h.Sum64()+f.numbers[operator+request.Name]))
	broken, out := f.outage(operator, request)
	f.mu.Unlock()

	switch {
	case !f.enabled.Load():
		return faultproxy.Fault{}, ""
	case out:
		return broken, ""
	case strings.HasPrefix(request.Name, "watch "):
		if random.IntN(20) == 0 {
			return faultproxy.Fault{Kind: faultproxy.CutBefore}, "watches cut"
		}
		return faultproxy.Fault{}, ""
	case !request.Counts:
		return faultproxy.Fault{}, ""
	}
	return randomFault(random, request)
}

// outage is what the outages of the moment do to a request.
func (f *faults) outage(operator string, request faultproxy.Request) (faultproxy.Fault, bool) {
	sqs := !strings.Contains(request.Name, " ")
	refuse := func(status int) (faultproxy.Fault, bool) {
		return faultproxy.Fault{Kind: faultproxy.RefuseBefore, Status: status}, true
	}
	switch {
	case strings.HasSuffix(request.Name, " leases"):
		if f.outages[noLease+outage(operator)] > 0 {
			return faultproxy.Fault{Kind: faultproxy.CutBefore}, true
		}
	case !request.Counts:
	case sqs && f.outages[throttledSQS] > 0:
		return refuse(http.StatusTooManyRequests)
	case sqs && f.outages[brokenSQS] > 0:
		return refuse(http.StatusServiceUnavailable)
	case sqs:
	case f.outages[throttledAPI] > 0:
		return refuse(http.StatusTooManyRequests)
	case f.outages[brokenAPI] > 0:
		return refuse(http.StatusInternalServerError)
	case f.outages[slowAPI] > 0:
		return faultproxy.Fault{Delay: 1500 * time.Millisecond}, true
	}
	return faultproxy.Fault{}, false
}

// randomFault is what happens to a single request.
func randomFault(random *rand.Rand, request faultproxy.Request) (faultproxy.Fault, string) {
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
