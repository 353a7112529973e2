package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// restBetween lets what follows a message pass: deletes, events of its Job, the status.
	restBetween = 600 * time.Millisecond
	// pollOpens is more than a receive takes to reach the queue.
	pollOpens = 50 * time.Millisecond
)

// measureLatency times single messages from the answer to their sending until their Job is seen, with a long poll open,
// the bare client and the operator in turns.
func measureLatency(ctx context.Context, s *suite, r *report) error {
	return s.operate(ctx, "latency", func(*operator) error {
		w, err := s.newWorkspace(ctx, nil)
		if err != nil {
			return err
		}
		if err := s.polling(ctx, w.binding); err != nil {
			return err
		}
		var operator, bare []float64
		for i := range s.amounts.samples + 1 {
			bareTook, err := w.oneByBare(ctx)
			if err != nil {
				return err
			}
			took, err := w.one(ctx)
			if err != nil {
				return err
			}
			if i > 0 { // connections were opened at the first
				bare, operator = append(bare, milliseconds(bareTook)), append(operator, milliseconds(took))
			}
		}
		r.addRatio("sent to Job created, at rest, median", median(operator), median(bare), "ms", atMost(1.5))
		r.addRatio("sent to Job created, at rest, p99", quantile(operator, 0.99), quantile(bare, 0.99), "ms", goalless)
		return w.clear(ctx)
	})
}

// one times a message for the binding.
func (w *workspace) one(ctx context.Context) (time.Duration, error) {
	time.Sleep(restBetween)
	had := len(w.suite.creations.of(w.operator()))
	if _, err := w.queue.Send(ctx, body(had)); err != nil {
		return 0, err
	}
	sent := time.Now()
	seen, err := w.suite.creations.await(ctx, w.operator(), had+1)
	return seen.Sub(sent), err
}

// oneByBare times a message for the bare client.
func (w *workspace) oneByBare(ctx context.Context) (time.Duration, error) {
	time.Sleep(restBetween)
	had := len(w.suite.creations.of(w.bareOwner()))
	group, ctx := errgroup.WithContext(ctx)
	waiting := make(chan struct{})
	group.Go(func() error { return w.bare.one(ctx, waiting) })
	<-waiting
	time.Sleep(pollOpens)
	if _, err := w.bareQueue.Send(ctx, body(had)); err != nil {
		return 0, err
	}
	sent := time.Now()
	seen, err := w.suite.creations.await(ctx, w.bareOwner(), had+1)
	if err != nil {
		return 0, err
	}
	return seen.Sub(sent), group.Wait()
}

// burst is how many messages come at once.
const burst = 100

// measureBurst sends a hundred messages to an idle queue and times the last Job, in turns.
func measureBurst(ctx context.Context, s *suite, r *report) error {
	return s.operate(ctx, "burst", func(*operator) error {
		w, err := s.newWorkspace(ctx, nil)
		if err != nil {
			return err
		}
		if err := s.polling(ctx, w.binding); err != nil {
			return err
		}
		var operator, bare []float64
		for i := range s.amounts.bursts + 1 {
			had := len(s.creations.of(w.bareOwner()))
			group, grouped := errgroup.WithContext(ctx)
			group.Go(func() error { return w.bare.drain(grouped, burst) })
			time.Sleep(pollOpens)
			bareTook, err := w.suite.burst(ctx, w.bareOwner(), had, w.bareQueue.SendAll)
			if err != nil {
				return err
			}
			if err := group.Wait(); err != nil {
				return err
			}
			time.Sleep(restBetween)
			took, err := w.suite.burst(ctx, w.operator(), len(s.creations.of(w.operator())), w.queue.SendAll)
			if err != nil {
				return err
			}
			time.Sleep(restBetween)
			if i > 0 {
				bare, operator = append(bare, milliseconds(bareTook)), append(operator, milliseconds(took))
			}
		}
		// No goal of the design's: the operator begins with one long poll, the bare client with several.
		r.addRatio(fmt.Sprintf("burst of %d, until the last Job, median", burst), median(operator), median(bare), "ms", atMost(1.5))
		return w.clear(ctx)
	})
}

func (s *suite) burst(ctx context.Context, by owner, had int, send func(context.Context, []string) error) (time.Duration, error) {
	began := time.Now()
	if err := send(ctx, bodies(burst)); err != nil {
		return 0, err
	}
	seen, err := s.creations.await(ctx, by, had+burst)
	return seen.Sub(began), err
}
