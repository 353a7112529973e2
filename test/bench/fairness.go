package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

const (
	// crowd is how many bindings drain at once.
	crowd = 20
	// bystanderEvery is how often a message comes to the binding beside them.
	bystanderEvery = 100 * time.Millisecond
)

// measureFairness has bindings drain side by side, and meanwhile sends single messages to one more.
func measureFairness(ctx context.Context, s *suite, r *report) error {
	return s.operate(ctx, "fairness", func(*operator) error {
		var workspaces []*workspace
		var namespaces []string
		for i := range crowd + 1 {
			change := suspended
			if i == crowd {
				change = func(*v1alpha1.QueueBinding) {}
			}
			w, err := s.newWorkspace(ctx, change)
			if err != nil {
				return err
			}
			workspaces, namespaces = append(workspaces, w), append(namespaces, w.namespace)
		}
		drained, bystander := workspaces[:crowd], workspaces[crowd]
		for _, w := range drained {
			if err := w.queue.SendAll(ctx, bodies(s.amounts.each)); err != nil {
				return err
			}
		}
		if err := s.polling(ctx, bystander.binding); err != nil {
			return err
		}
		alone, err := bystander.one(ctx)
		if err != nil {
			return err
		}
		if err := s.settle(ctx); err != nil {
			return err
		}

		began := time.Now()
		releasing := errgroup.Group{}
		released := make([]time.Time, len(drained))
		for i, w := range drained {
			releasing.Go(func() error {
				released[i] = time.Now()
				return w.release(ctx)
			})
		}
		if err := releasing.Wait(); err != nil {
			return err
		}
		beside, stop := context.WithCancel(ctx)
		defer stop()
		waits := make(chan []float64, 1)
		go func() { waits <- bystander.stream(beside) }()
		fastest, slowest := time.Duration(0), time.Duration(0)
		ended := began
		for i, w := range drained {
			last, err := s.creations.await(ctx, w.operator(), s.amounts.each)
			if err != nil {
				return err
			}
			if last.After(ended) {
				ended = last
			}
			took := last.Sub(released[i])
			slowest = max(slowest, took)
			if fastest == 0 || took < fastest {
				fastest = took
			}
		}
		stop()
		what := fmt.Sprintf("%d bindings draining %d each", crowd, s.amounts.each)
		r.add(what, float64(crowd*s.amounts.each)/ended.Sub(began).Seconds(), "Jobs/s", goalless)
		r.add(what+", slowest over fastest", slowest.Seconds()/fastest.Seconds(), "ratio", s.amounts.unlessFew(atMost(1.25)))
		r.add(what+", a message for a binding beside them, median", median(<-waits), "ms", goalless)
		r.add("the same at rest", milliseconds(alone), "ms", goalless)
		return s.clear(ctx, namespaces...)
	})
}

// stream times a message after the other until ctx ends.
func (w *workspace) stream(ctx context.Context) []float64 {
	var waits []float64
	for ctx.Err() == nil {
		had := len(w.suite.creations.of(w.operator()))
		if _, err := w.queue.Send(ctx, body(had)); err != nil {
			break
		}
		sent := time.Now()
		seen, err := w.suite.creations.await(ctx, w.operator(), had+1)
		if err != nil {
			break
		}
		waits = append(waits, milliseconds(seen.Sub(sent)))
		time.Sleep(bystanderEvery)
	}
	return waits
}
