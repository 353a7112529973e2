package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/queuebinding/queuebinding/test/faultproxy"
)

// counter counts the requests that pass a proxy, by name.
type counter struct {
	mu     sync.Mutex
	counts map[string]int
}

func newCounter() *counter { return &counter{counts: map[string]int{}} }

// count lets every request pass.
func (c *counter) count(request faultproxy.Request) faultproxy.Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[request.Name]++
	return faultproxy.Fault{}
}

func (c *counter) snapshot() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}

const receive = "ReceiveMessage"

// isWrite reports whether a request changes what the API server stores.
func isWrite(name string) bool {
	verb, _, _ := strings.Cut(name, " ")
	return slices.Contains([]string{"create", "update", "patch", "delete"}, verb) && !strings.HasSuffix(name, "(dry run)")
}

// isSQS reports whether it went to SQS, whose actions have no spaces.
func isSQS(name string) bool { return !strings.Contains(name, " ") }

// requests are those that passed while messages were drained.
type requests struct {
	messages int
	// writes are those to the API server without statuses, sqs those to SQS, receives among them.
	writes, statuses, sqs, receives int
	elapsed                         time.Duration
	// told names them all.
	told string
}

func measureRequests(ctx context.Context, s *suite, r *report) error {
	counted, err := s.countRequests(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("       %s\n", counted.told)
	n := float64(counted.messages)
	r.add(fmt.Sprintf("API writes per message, of %d", counted.messages), float64(counted.writes)/n, "requests", atMost(1))
	r.add("status writes per second, after the first", float64(max(counted.statuses-1, 0))/counted.elapsed.Seconds(), "requests", atMost(1))
	r.add("SQS requests per message, busy", float64(counted.sqs)/n, "requests", atMost(0.25))
	return nil
}

// countRequests counts what passes two proxies while messages are drained.
func (s *suite) countRequests(ctx context.Context) (counted requests, err error) {
	counter := newCounter()
	endpoints, err := s.ProxiedEndpoints("operator-requests", "", counter.count)
	if err != nil {
		return requests{}, err
	}
	defer endpoints.Close()
	err = s.operateBy(ctx, "requests", endpoints, func(*operator) error {
		w, err := s.newWorkspace(ctx, suspended)
		if err != nil {
			return err
		}
		if err := s.polling(ctx, w.binding); err != nil {
			return err
		}
		n := s.amounts.counted
		if err := w.queue.SendAll(ctx, bodies(n)); err != nil {
			return err
		}
		if err := s.settle(ctx); err != nil {
			return err
		}
		before, began := counter.snapshot(), time.Now()
		if err := w.release(ctx); err != nil {
			return err
		}
		if _, err := s.creations.await(ctx, w.operator(), n); err != nil {
			return err
		}
		busy := counter.snapshot() // what follows are receives of an empty queue
		if err := waitEmpty(ctx, w, n); err != nil {
			return err
		}
		counted = requestsSince(before, busy, counter.snapshot())
		counted.messages, counted.elapsed = n, time.Since(began)
		return w.clear(ctx)
	})
	return counted, err
}

// requestsSince sorts requests by what they are. Receives are counted until busy ended.
func requestsSince(before, busy, after map[string]int) requests {
	after[receive] = busy[receive]
	counted := requests{receives: after[receive] - before[receive]}
	var told []string
	for _, name := range slices.Sorted(maps.Keys(after)) {
		by := after[name] - before[name]
		switch {
		case by == 0:
			continue
		case name == "patch queuebindings/status":
			counted.statuses += by
		case isSQS(name):
			counted.sqs += by
		case isWrite(name):
			counted.writes += by
		}
		told = append(told, fmt.Sprintf("%s %d", name, by))
	}
	counted.told = strings.Join(told, ", ")
	return counted
}

// waitEmpty waits until all messages are deleted and the status tells of all Jobs.
func waitEmpty(ctx context.Context, w *workspace, jobs int) error {
	return w.suite.await(ctx, w, "the end of a drain", func() string {
		if said := w.queue.Holds(ctx, 0); said != "" {
			return said
		}
		return w.statusOf(ctx, jobs)
	})
}
