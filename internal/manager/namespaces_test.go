package manager

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"
)

func TestNamespacesAreNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		list    string
		want    []string
		wantErr string
	}{
		"one":            {"team-a", []string{"team-a"}, ""},
		"several":        {"team-a,team-b", []string{"team-a", "team-b"}, ""},
		"with blanks":    {" team-a, team-b ", []string{"team-a", "team-b"}, ""},
		"none":           {"", nil, "leave the flag out to work in all"},
		"blanks only":    {"  ", nil, "leave the flag out to work in all"},
		"an empty one":   {"team-a,,team-b", nil, "has an empty name"},
		"one at the end": {"team-a,", nil, "has an empty name"},
		"one twice":      {"team-a,team-b,team-a", nil, `"team-a" is named twice`},
		"no name":        {"team-a,Team_B", nil, `"Team_B" is no name of a namespace`},
		"a pattern":      {"team-*", nil, `"team-*" is no name of a namespace`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseNamespaces(tc.list)
			if !slices.Equal(got, tc.want) || (err == nil) != (tc.wantErr == "") || err != nil && !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("got %v, %v; want %v, %q", got, err, tc.want, tc.wantErr)
			}
		})
	}
}

// cluster says what is allowed in which namespaces, and which there are.
type cluster struct {
	allowed, existing []string
	asked             int
	broken            bool
}

func (c *cluster) namespaces(names ...string) *namespaces {
	client := fake.NewClientset()
	client.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		c.asked++
		if c.broken {
			return true, nil, errors.New("no answer")
		}
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview)
		review.Status.Allowed = slices.Contains(c.allowed, review.Spec.ResourceAttributes.Namespace)
		return true, review, nil
	})
	client.PrependReactor("create", "events", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if slices.Contains(c.existing, action.GetNamespace()) {
			return true, action.(clienttesting.CreateAction).GetObject(), nil
		}
		return true, nil, apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, action.GetNamespace())
	})
	return &namespaces{names: names, watches: []schema.GroupResource{{Group: "batch", Resource: "jobs"}}, client: client, clock: clock.RealClock{}}
}

func TestANamespaceThatCannotBeWorkedInIsLeftOutAndSaid(t *testing.T) {
	for name, tc := range map[string]struct {
		cluster       cluster
		want          []string
		wantErr, says string
	}{
		"all can":             {cluster{allowed: []string{"a", "b"}, existing: []string{"a", "b"}}, []string{"a", "b"}, "", ""},
		"one without rights":  {cluster{allowed: []string{"a"}, existing: []string{"a", "b"}}, []string{"a"}, "", "namespace b: no right to list jobs.batch there"},
		"one that is missing": {cluster{allowed: []string{"a", "b"}, existing: []string{"a"}}, []string{"a"}, "", "namespace b: it does not exist. Create it, or take it off --namespaces"},
		"none can":            {cluster{existing: []string{"a", "b"}}, nil, "config/namespaced/rights", "namespace a: no right to list"},
		"nobody answers":      {cluster{broken: true}, nil, "find out what is allowed in namespace a: no answer", ""},
	} {
		t.Run(name, func(t *testing.T) {
			n := tc.cluster.namespaces("a", "b")
			got, err := n.admit(t.Context())
			if !slices.Equal(got, tc.want) || (err == nil) != (tc.wantErr == "") || err != nil && !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("got %v, %v; want %v, %q", got, err, tc.want, tc.wantErr)
			}
			ready := n.checkReady(nil)
			if (ready == nil) != (tc.says == "") || ready != nil && !strings.Contains(ready.Error(), tc.says) {
				t.Errorf("said %v, want %q", ready, tc.says)
			}
		})
	}
}

func TestAProcessEndsOnceItMayWorkInANamespaceThatItLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{allowed: []string{"a"}, existing: []string{"a", "b"}}
		n := c.namespaces("a", "b")
		if _, err := n.admit(t.Context()); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- n.Start(t.Context()) }()

		time.Sleep(time.Hour)
		c.broken = true
		time.Sleep(time.Hour)
		c.broken = false
		time.Sleep(time.Hour)
		// Restarts are at the mercy of whoever may give and take rights in one namespace: 10 minutes apart, the kubelet starts at once.
		if asked := c.asked; asked > 3*5*2*2+2 {
			t.Errorf("asked %d times in three hours", asked)
		}
		select {
		case err := <-ended:
			t.Fatalf("ended before: %v", err)
		default:
		}
		// One that was worked in and cannot be any more ends nothing.
		c.allowed = nil
		time.Sleep(time.Hour)
		c.allowed = []string{"a"}
		time.Sleep(time.Hour)
		select {
		case err := <-ended:
			t.Fatalf("ended before: %v", err)
		default:
		}
		c.allowed = []string{"a", "b"}
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "namespace b, which was left out, can be worked in now") {
			t.Errorf("ended with %v", err)
		}
		if err := n.checkReady(nil); err != nil {
			t.Errorf("not ready: %v", err)
		}
	})
}

func TestAProcessStopsLookingAtItsNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{allowed: []string{"a"}, existing: []string{"a"}}
		n := c.namespaces("a")
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- n.Start(ctx) }()
		time.Sleep(time.Hour)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
