package controller

import (
	"testing"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

func TestOperatorsWithOtherSelectorsHaveOtherLeases(t *testing.T) {
	names := map[string]string{}
	for _, text := range []string{"", "team=a", "team=b", "!team", "team in (a,b)", "team=a,tier=x"} {
		selector, err := labels.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		name := LeaseName(selector)
		if problems := validation.IsDNS1123Subdomain(name); problems != nil {
			t.Errorf("%q: %s is no name: %v", text, name, problems)
		}
		if other, ok := names[name]; ok {
			t.Errorf("%q and %q share the Lease %s", text, other, name)
		}
		names[name] = text
	}
	swapped, err := labels.Parse("tier=x,team=a")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := names[LeaseName(swapped)]; !ok {
		t.Error("the order of requirements changes the Lease")
	}
	if LeaseName(labels.Everything()) != "leader.queuebinding.dev" {
		t.Error("an operator without a selector has not the Lease that it always had")
	}
}

// Replicas that do not lead, and operators with other selectors, tell nothing that another one tells.
func TestTheLeaderTellsOfItsBindings(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	ours, theirs := aBinding(), aBinding()
	ours.Labels, theirs.Name = map[string]string{"team": "a"}, "theirs"
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(ours, theirs).Build()
	selector, err := labels.Parse("team=a")
	if err != nil {
		t.Fatal(err)
	}
	elected := make(chan struct{})
	for _, tc := range []struct {
		selector labels.Selector
		lead     bool
		want     int
	}{{selector, false, 0}, {nil, false, 0}, {selector, true, 1}, {nil, true, 2}} {
		if tc.lead && tc.selector != nil {
			close(elected)
		}
		r := &Reconciler{Client: c, Selector: tc.selector}
		if got, err := r.Led(elected)(t.Context()); err != nil || len(got) != tc.want {
			t.Errorf("selector %v, leading %t: got %d bindings, %v; want %d", tc.selector, tc.lead, len(got), err, tc.want)
		}
	}
}
