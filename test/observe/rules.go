// Package observe lets a real Prometheus and a real Alertmanager look at the built operator while it works and while things are
// broken around it, and tells which alerts fire and end. It reads the rules and the dashboard as users install them.
package observe

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/prometheus/common/model"
	"sigs.k8s.io/yaml"
)

// Rules is what config/prometheus/rules.yaml has the Prometheus Operator give to Prometheus.
type Rules struct {
	Groups []Group `json:"groups"`
}

// Group is evaluated in order.
type Group struct {
	Name  string `json:"name"`
	Rules []Rule `json:"rules"`
}

// Rule is an alert, or a recording rule.
type Rule struct {
	Record        string            `json:"record,omitempty"`
	Alert         string            `json:"alert,omitempty"`
	Expr          string            `json:"expr"`
	For           model.Duration    `json:"for,omitempty"`
	KeepFiringFor model.Duration    `json:"keep_firing_for,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// LoadRules reads the rules of the repository at root. A field that is not known is an error.
func LoadRules(root string) (*Rules, error) {
	data, err := os.ReadFile(filepath.Join(root, "config", "prometheus", "rules.yaml"))
	if err != nil {
		return nil, fmt.Errorf("reading the rules: %w", err)
	}
	var resource struct {
		APIVersion string         `json:"apiVersion"`
		Kind       string         `json:"kind"`
		Metadata   map[string]any `json:"metadata"`
		Spec       Rules          `json:"spec"`
	}
	if err := yaml.UnmarshalStrict(data, &resource); err != nil {
		return nil, fmt.Errorf("reading the rules: %w", err)
	}
	return &resource.Spec, nil
}

// Alerts are those of all groups.
func (r *Rules) Alerts() []Rule {
	var alerts []Rule
	for _, group := range r.Groups {
		for _, rule := range group.Rules {
			if rule.Alert != "" {
				alerts = append(alerts, rule)
			}
		}
	}
	return alerts
}

// windows are durations in an expression: of ranges, and of offsets.
var windows = regexp.MustCompile(`(\[|\boffset )(\d+[smhd])\b`)

// Hurry divides every duration in the rules, and changes nothing else.
func (r *Rules) Hurry(factor int) {
	for _, group := range r.Groups {
		for i := range group.Rules {
			rule := &group.Rules[i]
			rule.For /= model.Duration(factor)
			rule.KeepFiringFor /= model.Duration(factor)
			rule.Expr = windows.ReplaceAllStringFunc(rule.Expr, func(text string) string {
				parts := windows.FindStringSubmatch(text)
				window, err := model.ParseDuration(parts[2])
				if err != nil {
					return text // as Prometheus will say, too
				}
				return parts[1] + (window / model.Duration(factor)).String()
			})
		}
	}
}

// Write writes the rules as Prometheus reads them.
func (r *Rules) Write(path string) error {
	data, err := yaml.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing the rules: %w", err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("writing the rules: %w", err)
	}
	return nil
}
