package devenv

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestKueueIsAskedAboutJobsAndItsOwnKindsOnly(t *testing.T) {
	webhook := func(name, group string) any {
		return map[string]any{
			"name":         name,
			"clientConfig": map[string]any{"service": map[string]any{"name": "webhook-service", "namespace": "system", "path": "/" + name}},
			"rules":        []any{map[string]any{"apiGroups": []any{group}}},
		}
	}
	configuration := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": "mutating-webhook-configuration"},
		"webhooks": []any{webhook("pods", ""), webhook("jobs", "batch"), webhook("deployments", "apps"), webhook("workloads", "kueue.x-k8s.io")},
	}}
	if err := leadWebhooks(configuration, 20001); err != nil {
		t.Fatal(err)
	}
	if name := configuration.GetName(); name != "kueue-mutating-webhook-configuration" {
		t.Errorf("got name %q, want the one that an installation has", name)
	}
	webhooks, _, err := unstructured.NestedSlice(configuration.Object, "webhooks")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, each := range webhooks {
		each, _ := each.(map[string]any)
		name, _ := each["name"].(string)
		names = append(names, name)
		service, _, err := unstructured.NestedMap(each, "clientConfig", "service")
		if err != nil {
			t.Fatal(err)
		}
		if service["name"] != kueueService || service["namespace"] != kueueNamespace || service["port"] != int64(20001) || service["path"] != "/"+name {
			t.Errorf("got %v, want what leads to our port by its own path", service)
		}
	}
	if !slices.Equal(names, []string{"jobs", "workloads"}) {
		t.Errorf("got webhooks %v, want jobs and workloads", names)
	}

	foreign := &unstructured.Unstructured{Object: map[string]any{"webhooks": []any{webhook("pods", "")}}}
	if err := leadWebhooks(foreign, 20001); err == nil {
		t.Error("got no error, want one where there is nothing for Jobs")
	}
}
