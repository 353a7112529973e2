package controller

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/internal/queue"
)

// namespaceServer answers for one Namespace.
type namespaceServer struct {
	client.Reader
	annotations map[string]string
	err         error
	asked       int
}

func (s *namespaceServer) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	s.asked++
	into.SetAnnotations(s.annotations)
	return s.err
}

func TestNamespacesAreReadOneByOneAndNotForEveryReconcile(t *testing.T) {
	resource := schema.GroupResource{Resource: "namespaces"}
	clock := testingclock.NewFakeClock(time.Now())
	server := &namespaceServer{annotations: map[string]string{"granted": "a"}}
	reconciler := &Reconciler{Reader: server, Tenancy: &Tenancy{OneByOne: true, read: newRereads[map[string]string](clock.Now)}}
	for i, step := range []struct {
		after       time.Duration
		annotations map[string]string
		err         error
		want        string
		wantReason  queue.Reason
		wantAsked   int
	}{
		{annotations: map[string]string{"granted": "a"}, want: "a", wantAsked: 1},
		{after: 29 * time.Second, annotations: map[string]string{"granted": "b"}, want: "a", wantAsked: 1},
		{after: time.Second, annotations: map[string]string{"granted": "b"}, want: "b", wantAsked: 2},
		// An API server in trouble takes no grant away.
		{after: 30 * time.Second, err: errors.New("no answer"), want: "b", wantAsked: 3},
		{after: 30 * time.Second, err: apierrors.NewForbidden(resource, "team-a", errors.New("no")), wantReason: queue.NotAllowed, wantAsked: 4},
		{after: 5 * time.Second, err: apierrors.NewNotFound(resource, "team-a"), wantReason: queue.NotAllowed, wantAsked: 5},
		{after: 5 * time.Second, err: errors.New("no answer"), wantReason: queue.Unreachable, wantAsked: 6},
		{after: 5 * time.Second, annotations: nil, want: "", wantAsked: 7},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			clock.Step(step.after)
			server.annotations, server.err = step.annotations, step.err
			annotations, again, err := reconciler.annotations(t.Context(), "team-a")
			if annotations["granted"] != step.want || server.asked != step.wantAsked || again == 0 {
				t.Errorf("got %q after %d requests, again after %s; want %q after %d", annotations["granted"], server.asked, again, step.want, step.wantAsked)
			}
			if (err != nil) != (step.wantReason != "") || err != nil && queue.ReasonOf(err) != step.wantReason {
				t.Errorf("got error %v, want reason %q", err, step.wantReason)
			}
		})
	}
}
