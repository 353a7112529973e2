package rig

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// follower follows one kind of objects through restarts of the API server: it resumes where it had got, and lists again
// where the API server has forgotten that.
type follower struct {
	client  client.WithWatch
	list    client.ObjectList
	changed func(object client.Object, deleted bool)
	// listed gets all objects; gap is whether something may have been missed before.
	listed func(kind client.ObjectList, objects []client.Object, gap bool)

	resume string
	began  bool
}

// errExpired: the API server does not remember as far back as the watch had got.
var errExpired = errors.New("the watch has expired")

// pause is how long to wait before trying again what failed.
const pause = 100 * time.Millisecond

func (f *follower) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := f.watch(ctx)
		if errors.Is(err, errExpired) {
			err = f.relist(ctx)
		}
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

func (f *follower) relist(ctx context.Context) error {
	list := f.list.DeepCopyObject().(client.ObjectList)
	if err := f.client.List(ctx, list); err != nil {
		return err
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
	f.listed(list, objects, f.began)
	f.began = true
	return nil
}

// watch takes in events until the watch ends, as each does some time.
func (f *follower) watch(ctx context.Context) error {
	stream, err := f.client.Watch(ctx, f.list.DeepCopyObject().(client.ObjectList), &client.ListOptions{
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
			f.changed(event.Object.(client.Object), event.Type == watch.Deleted)
		}
		if accessor, err := meta.Accessor(event.Object); err == nil {
			f.resume = accessor.GetResourceVersion()
		}
	}
	return nil
}
