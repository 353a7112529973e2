package main

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/test/rig"
)

// measureSlot times, with one Job allowed at a time, from the moment at which one is seen to be complete until the next
// is seen to be created.
func measureSlot(ctx context.Context, s *suite, r *report) error {
	return s.operate(ctx, "slot", func(*operator) error {
		a, err := s.newWorkspace(ctx, func(b *v1alpha1.QueueBinding) {
			b.Spec.Suspend = true
			b.Spec.Concurrency.MaxActiveJobs = new(int32(1))
			b.Spec.JobTemplate.Spec.Suspend = nil
		})
		if err != nil {
			return err
		}
		n := s.amounts.slots
		quick := make([]string, n+1)
		for i := range quick {
			quick[i] = rig.Body(i, "localhost", 0.05)
		}
		if err := a.queue.SendAll(ctx, quick); err != nil {
			return err
		}
		watching, stop := context.WithCancel(ctx)
		defer stop()
		stream, err := s.Client.Watch(watching, &batchv1.JobList{}, client.InNamespace(a.namespace))
		if err != nil {
			return fmt.Errorf("watching Jobs: %w", err)
		}
		if err := a.release(ctx); err != nil {
			return err
		}
		waits, err := successions(ctx, stream, n)
		if err != nil {
			return err
		}
		r.add("slot free to next Job created, median", median(waits), "ms", goalless)
		r.add("slot free to next Job created, p99", quantile(waits, 0.99), "ms", goalless)
		return a.clear(ctx)
	})
}

// successions are the times from the end of one Job to the creation of the next, n of them.
func successions(ctx context.Context, stream watch.Interface, n int) ([]float64, error) {
	var waits []float64
	ended := map[string]bool{}
	var last time.Time
	for len(waits) < n {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(rig.Timeout):
			return nil, fmt.Errorf("the next Job %w", rig.ErrTimeout)
		case event, ok := <-stream.ResultChan():
			if !ok {
				return nil, fmt.Errorf("the watch broke off")
			}
			object, ok := event.Object.(*batchv1.Job)
			switch {
			case !ok:
			case event.Type == watch.Added && !last.IsZero():
				waits, last = append(waits, milliseconds(time.Since(last))), time.Time{}
			case !ended[object.Name] && job.Observe(object).State == job.Succeeded:
				ended[object.Name], last = true, time.Now()
			}
		}
	}
	return waits, nil
}
