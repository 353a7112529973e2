package controller

import (
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/intake"
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

// Operators with other selectors tell nothing that another one tells.
func TestAnOperatorTellsOfItsBindings(t *testing.T) {
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
	for want, selector := range map[int]labels.Selector{1: selector, 2: nil} {
		r := &Reconciler{Client: c, Selector: selector, Registry: intake.NewRegistry(nil, nil, logr.Discard(), nil)}
		got, err := r.States(t.Context())
		if err != nil || len(got) != want {
			t.Errorf("selector %v: got %d bindings, %v; want %d", selector, len(got), err, want)
		}
		for _, state := range got {
			if state.Intake != nil {
				t.Errorf("%s has a loop to tell of", state.Binding.Name)
			}
		}
	}
}
