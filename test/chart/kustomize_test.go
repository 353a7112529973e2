package chart_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestHelmAndKustomizeInstallTheSame holds the two ways of an installation together, in each form that both have.
func TestHelmAndKustomizeInstallTheSame(t *testing.T) {
	for name, test := range map[string]struct {
		values string
		// kustomization is a folder in config, and with and without the lines that are put in and taken out of it, as its comments say.
		kustomization string
		with, without []string
	}{
		"default": {kustomization: "default", with: []string{"- ../network-policy"}},
		"without network policies": {
			values:        `networkPolicies: {enabled: false}`,
			kustomization: "default",
		},
		"watched": {
			values:        `metrics: {serviceMonitor: {enabled: true}, prometheusRule: {enabled: true}, dashboard: {enabled: true}}`,
			kustomization: "default", with: []string{"- ../network-policy", "- ../prometheus", "- ../grafana"},
		},
		"tenancy": {
			values:        `tenancy: namespaces`,
			kustomization: "default", with: []string{"- ../network-policy", "- ../tenancy"},
		},
		"without the subresource": {
			values:        `{apiserver: {enabled: false}, networkPolicies: {enabled: false}}`,
			kustomization: "default", without: []string{"- ../apiserver"},
		},
		"without policies": {
			values:        `policies: {jobCreators: false, operator: false}`,
			kustomization: "default", with: []string{"- ../network-policy"}, without: []string{"- ../policies"},
		},
		"without rights on Secrets": {
			values:        `rbac: {fileDelivery: false, credentials: false}`,
			kustomization: "default", with: []string{"- ../network-policy"}, without: []string{"- ../rights/file-delivery", "- ../rights/credentials"},
		},
		"some namespaces": {
			values:        `{namespaces: [team-a, team-b], apiserver: {enabled: false}, metrics: {enabled: false}, networkPolicies: {enabled: false}}`,
			kustomization: "namespaced",
		},
		"some namespaces, with tenancy and the subresource": {
			values:        `{namespaces: [team-a, team-b], tenancy: namespaces, metrics: {enabled: false}, networkPolicies: {enabled: false}}`,
			kustomization: "namespaced",
			with: []string{
				"- ../apiserver", "- ../tenancy", "- ../../rights/apiserver", "- ../../rights/tenancy",
				"- source: {kind: ServiceAccount, name: apiserver, fieldPath: metadata.name}", "targets:",
				"- select: {kind: RoleBinding, name: apiserver-bindings-rolebinding}", "fieldPaths: [subjects.0.name]",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			helm := normalised(rendered(t, release, system, test.values))
			kustomize := normalised(kustomized(t, test.kustomization, test.with, test.without))
			if diff := cmp.Diff(kustomize, helm); diff != "" {
				t.Errorf("- kustomize, + Helm:\n%s", diff)
			}
		})
	}
}

// kustomized are the objects of a kustomization in config, with some lines of its own put in and others taken out.
func kustomized(t *testing.T, folder string, with, without []string) []*unstructured.Unstructured {
	t.Helper()
	folder = filepath.Join("config", folder)
	if len(with)+len(without) > 0 {
		folder = edited(t, filepath.Join(root, folder), with, without)
	}
	output, err := tool("", "kustomize", "build", folder)
	if err != nil {
		t.Fatal(err)
	}
	return objects(t, output)
}

// edited copies a kustomization with the folders below it, and edits it as users do: lines lose what makes comments of them, or go.
func edited(t *testing.T, folder string, with, without []string) string {
	t.Helper()
	copied, err := os.MkdirTemp(filepath.Join(root, "bin"), "kustomization-") //nolint:usetesting // its paths lead to config
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(copied) })
	files, err := filepath.Glob(filepath.Join(folder, "*", "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range append(files, filepath.Join(folder, "kustomization.yaml")) {
		relative, err := filepath.Rel(folder, file)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(data), "\n")
		for i, line := range lines {
			uncommented, isComment := strings.CutPrefix(line, "# ")
			switch {
			case isComment && slices.Contains(with, strings.TrimSpace(uncommented)):
				lines[i], seen[strings.TrimSpace(uncommented)] = uncommented, true
			case slices.Contains(without, line):
				lines[i], seen[line] = "", true
			}
		}
		// What lies outside of the folder is further away now.
		up := strings.Repeat("../", strings.Count(relative, "/")+1)
		text := strings.ReplaceAll(strings.Join(lines, "\n"), "- "+up, "- "+up+"../config/")
		path := filepath.Join(copied, relative)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range slices.Concat(with, without) {
		if !seen[line] {
			t.Fatalf("%s has no line %q", folder, line)
		}
	}
	return copied
}

// theirs are labels that say who installed something, and of which release it is.
var theirs = []string{"app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"}

// normalised are objects by name, without what Helm and kustomize cannot have in common.
func normalised(all []*unstructured.Unstructured) map[string]any {
	found := map[string]any{}
	for _, object := range all {
		if object.GetKind() == "Namespace" {
			continue // `helm install --create-namespace` makes it
		}
		strip(object.Object)
		if strings.HasPrefix(object.GetKind(), "ValidatingAdmissionPolicy") {
			object.SetNamespace("") // kustomize does not know that the cluster's objects of this kind have none, and the API server does
		}
		annotations := object.GetAnnotations()
		delete(annotations, "helm.sh/resource-policy") // kustomize deletes what it is told to
		object.SetAnnotations(annotations)
		eachContainer(object, func(container map[string]any) {
			container["image"] = "the image"
			if container["imagePullPolicy"] == "IfNotPresent" {
				delete(container, "imagePullPolicy") // the default
			}
			args, _, _ := unstructured.NestedStringSlice(container, "args")
			slices.Sort(args)
			container["args"] = args
		})
		found[key(object)] = object.Object
	}
	return found
}

// strip takes labels off, wherever they are.
func strip(value any) {
	switch value := value.(type) {
	case map[string]any:
		for _, label := range theirs {
			delete(value, label)
		}
		for _, each := range value {
			strip(each)
		}
	case []any:
		for _, each := range value {
			strip(each)
		}
	}
}

func eachContainer(object *unstructured.Unstructured, do func(container map[string]any)) {
	containers, _, _ := unstructured.NestedFieldNoCopy(object.Object, "spec", "template", "spec", "containers")
	list, _ := containers.([]any)
	for _, each := range list {
		do(each.(map[string]any))
	}
}
