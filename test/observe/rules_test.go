package observe

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/queuebinding/queuebinding/test/testenv"
)

func repository(t *testing.T) (root string, rules *Rules) {
	t.Helper()
	root, err := testenv.Root()
	if err != nil {
		t.Fatal(err)
	}
	rules, err = LoadRules(root)
	if err != nil {
		t.Fatal(err)
	}
	return root, rules
}

// cases are those of one file of rules/, as promtool reads them.
type cases struct {
	Tests []struct {
		Name       string `json:"name"`
		AlertTests []struct {
			Alert  string `json:"alertname"`
			Alerts []any  `json:"exp_alerts"`
		} `json:"alert_rule_test"`
	} `json:"tests"`
}

// Each alert fires for what it is for, and is silent for what is near.
func TestAlertsFireAndAreSilent(t *testing.T) {
	_, rules := repository(t)
	promtool, err := testenv.Program(testenv.Prometheus, "promtool")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	all := filepath.Join(dir, "all.yaml")
	if err := rules.Write(all); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.Command(promtool, "check", "rules", "--lint=all", "--lint-fatal", all).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	// promtool compares every annotation; what an alert is called is enough.
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			for name := range rule.Annotations {
				if name != "summary" {
					delete(rule.Annotations, name)
				}
			}
		}
	}
	if err := rules.Write(filepath.Join(dir, "rules.yaml")); err != nil {
		t.Fatal(err)
	}
	for _, alert := range rules.Alerts() {
		t.Run(alert.Alert, func(t *testing.T) {
			name := kebab(alert.Alert) + ".yaml"
			data, err := os.ReadFile(filepath.Join("rules", name))
			if err != nil {
				t.Fatal(err)
			}
			checkCases(t, alert.Alert, data)
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if output, err := exec.Command(promtool, "test", "rules", path).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}

// checkCases checks that there are cases of firing, and some in which the alert is silent from beginning to end.
func checkCases(t *testing.T, alert string, data []byte) {
	t.Helper()
	var all cases
	if err := yaml.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	fires, silent := false, false
	for _, test := range all.Tests {
		firesHere := false
		for _, at := range test.AlertTests {
			if at.Alert != alert {
				t.Errorf("%s: %s is tested elsewhere", test.Name, at.Alert)
			}
			firesHere = firesHere || len(at.Alerts) > 0
		}
		fires, silent = fires || firesHere, silent || !firesHere
	}
	if !fires || !silent {
		t.Errorf("cases of firing: %t, of silence: %t", fires, silent)
	}
}

// kebab is a name of an alert without its prefix as files are called.
func kebab(alert string) string {
	var name strings.Builder
	text := strings.TrimPrefix(alert, "QueueBinding")
	for i, r := range text {
		upper := r >= 'A' && r <= 'Z'
		// APIUnavailable is api-unavailable.
		next := i+1 < len(text) && text[i+1] >= 'a' && text[i+1] <= 'z'
		before := i > 0 && text[i-1] >= 'a' && text[i-1] <= 'z'
		if upper && i > 0 && (before || next) {
			name.WriteByte('-')
		}
		name.WriteString(strings.ToLower(string(r)))
	}
	return name.String()
}

// Whoever is woken finds a page that says what to do.
func TestEachAlertHasARunbook(t *testing.T) {
	root, rules := repository(t)
	const base = "https://github.com/queuebinding/queuebinding/blob/main/"
	var pages []string
	for _, alert := range rules.Alerts() {
		url := alert.Annotations["runbook_url"]
		want := base + "docs/runbooks/" + kebab(alert.Alert) + ".md"
		if url != want {
			t.Errorf("%s: the runbook is %q, not %s", alert.Alert, url, want)
			continue
		}
		if severity := alert.Labels["severity"]; severity != "critical" && severity != "warning" {
			t.Errorf("%s: severity %q", alert.Alert, severity)
		}
		pages = append(pages, filepath.Base(url))
		page, err := os.ReadFile(filepath.Join(root, strings.TrimPrefix(url, base)))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, part := range []string{"# " + alert.Alert + "\n", "\n## Meaning\n", "\n## Impact\n", "\n## Diagnosis\n", "\n## Mending\n", "    kubectl "} {
			if !strings.Contains(string(page), part) {
				t.Errorf("%s has no %q", url, part)
			}
		}
		list, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
		if err != nil || !strings.Contains(string(list), alert.Alert+"](runbooks/"+filepath.Base(url)+")") {
			t.Errorf("docs/operations.md does not list %s (%v)", alert.Alert, err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(root, "docs", "runbooks"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !slices.Contains(pages, entry.Name()) {
			t.Errorf("docs/runbooks/%s is of no alert", entry.Name())
		}
	}
}

func TestHurryDividesDurationsOnly(t *testing.T) {
	rules := Rules{Groups: []Group{{Rules: []Rule{{Expr: `rate(m_5m[30m]) > 300 and x offset 1h`}}}}}
	rules.Hurry(60)
	if got, want := rules.Groups[0].Rules[0].Expr, `rate(m_5m[30s]) > 300 and x offset 1m`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
