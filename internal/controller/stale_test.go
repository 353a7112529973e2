package controller

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// A status that is written while the cache is behind leaves nothing of the one before it, such as that a requeue goes on.
func TestAStatusReplacesTheOneThatTheCacheDoesNotShow(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	binding := &v1alpha1.QueueBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: "pings"}}
	api := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(binding).WithObjects(binding).Build()
	clock := testingclock.NewFakePassiveClock(time.Now())
	r := &Reconciler{Client: api, Clock: clock, written: map[types.NamespacedName]time.Time{}}
	current := func() *v1alpha1.QueueBinding {
		t.Helper()
		found := &v1alpha1.QueueBinding{}
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(binding), found); err != nil {
			t.Fatal(err)
		}
		return found
	}
	status := func(inProgress bool) v1alpha1.QueueBindingStatus {
		return v1alpha1.QueueBindingStatus{LastRequeue: &v1alpha1.RequeueResult{RequeuedJobs: 9, InProgress: inProgress}}
	}

	behind := current()
	if again, err := r.writeStatus(t.Context(), current(), status(true), 0); again != 0 || err != nil {
		t.Fatalf("the first status: again %s, %v", again, err)
	}
	clock.SetTime(clock.Now().Add(time.Minute))
	if again, err := r.writeStatus(t.Context(), behind, status(false), 0); err != nil || again == 0 && current().Status.LastRequeue.InProgress {
		t.Fatalf("from a cache that is behind: again %s, %v, and the requeue goes on", again, err)
	}
	if again, err := r.writeStatus(t.Context(), current(), status(false), 0); again != 0 || err != nil {
		t.Fatalf("from a cache that has caught up: again %s, %v", again, err)
	}
	if current().Status.LastRequeue.InProgress {
		t.Error("the requeue goes on, by the status")
	}
}
