package keda

import (
	"os"
	"path/filepath"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// schema is the CRD's, as the API server uses it.
type schema struct {
	structural *structuralschema.Structural
	openAPI    validation.SchemaValidator
	rules      *cel.Validator
}

func loadSchema(t *testing.T) *schema {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "config", "crd", "bases", "queuebinding.dev_queuebindings.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(data, crd); err != nil {
		t.Fatal(err)
	}
	props := &apiextensions.JSONSchemaProps{}
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(crd.Spec.Versions[0].Schema.OpenAPIV3Schema, props, nil); err != nil {
		t.Fatal(err)
	}
	s := &schema{}
	if s.structural, err = structuralschema.NewStructural(props); err != nil {
		t.Fatal(err)
	}
	if s.openAPI, _, err = validation.NewSchemaValidator(props); err != nil {
		t.Fatal(err)
	}
	s.rules = cel.NewValidator(s.structural, true, celconfig.PerCallLimit)
	return s
}

// accepts fails the test for what the API server would refuse of a binding, or leave out.
func (s *schema) accepts(t *testing.T, binding *v1alpha1.QueueBinding) {
	t.Helper()
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(binding)
	if err != nil {
		t.Fatal(err)
	}
	defaulting.Default(object, s.structural)
	if pruned := pruning.PruneWithOptions(object, s.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}); len(pruned) > 0 {
		t.Errorf("unknown to the schema: %v", pruned)
	}
	for _, problem := range validation.ValidateCustomResource(nil, object, s.openAPI) {
		t.Error(problem)
	}
	problems, _ := s.rules.Validate(t.Context(), nil, s.structural, object, nil, celconfig.RuntimeCELCostBudget)
	for _, problem := range problems {
		t.Error(problem)
	}
}

// A schema that accepts everything would prove nothing.
func TestTheSchemaOfTheseTestsRefuses(t *testing.T) {
	s := loadSchema(t)
	object := map[string]any{"metadata": map[string]any{"name": "a.b"}, "spec": map[string]any{"queue": map[string]any{}}}
	if problems, _ := s.rules.Validate(t.Context(), nil, s.structural, object, nil, celconfig.RuntimeCELCostBudget); len(problems) == 0 {
		t.Error("a name with a dot is accepted")
	}
	if len(validation.ValidateCustomResource(nil, object, s.openAPI)) == 0 {
		t.Error("a binding without a URL is accepted")
	}
}
