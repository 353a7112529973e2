package recorder

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Follower follows all objects of one kind through restarts of the API server: it resumes its watch where that had got,
// and lists again where the API server has forgotten that. Unlike an informer it tells each change in the order in which
// it was stored, across objects: what is counted of the changes was so at some time.
type Follower struct {
	Client client.WithWatch
	// Kind is an empty list of the kind. With metadata only, decoding costs least.
	Kind client.ObjectList
	// Observe gets an object that was added, modified or deleted.
	Observe func(event watch.EventType, object client.Object)
	// Replace gets all objects, once by List and again after each gap in which changes may have been missed.
	Replace func(objects []client.Object)

	resume string
}

// errExpired: the API server does not remember as far back as the watch had got.
var errExpired = errors.New("the watch has expired")

// retryInterval is how long to wait before trying again what failed.
const retryInterval = 100 * time.Millisecond

// List lists what exists. Call it once, before Follow.
func (f *Follower) List(ctx context.Context) error {
	list := f.Kind.DeepCopyObject().(client.ObjectList)
	if err := f.Client.List(ctx, list); err != nil {
		return fmt.Errorf("listing %T: %w", list, err)
	}
	var objects []client.Object
	err := meta.EachListItem(list, func(item runtime.Object) error {
		objects = append(objects, item.(client.Object))
		return nil
	})
	if err != nil {
		return err
	}
	f.resume = list.GetResourceVersion()
	f.Replace(objects)
	return nil
}

// Follow tells what changes, until ctx ends.
func (f *Follower) Follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := f.watch(ctx)
		if errors.Is(err, errExpired) {
			err = f.List(ctx)
		}
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(retryInterval):
			}
		}
	}
}

// watch takes in events until the watch ends, as each does some time.
func (f *Follower) watch(ctx context.Context) error {
	stream, err := f.Client.Watch(ctx, f.Kind.DeepCopyObject().(client.ObjectList), &client.ListOptions{
		Raw: &metav1.ListOptions{ResourceVersion: f.resume, AllowWatchBookmarks: true},
	})
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return errExpired
	}
	if err != nil {
		return err
	}
	defer stream.Stop()
	for event := range stream.ResultChan() {
		switch event.Type {
		case watch.Error:
			err := apierrors.FromObject(event.Object)
			if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
				return errExpired
			}
			return err
		case watch.Bookmark:
		default:
			f.Observe(event.Type, event.Object.(client.Object))
		}
		if accessor, err := meta.Accessor(event.Object); err == nil {
			f.resume = accessor.GetResourceVersion()
		}
	}
	return nil
}
