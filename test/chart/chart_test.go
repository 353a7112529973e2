// Package chart_test tests the Helm chart without a cluster: that it installs what kustomize does, object by object, that it takes
// no value which it does not know, and that it uses each which it knows. test/chart/e2e installs it.
package chart_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/queuebinding/queuebinding/test/testenv"
)

const (
	release = "queuebinding"
	system  = "queuebinding-system"
)

var root string

func TestMain(m *testing.M) {
	var err error
	if root, err = testenv.Root(); err == nil {
		err = buildTools()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// buildTools builds what is not there yet.
func buildTools() error {
	build := exec.Command("make", "--no-print-directory", "bin/tools/helm", "bin/tools/kustomize")
	build.Dir, build.Stderr = root, os.Stderr
	return build.Run()
}

// tool runs one of the tools that the repository pins and returns what it printed.
func tool(input, name string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(root, "bin", "tools", name), args...)
	cmd.Dir, cmd.Stdin = root, strings.NewReader(input)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, problem.String())
	}
	return string(output), nil
}

// helmTemplate renders the chart, with values as YAML, for a release in a namespace.
func helmTemplate(name, namespace, values string) (string, error) {
	return tool(values, "helm", "template", name, "charts/queuebinding", "--namespace="+namespace, "--values=-")
}

// rendered are the chart's objects.
func rendered(t *testing.T, name, namespace, values string) []*unstructured.Unstructured {
	t.Helper()
	output, err := helmTemplate(name, namespace, values)
	if err != nil {
		t.Fatal(err)
	}
	return objects(t, output)
}

// objects reads manifests.
func objects(t *testing.T, manifests string) []*unstructured.Unstructured {
	t.Helper()
	var found []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096)
	for {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(object); {
		case errors.Is(err, io.EOF):
			return found
		case err != nil:
			t.Fatal(err)
		}
		if len(object.Object) > 0 {
			found = append(found, object)
		}
	}
}

// key is what names an object.
func key(object *unstructured.Unstructured) string {
	return fmt.Sprintf("%s %s/%s", object.GroupVersionKind().GroupKind(), object.GetNamespace(), object.GetName())
}
