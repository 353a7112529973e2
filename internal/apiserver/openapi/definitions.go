package openapi

import (
	"strings"

	aggregator "k8s.io/kube-aggregator/pkg/generated/openapi"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/util"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// Definitions returns the definitions of our kinds and of Kubernetes' own that they are made of, such as ObjectMeta.
// The latter come from the API aggregator, which ships them generated; what an API does not refer to is not served.
func Definitions(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	definitions := aggregator.GetOpenAPIDefinitions(ref)
	for name, definition := range GetOpenAPIDefinitions(func(name string) spec.Ref { return ref(modelName(name)) }) {
		for i, dependency := range definition.Dependencies {
			definition.Dependencies[i] = modelName(dependency)
		}
		definitions[name] = definition
	}
	return definitions
}

// modelName is the OpenAPI name of a kind. The generator knows it for the kinds that it generates definitions of; for all
// others it writes the Go name, whose package is a path.
func modelName(name string) string {
	if strings.Contains(name, "/") {
		return util.ToRESTFriendlyName(name)
	}
	return name
}
