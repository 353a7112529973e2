package chart_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestLint(t *testing.T) {
	for _, values := range []string{"", "tenancy: namespaces", "namespaces: [team-a]", "{apiserver: {enabled: false}, crds: {keep: false}}"} {
		if _, err := tool(values, "helm", "lint", "--strict", "charts/queuebinding", "--values=-"); err != nil {
			t.Errorf("with %q: %s", values, err)
		}
	}
}

// TestTwoReleasesFitIntoOneCluster is about names. Of the CRD and the APIService a cluster has one; test/chart/e2e sees them refused.
func TestTwoReleasesFitIntoOneCluster(t *testing.T) {
	seen := map[string]bool{}
	for _, object := range rendered(t, release, system, "tenancy: namespaces") {
		seen[key(object)] = true
	}
	for _, second := range []struct{ name, namespace string }{{"team-a", "team-a-system"}, {"team-b", system}} {
		for _, object := range rendered(t, second.name, second.namespace, "{tenancy: namespaces, crds: {install: false}, apiserver: {enabled: false}}") {
			if seen[key(object)] {
				t.Errorf("release %s in namespace %s has a %s too", second.name, second.namespace, key(object))
			}
			seen[key(object)] = true
		}
	}
}

// TestNothingNamesAnotherRelease looks for the names that config/ has, in what was made for another release.
func TestNothingNamesAnotherRelease(t *testing.T) {
	manifests, err := helmTemplate("other", "elsewhere", "{tenancy: namespaces, metrics: {serviceMonitor: {enabled: true}, prometheusRule: {enabled: true}}}")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{system, `"queuebinding-apiserver"`, " queuebinding-controller-manager", ":queuebinding-controller-manager", "namespace: system"} {
		if strings.Contains(manifests, name) {
			t.Errorf("they have %q", name)
		}
	}
	for _, want := range []string{
		"'system:serviceaccount:elsewhere:other-queuebinding-controller-manager:'", "':elsewhere:'",
		"resourceNames:\n  - elsewhere\n",
	} {
		if !strings.Contains(manifests, want) {
			t.Errorf("they lack %q", want)
		}
	}
}

// TestSelectorsAreOfTheRelease holds two releases in one namespace apart.
func TestSelectorsAreOfTheRelease(t *testing.T) {
	selectors := 0
	var look func(at string, value any)
	look = func(at string, value any) {
		switch value := value.(type) {
		case map[string]any:
			_, ours := value["control-plane"]
			if isSelector := strings.HasSuffix(at, "/matchLabels") || strings.HasSuffix(at, "/selector"); isSelector && ours {
				selectors++
				if value["app.kubernetes.io/instance"] != release {
					t.Errorf("%s selects %v", at, value)
				}
			}
			for name, each := range value {
				look(at+"/"+name, each)
			}
		case []any:
			for _, each := range value {
				look(at, each)
			}
		}
	}
	for _, object := range rendered(t, release, system, "{metrics: {serviceMonitor: {enabled: true}}, commonLabels: {app.kubernetes.io/instance: mine}}") {
		look(key(object), object.Object)
	}
	if want := 2 + 2*2 + 2 + 2 + 4 + 1; selectors != want { // Deployments, their spreading, Services, budgets, policies, the monitor
		t.Errorf("%d selectors, want %d", selectors, want)
	}
}

// TestSomeNamespacesTakeNoClusterRoleBinding is what `namespaces` is for. Secrets are out of reach where nobody needs them.
func TestSomeNamespacesTakeNoClusterRoleBinding(t *testing.T) {
	for _, object := range rendered(t, release, system, `{namespaces: [team-a, team-b], tenancy: namespaces, metrics: {enabled: false}, apiserver: {enabled: false}, rbac: {fileDelivery: false, credentials: false}}`) {
		if object.GetKind() == "ClusterRoleBinding" {
			t.Errorf("there is a %s", key(object))
		}
		if object.GetKind() != "Role" || object.GetNamespace() == system {
			continue
		}
		rules, _, _ := unstructured.NestedSlice(object.Object, "rules")
		for _, rule := range rules {
			if resources, _, _ := unstructured.NestedStringSlice(rule.(map[string]any), "resources"); slices.Contains(resources, "secrets") {
				t.Errorf("%s is about Secrets", key(object))
			}
		}
	}
}

func TestOneReplicaHasNoBudget(t *testing.T) {
	for _, object := range rendered(t, release, system, `{operator: {replicas: 1}, apiserver: {replicas: 1}}`) {
		if object.GetKind() == "PodDisruptionBudget" {
			t.Errorf("%s would hold up the drain of its node for ever", key(object))
		}
	}
}

func TestExtraObjectsAreTemplates(t *testing.T) {
	values := `
extraObjects:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: '{{ .Release.Name }}-yaml'}
- |
  apiVersion: v1
  kind: ConfigMap
  metadata: {name: {{ .Release.Name }}-text}
`
	var names []string
	for _, object := range rendered(t, release, system, values) {
		if object.GetKind() == "ConfigMap" {
			names = append(names, object.GetName())
		}
	}
	slices.Sort(names)
	if want := []string{"queuebinding-text", "queuebinding-yaml"}; !slices.Equal(names, want) {
		t.Errorf("ConfigMaps %v, want %v", names, want)
	}
}

func TestBytesAreWrittenOut(t *testing.T) {
	for value, want := range map[string]string{"1073741824": "1073741824", `"0"`: "0", "0": "0", "1.5Gi": "1.5Gi"} {
		manifests, err := helmTemplate(release, system, "maxStoredBytes: "+value)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(manifests, "- --max-stored-bytes="+want+"\n") {
			t.Errorf("%s did not become --max-stored-bytes=%s", value, want)
		}
	}
}

// TestThePackageIsReproducible makes it twice, of files that were touched in between.
func TestThePackageIsReproducible(t *testing.T) {
	var packages [][]byte
	for i := range 2 {
		dir := t.TempDir()
		later := time.Now().Add(time.Duration(i) * time.Hour)
		if err := os.Chtimes(filepath.Join(root, "charts", "queuebinding", "Chart.yaml"), later, later); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("make", "--no-print-directory", "chart", "DIST="+dir, "VERSION=1.2.3", "REPOSITORY=registry.test/queuebinding")
		cmd.Dir = root
		if output, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %s", err, output)
		}
		data, err := os.ReadFile(filepath.Join(dir, "queuebinding-1.2.3.tgz"))
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, data)
	}
	if !bytes.Equal(packages[0], packages[1]) {
		t.Error("the same files made two packages")
	}
	file := filepath.Join(t.TempDir(), "queuebinding.tgz")
	if err := os.WriteFile(file, packages[0], 0o600); err != nil {
		t.Fatal(err)
	}
	manifests, err := tool("", "helm", "template", release, file)
	if err != nil {
		t.Fatal(err)
	}
	if want := "image: registry.test/queuebinding:1.2.3\n"; strings.Count(manifests, want) != 2 {
		t.Errorf("the Deployments of the package do not have %q", want)
	}
}
