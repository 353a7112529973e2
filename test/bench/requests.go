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

// isWrite is whether a request changes what the API server stores.
func isWrite(name string) bool {
	verb, _, _ := strings.Cut(name, " ")
	return slices.Contains([]string{"create", "update", "patch", "delete"}, verb) && !strings.HasSuffix(name, "(dry run)")
}

// isSQS is whether it went to SQS, whose actions have no spaces.
func isSQS(name string) bool { return !strings.Contains(name, " ") }

// measureRequests counts what passes two proxies while messages are drained.
func measureRequests(ctx context.Context, s *stage, r *report) error {
	counter := newCounter()
	way, err := s.OpenWay("operator-requests", "", counter.count)
	if err != nil {
		return err
	}
	defer way.Close()
	return s.operateBy(ctx, "requests", way, func(*operator) error {
		a, err := s.newArena(ctx, suspended)
		if err != nil {
			return err
		}
		if err := s.polling(ctx, a.binding); err != nil {
			return err
		}
		n := s.amounts.counted
		if err := a.queue.SendAll(ctx, bodies(n)); err != nil {
			return err
		}
		if err := s.settle(ctx); err != nil {
			return err
		}
		before, began := counter.snapshot(), time.Now()
		if err := a.release(ctx); err != nil {
			return err
		}
		if _, err := s.sightings.await(ctx, a.operator(), n); err != nil {
			return err
		}
		busy := counter.snapshot() // what follows are receives of an empty queue
		if err := waitEmpty(ctx, a, n); err != nil {
			return err
		}
		elapsed := time.Since(began)
		after := counter.snapshot()
		after["ReceiveMessage"] = busy["ReceiveMessage"]

		var writes, statuses, requests float64
		told := []string{}
		for _, name := range slices.Sorted(maps.Keys(after)) {
			by := float64(after[name] - before[name])
			switch {
			case by == 0:
				continue
			case name == "patch queuebindings/status":
				statuses += by
			case isSQS(name):
				requests += by
			case isWrite(name):
				writes += by
			}
			told = append(told, fmt.Sprintf("%s %.0f", name, by))
		}
		fmt.Printf("       %s\n", strings.Join(told, ", "))
		r.add(fmt.Sprintf("API writes per message, of %d", n), writes/float64(n), "requests", atMost(1))
		r.add("status writes per second, after the first", max(statuses-1, 0)/elapsed.Seconds(), "requests", atMost(1))
		r.add("SQS requests per message, busy", requests/float64(n), "requests", atMost(0.25))
		return a.clear(ctx)
	})
}

// waitEmpty waits until all messages are deleted and the status tells of all Jobs.
func waitEmpty(ctx context.Context, a *arena, jobs int) error {
	return a.stage.await(ctx, a, "the end of a drain", func() string {
		if said := a.queue.Holds(ctx, 0); said != "" {
			return said
		}
		return a.statusOf(ctx, jobs)
	})
}
