package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// sightings are when Jobs were seen to be created, on a watch of their metadata. The operator's and the bare client's are
// seen by the same eyes, so that what the watch takes is in both numbers.
type sightings struct {
	mu sync.Mutex
	// seen are the times of creation, by owner.
	seen map[owner][]time.Time
	// moved is closed and replaced when there are more.
	moved  chan struct{}
	failed error
}

// owner is what owns Jobs: a binding, or the bare client's stand-in for one.
type owner struct{ namespace, name string }

func newSightings(ctx context.Context, from client.WithWatch) (*sightings, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("JobList"))
	if err := from.List(ctx, list, client.Limit(1)); err != nil {
		return nil, fmt.Errorf("listing Jobs: %w", err)
	}
	s := &sightings{seen: map[owner][]time.Time{}, moved: make(chan struct{})}
	go s.follow(ctx, from, list.ResourceVersion)
	return s, nil
}

func (s *sightings) follow(ctx context.Context, from client.WithWatch, resume string) {
	for ctx.Err() == nil {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("JobList"))
		stream, err := from.Watch(ctx, list, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: resume}})
		if err != nil {
			s.fail(err)
			return
		}
		for event := range stream.ResultChan() {
			object, ok := event.Object.(*metav1.PartialObjectMetadata)
			if !ok {
				s.fail(fmt.Errorf("the watch of Jobs broke off: %v", event.Object))
				return
			}
			resume = object.ResourceVersion
			if controller := metav1.GetControllerOf(object); event.Type == watch.Added && controller != nil {
				s.add(owner{object.Namespace, controller.Name}, time.Now())
			}
		}
	}
}

func (s *sightings) add(by owner, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[by] = append(s.seen[by], at)
	close(s.moved)
	s.moved = make(chan struct{})
}

func (s *sightings) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
	close(s.moved)
	s.moved = make(chan struct{})
}

// of are the times so far.
func (s *sightings) of(by owner) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen[by]
	return slices.Clip(seen)
}

// await waits until an owner has n Jobs and returns when the n-th was seen.
func (s *sightings) await(ctx context.Context, by owner, n int) (time.Time, error) {
	for {
		s.mu.Lock()
		seen, moved, failed := s.seen[by], s.moved, s.failed
		s.mu.Unlock()
		if failed != nil {
			return time.Time{}, failed
		}
		if len(seen) >= n {
			return seen[n-1], nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("%s/%s has %d of %d Jobs: %w", by.namespace, by.name, len(seen), n, ctx.Err())
		case <-moved:
		}
	}
}
