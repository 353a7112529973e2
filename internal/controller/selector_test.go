package controller

import (
	"testing"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
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
