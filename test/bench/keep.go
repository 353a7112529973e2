package main

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// churnEvery is how often a Job goes while the status is refreshed.
const churnEvery = 100 * time.Millisecond

// measureKeep has one binding keep many Jobs, with more messages waiting than it may take, and then takes Jobs away.
func measureKeep(ctx context.Context, s *suite, r *report) error {
	return s.operate(ctx, "keep", func(o *operator) error {
		kept, waiting := s.amounts.kept, s.amounts.waiting
		w, err := s.newWorkspace(ctx, func(b *v1alpha1.QueueBinding) {
			b.Spec.Suspend = true
			b.Spec.Concurrency.MaxActiveJobs = new(int32(kept))
		})
		if err != nil {
			return err
		}
		if err := w.queue.SendAll(ctx, bodies(kept+waiting)); err != nil {
			return err
		}
		rate, err := s.timed(ctx, "operator", kept, w.operator(), func() error { return w.release(ctx) })
		if err != nil {
			return err
		}
		if err := s.await(ctx, w, "the status", func() string { return w.statusOf(ctx, kept) }); err != nil {
			return err
		}
		// One that is not at its limit would take a message for each Job that goes.
		before := w.binding.DeepCopy()
		w.binding.Spec.Suspend = true
		if err := s.Client.Patch(ctx, w.binding, client.MergeFrom(before)); err != nil {
			return fmt.Errorf("suspending a binding: %w", err)
		}
		if err := s.settle(ctx); err != nil {
			return err
		}
		what := fmt.Sprintf("one binding with %d Jobs", kept)
		seen := len(s.creations.of(w.operator()))
		r.add(fmt.Sprintf("%s, %d waiting, Jobs over the limit", what, waiting), float64(seen-kept), "Jobs", atMost(0))
		r.add(what+", filled", rate, "Jobs/s", goalless)
		r.add(what+", resident memory", o.memory(false), "MiB", goalless)
		stored := &batchv1.JobList{}
		if err := s.Client.List(ctx, stored, client.InNamespace(w.namespace), client.Limit(1)); err != nil || len(stored.Items) == 0 {
			return fmt.Errorf("looking at a Job: %w", err)
		}
		r.add("a Job as the API server stores it", float64(stored.Items[0].Size()), "bytes", goalless)

		n, mean, p99, cores, err := s.churn(ctx, o, w)
		if err != nil {
			return err
		}
		if err := s.await(ctx, w, "the status", func() string { return w.statusOf(ctx, kept-s.amounts.churn) }); err != nil {
			return err
		}
		r.add(what+", status refreshes", n, "", goalless)
		r.add(what+", status refresh, mean", mean, "ms", atMost(50))
		r.add(what+", status refresh, p99 below", p99, "ms", atMost(50))
		r.add(what+", CPU with ten events a second", cores, "cores", goalless)
		if err := s.profile(ctx, o, "heap?gc=1", "keep-heap"); err != nil {
			return err
		}
		return w.clear(ctx)
	})
}

// churn deletes Jobs one by one and reads how long the operator took to reconcile the binding meanwhile.
func (s *suite) churn(ctx context.Context, o *operator, w *workspace) (n, mean, p99, cores float64, err error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("JobList"))
	if err := s.Client.List(ctx, list, client.InNamespace(w.namespace), client.MatchingLabels{v1alpha1.LabelBinding: w.binding.Name}, client.Limit(int64(s.amounts.churn))); err != nil {
		return 0, 0, 0, 0, fmt.Errorf("listing Jobs: %w", err)
	}
	before, err := o.scrape(ctx)
	if err != nil {
		return 0, 0, 0, 0, err
	}
	cpu, began := o.cpu(), time.Now()
	span := time.Duration(s.amounts.churn) * churnEvery
	profiled := s.profileLater(ctx, o, fmt.Sprintf("profile?seconds=%.0f", span.Seconds()), "keep-cpu", true)
	for i := range list.Items {
		if err := s.Client.Delete(ctx, &list.Items[i], client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
			return 0, 0, 0, 0, fmt.Errorf("deleting a Job: %w", err)
		}
		time.Sleep(churnEvery)
	}
	elapsed := time.Since(began)
	used := o.cpu() - cpu
	if err := <-profiled; err != nil {
		return 0, 0, 0, 0, err
	}
	after, err := o.scrape(ctx)
	if err != nil {
		return 0, 0, 0, 0, err
	}
	n, mean, p99 = reconciles(before, after)
	return n, mean, p99, used.Seconds() / elapsed.Seconds(), nil
}
