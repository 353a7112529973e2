package chart_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// leaves are the paths of all values that have no values below them, with their defaults.
func leaves(t *testing.T) map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "charts", "queuebinding", "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(data, &values); err != nil {
		t.Fatal(err)
	}
	found := map[string]any{}
	var descend func(path string, value any)
	descend = func(path string, value any) {
		below, ok := value.(map[string]any)
		if !ok || len(below) == 0 {
			found[strings.TrimPrefix(path, ".")] = value
			return
		}
		for name, each := range below {
			descend(path+"."+name, each)
		}
	}
	descend("", values)
	return found
}

// setting is YAML that sets the value at a path.
func setting(path, value string) string {
	names := strings.Split(path, ".")
	return strings.Join(names, ": {") + ": " + value + strings.Repeat("}", len(names)-1)
}

// changed is a text that no default has.
const changed = "another-text"

// others are values that differ from the default, where that does not follow from the default.
var others = map[string]string{
	"fullnameOverride":                  "other",
	"extraObjects":                      "[{kind: ConfigMap}]",
	"image.digest":                      "sha256:" + strings.Repeat("0", 64),
	"image.pullPolicy":                  "Always",
	"tenancy":                           "namespaces",
	"maxStoredBytes":                    "1Gi",
	"namespaces":                        "[team-a]",
	"operator.extraArgs":                "[--zap-devel]",
	"apiserver.extraArgs":               "[--zap-devel]",
	"securityContext.capabilities.drop": "[NET_RAW]",
	"metrics.serviceMonitor.interval":   "30s",
}

// contexts are what else has to be set for a value to make a difference.
var contexts = map[string]string{
	"metrics.serviceMonitor.labels":              "metrics: {serviceMonitor: {enabled: true}}",
	"metrics.serviceMonitor.interval":            "metrics: {serviceMonitor: {enabled: true}}",
	"metrics.prometheusRule.labels":              "metrics: {prometheusRule: {enabled: true}}",
	"metrics.dashboard.labels.grafana_dashboard": "metrics: {dashboard: {enabled: true}}",
}

// other is YAML of a value that differs from a default.
func other(t *testing.T, path string, value any) string {
	t.Helper()
	if chosen, ok := others[path]; ok {
		return chosen
	}
	switch value := value.(type) {
	case bool:
		return fmt.Sprint(!value)
	case float64:
		return fmt.Sprint(int(value) + 1)
	case string:
		return changed
	case []any:
		return "[{name: " + changed + "}]"
	case map[string]any:
		return "{a: " + changed + "}"
	}
	t.Fatalf("%s is a %T", path, value)
	return ""
}

func TestEveryValueMakesADifference(t *testing.T) {
	for path, value := range leaves(t) {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			before, err := helmTemplate(release, system, contexts[path])
			if err != nil {
				t.Fatal(err)
			}
			// The later document of the two wins.
			set := setting(path, other(t, path, value))
			after, err := tool(set, "helm", "template", release, "charts/queuebinding", "--namespace="+system,
				"--values="+valuesFile(t, contexts[path]), "--values=-")
			if err != nil {
				t.Fatal(err)
			}
			if after == before {
				t.Error("no template uses it")
			}
			if strings.Contains(set, changed) && !strings.Contains(after, changed) {
				t.Error("what it is set to is lost")
			}
		})
	}
}

func valuesFile(t *testing.T, values string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// free are what Kubernetes, not the chart, knows the fields of.
var free = []string{"metrics.dashboard.labels", "podSecurityContext", "securityContext",
	"operator.resources.requests", "operator.resources.limits", "apiserver.resources.requests", "apiserver.resources.limits"}

// isFree reports whether a path leads into what may have any fields.
func isFree(path string) bool {
	return slices.ContainsFunc(free, func(prefix string) bool { return strings.HasPrefix(path, prefix+".") })
}

func TestATypoIsNamed(t *testing.T) {
	paths := slices.Sorted(maps.Keys(leaves(t)))
	for _, path := range paths {
		// And of each path the parts.
		for i := range strings.Count(path, ".") {
			paths = append(paths, strings.Join(strings.Split(path, ".")[:i+1], "."))
		}
	}
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		if isFree(path) {
			continue
		}
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			expectRefused(t, setting(path+"s", "null"), path[strings.LastIndex(path, ".")+1:]+"s")
		})
	}
}

// expectRefused renders with values that are to be refused, in words that say where.
func expectRefused(t *testing.T, values, want string) {
	t.Helper()
	_, err := helmTemplate(release, system, values)
	if err == nil {
		t.Fatalf("%s was taken", values)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%s was refused, and the error does not say %q:\n%s", values, want, err)
	}
}

func TestAWrongValueIsNamed(t *testing.T) {
	for values, want := range map[string]string{
		`tenancy: off`:                                 "tenancy", // a boolean in YAML
		`tenancy: namespace`:                           "tenancy",
		`image: {pullPolicy: Sometimes}`:               "pullPolicy",
		`image: {repository: ""}`:                      "repository",
		`image: {digest: latest}`:                      "digest",
		`operator: {replicas: "2"}`:                    "replicas",
		`operator: {resources: {limit: {}}}`:           "limit",
		`operator: {extraArgs: --zap-devel}`:           "extraArgs",
		`operator: {podLabels: {a: 1}}`:                "podLabels",
		`apiserver: {replicas: 0}`:                     "replicas", // would hold up the deletion of namespaces
		`crds: true`:                                   "crds",
		`namespaces: team-a`:                           "namespaces",
		`namespaces: [team-a, team-a]`:                 "namespaces",
		`maxStoredBytes: lots`:                         "maxStoredBytes",
		`fullnameOverride: Upper`:                      "fullnameOverride",
		`fullnameOverride: ` + strings.Repeat("a", 29): "fullnameOverride",
		`metrics: {serviceMonitor: {interval: 30}}`:    "interval",
		`networkPolicies: {metricsFrom: [anybody]}`:    "metricsFrom",
	} {
		t.Run(values, func(t *testing.T) {
			t.Parallel()
			expectRefused(t, values, want)
		})
	}
}
