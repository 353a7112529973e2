package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/rig"
)

// measureIdle has an operator with many bindings and no messages.
func measureIdle(ctx context.Context, s *suite, r *report) error {
	const namespace = "bench-idle"
	if err := s.CreateNamespace(ctx, namespace); err != nil {
		return err
	}
	counter := newCounter()
	proxy, err := newSecureSQS(s.SQSEndpoint, s.Work, counter)
	if err != nil {
		return err
	}
	defer proxy.close()
	n := s.amounts.idle
	endpoints := s.DirectEndpoints("operator-idle", proxy.env...)
	return s.operateBy(ctx, "idle", endpoints, func(o *operator) error {
		empty := o.memory(false)
		making := errgroup.Group{}
		making.SetLimit(8)
		for i := range n {
			making.Go(func() error {
				name := fmt.Sprintf("idle-%d", i)
				queue, err := s.CreateQueue(ctx, name, "", 0)
				if err != nil {
					return err
				}
				if err := s.Client.Create(ctx, benchBinding(namespace, name, queue.URL)); err != nil {
					return fmt.Errorf("creating a binding: %w", err)
				}
				return nil
			})
		}
		if err := making.Wait(); err != nil {
			return err
		}
		err := rig.Await(ctx, "idle bindings", func() string {
			list := &v1alpha1.QueueBindingList{}
			if err := s.Client.List(ctx, list); err != nil {
				return err.Error()
			}
			ready := 0
			for i := range list.Items {
				for _, condition := range list.Items[i].Status.Conditions {
					if condition.Type == v1alpha1.ConditionReady && condition.Status == "True" {
						ready++
					}
				}
			}
			if ready < n {
				return fmt.Sprintf("%d of %d are ready", ready, n)
			}
			return ""
		})
		if err != nil {
			return err
		}
		if err := s.settle(ctx); err != nil {
			return err
		}
		before, counted, began := o.cpu(), counter.snapshot(), time.Now()
		profiled := s.profileLater(ctx, o, fmt.Sprintf("profile?seconds=%.0f", s.amounts.idleFor.Seconds()-2), "idle-cpu", true)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(s.amounts.idleFor):
		}
		elapsed := time.Since(began)
		cores := (o.cpu() - before).Seconds() / elapsed.Seconds()
		requests := 0
		for name, total := range counter.snapshot() {
			requests += total - counted[name]
		}
		if err := <-profiled; err != nil {
			return err
		}
		what := fmt.Sprintf("%d idle bindings", n)
		made, err := o.scrape(ctx)
		if err != nil {
			return err
		}
		for _, part := range []string{"go_memstats_heap_alloc_bytes", "go_memstats_heap_inuse_bytes", "go_memstats_heap_idle_bytes", "go_memstats_heap_released_bytes", "go_memstats_stack_inuse_bytes", "go_goroutines"} {
			fmt.Printf("       %s %.0f\n", part, made[part])
		}
		r.add(what+", resident memory", o.memory(false), "MiB", atMost(250))
		r.add(what+", resident memory for each", 1024*(o.memory(false)-empty)/float64(n), "KiB", goalless)
		r.add(what+", CPU", cores, "cores", atMost(0.1))
		r.add(what+", SQS requests for each", float64(requests)/elapsed.Minutes()/float64(n), "a minute", goalless)
		if err := s.profile(ctx, o, "heap?gc=1", "idle-heap"); err != nil {
			return err
		}
		if err := s.profile(ctx, o, "goroutine", "idle-goroutine"); err != nil {
			return err
		}
		return s.clear(ctx, namespace)
	})
}
