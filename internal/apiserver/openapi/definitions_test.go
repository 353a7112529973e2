package openapi

import (
	"maps"
	"slices"
	"testing"

	"k8s.io/kube-openapi/pkg/validation/spec"
)

// The aggregated API does not start where a definition is missing.
func TestDefinitionsHoldAllThatOursReferTo(t *testing.T) {
	definitions := Definitions(spec.MustCreateRef)
	wanted := slices.Collect(maps.Keys(GetOpenAPIDefinitions(spec.MustCreateRef)))
	seen := map[string]bool{}
	for len(wanted) > 0 {
		name := wanted[0]
		wanted = wanted[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		definition, ok := definitions[name]
		if !ok {
			t.Errorf("no definition of %s", name)
		}
		wanted = append(wanted, definition.Dependencies...)
	}
	if !seen["io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelectorRequirement"] {
		t.Error("the selector of a Requeue was not followed")
	}
}
