package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/test/recorder"
)

// creations are when Jobs were seen to be created. The operator's and the bare client's are seen on the same watch, so
// that what it takes is in both numbers. It is one of metadata, and only times are kept: a recorder of whole Jobs would
// take CPU from what is measured.
type creations struct {
	mu sync.Mutex
	// seen are the times of creation, by owner.
	seen map[owner][]time.Time
	// changed is closed and replaced when there are more.
	changed chan struct{}
	failed  error
}

// owner is what owns Jobs: a binding, or the bare client's stand-in for one.
type owner struct{ namespace, name string }

// watchCreations starts to watch a cluster without Jobs, until ctx ends.
func watchCreations(ctx context.Context, cluster client.WithWatch) (*creations, error) {
	kind := &metav1.PartialObjectMetadataList{}
	kind.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("JobList"))
	c := &creations{seen: map[owner][]time.Time{}, changed: make(chan struct{})}
	listed := false
	follower := &recorder.Follower{Client: cluster, Kind: kind, Observe: c.observe, Replace: func([]client.Object) {
		if listed {
			c.fail(errors.New("the watch of Jobs broke off"))
		}
		listed = true
	}}
	if err := follower.List(ctx); err != nil {
		return nil, err
	}
	go follower.Follow(ctx)
	return c, nil
}

func (c *creations) observe(event watch.EventType, object client.Object) {
	if controller := metav1.GetControllerOf(object); event == watch.Added && controller != nil {
		c.add(owner{object.GetNamespace(), controller.Name}, time.Now())
	}
}

func (c *creations) add(by owner, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[by] = append(c.seen[by], at)
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *creations) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = err
	close(c.changed)
	c.changed = make(chan struct{})
}

// of are the times so far.
func (c *creations) of(by owner) []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.seen[by]
	return slices.Clip(seen)
}

// await waits until an owner has n Jobs and returns when the n-th was seen.
func (c *creations) await(ctx context.Context, by owner, n int) (time.Time, error) {
	for {
		c.mu.Lock()
		seen, changed, failed := c.seen[by], c.changed, c.failed
		c.mu.Unlock()
		if failed != nil {
			return time.Time{}, failed
		}
		if len(seen) >= n {
			return seen[n-1], nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("%s/%s has %d of %d Jobs: %w", by.namespace, by.name, len(seen), n, ctx.Err())
		case <-changed:
		}
	}
}
