package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/queuebinding/queuebinding/test/faultproxy"
)

// measureDrain drains a queue that answers at once, as the emulator on the same machine does.
func measureDrain(ctx context.Context, s *suite, r *report) error {
	return s.operate(ctx, "drain", func(o *operator) error {
		return s.compareDrains(ctx, r, o, "drain", s.amounts.drains, s.SQSEndpoint, nearBare)
	})
}

// distance is how much later SQS answers when it is far away: in another region.
const distance = 50 * time.Millisecond

// measureFar drains a queue that is far away, from which one receive after the other would be too slow.
func measureFar(ctx context.Context, s *suite, r *report) error {
	proxy, err := faultproxy.SQS(s.SQSEndpoint, func(faultproxy.Request) faultproxy.Fault { return faultproxy.Fault{Delay: distance} })
	if err != nil {
		return err
	}
	defer proxy.Close()
	endpoints := s.DirectEndpoints("operator-far", "AWS_ENDPOINT_URL_SQS="+proxy.URL)
	return s.operateBy(ctx, "far", endpoints, func(o *operator) error {
		return s.compareDrains(ctx, r, o, fmt.Sprintf("SQS %s away, drain", distance), s.amounts.drains, proxy.URL, s.amounts.unlessFew(nearBare))
	})
}

// compareDrains has the bare client and the operator take turns at a queue full of messages, and at being the first.
func (s *suite) compareDrains(ctx context.Context, r *report, o *operator, name string, rounds int, endpoint string, goal goal) error {
	n := s.amounts.drained
	var operator, bare, cores []float64
	for round := range rounds {
		byBare := func(w *workspace) error {
			w.bare.at(endpoint)
			if err := w.bareQueue.SendAll(ctx, bodies(n)); err != nil {
				return err
			}
			rate, err := s.timed(ctx, "bare client", n, w.bareOwner(), func() error { return w.bare.drain(ctx, n) })
			bare = append(bare, rate)
			return err
		}
		byOperator := func(w *workspace) error {
			if err := w.queue.SendAll(ctx, bodies(n)); err != nil {
				return err
			}
			profiled := s.profileLater(ctx, o, "profile?seconds=5", strings.ReplaceAll(name, " ", "-")+"-cpu", round == 0)
			before, began := o.cpu(), time.Now()
			rate, err := s.timed(ctx, "operator", n, w.operator(), func() error { return w.release(ctx) })
			operator = append(operator, rate)
			cores = append(cores, (o.cpu()-before).Seconds()/time.Since(began).Seconds())
			return errors.Join(err, <-profiled)
		}
		turns := []func(*workspace) error{byBare, byOperator}
		if round%2 == 1 {
			slices.Reverse(turns)
		}
		for _, turn := range turns {
			// Jobs that are there already slow the API server down, by a tenth for 5,000 of them: neither finds the other's.
			w, err := s.newWorkspace(ctx, suspended)
			if err != nil {
				return err
			}
			if err := turn(w); err != nil {
				return err
			}
			if err := w.clear(ctx); err != nil {
				return err
			}
		}
	}
	what := fmt.Sprintf("%s of %d", name, n)
	r.addTurns(what, median(operator), median(bare), median(ratios(operator, bare)), "Jobs/s", goal)
	r.add(what+", operator's CPU", median(cores), "cores", goalless)
	r.add(what+", operator's memory at most", o.memory(true), "MiB", goalless)
	return nil
}

// timed is how many Jobs per second an owner gets, from the moment at which do begins until it has n more.
func (s *suite) timed(ctx context.Context, who string, n int, by owner, do func() error) (float64, error) {
	before, began := usageOfAll(), time.Now()
	had := len(s.creations.of(by))
	if err := do(); err != nil {
		return 0, err
	}
	last, err := s.creations.await(ctx, by, had+n)
	if err != nil {
		return 0, err
	}
	elapsed := last.Sub(began)
	rate := float64(n) / elapsed.Seconds()
	fmt.Printf("       %s: %d Jobs in %.2fs, %.0f/s; cores: %s\n", who, n, elapsed.Seconds(), rate, usageOfAll().since(before).over(time.Since(began)))
	return rate, nil
}
