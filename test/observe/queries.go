package observe

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Query is one of a panel.
type Query struct{ Panel, Expr string }

// DashboardQueries are those of every panel and variable of the dashboard, with its variables filled in: all namespaces, and one
// binding.
func DashboardQueries(root, binding string) ([]Query, error) {
	data, err := os.ReadFile(filepath.Join(root, "config", "grafana", "dashboard.json"))
	if err != nil {
		return nil, fmt.Errorf("reading the dashboard: %w", err)
	}
	var board struct {
		Panels []struct {
			Type, Title string
			Targets     []struct{ Expr string }
		}
		Annotations struct{ List []struct{ Name, Expr string } }
		Templating  struct {
			List []struct {
				Name  string
				Type  string
				Query any
			}
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		return nil, fmt.Errorf("reading the dashboard: %w", err)
	}
	fill := strings.NewReplacer("$__rate_interval", "10s", "$namespace", ".*", "$name", binding)
	var queries []Query
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			queries = append(queries, Query{panel.Title, fill.Replace(target.Expr)})
		}
	}
	for _, annotation := range board.Annotations.List {
		if annotation.Expr != "" {
			queries = append(queries, Query{annotation.Name, fill.Replace(annotation.Expr)})
		}
	}
	for _, variable := range board.Templating.List {
		if text, ok := variable.Query.(string); ok && variable.Type == "query" {
			series, _, found := strings.Cut(strings.TrimPrefix(text, "label_values("), ", n")
			if !found {
				return nil, fmt.Errorf("variable %s: %q is not of label_values", variable.Name, text)
			}
			queries = append(queries, Query{"$" + variable.Name, fill.Replace(series)})
		}
	}
	return queries, nil
}

// none says why a query has no result now, or nothing if it has one.
func (s *Stage) none(ctx context.Context, expr string) string {
	value, _, err := s.Prometheus.Query(ctx, expr, time.Now())
	if err != nil {
		return err.Error()
	}
	if vector, ok := value.(model.Vector); !ok || len(vector) == 0 {
		return "there is no result of " + expr
	}
	return ""
}

// EverHad reports whether a query had a result at any time since the stage began.
func (s *Stage) EverHad(ctx context.Context, expr string) (bool, error) {
	value, _, err := s.Prometheus.QueryRange(ctx, expr, prometheus.Range{Start: s.Began, End: time.Now(), Step: time.Second})
	if err != nil {
		return false, fmt.Errorf("%s: %w", expr, err)
	}
	matrix, ok := value.(model.Matrix)
	return ok && len(matrix) > 0, nil
}

// Selectors are what an expression reads, as Prometheus parses it.
func (s *Stage) Selectors(ctx context.Context, expr string) ([]string, error) {
	address := s.PrometheusURL() + "/api/v1/parse_query?query=" + url.QueryEscape(expr)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("parsing an expression: %w", err)
	}
	defer response.Body.Close()
	var parsed struct {
		Error string
		Data  any
	}
	if err := json.NewDecoder(response.Body).Decode(&parsed); err != nil || parsed.Error != "" {
		return nil, fmt.Errorf("%s: %s %w", expr, parsed.Error, err)
	}
	return selectors(parsed.Data), nil
}

// selectors are those below a node of a parsed expression.
func selectors(node any) []string {
	var found []string
	switch node := node.(type) {
	case []any:
		for _, each := range node {
			found = append(found, selectors(each)...)
		}
	case map[string]any:
		if kind, _ := node["type"].(string); kind == "vectorSelector" || kind == "matrixSelector" {
			return []string{selector(node)}
		}
		for _, each := range node {
			found = append(found, selectors(each)...)
		}
	}
	return found
}

func selector(node map[string]any) string {
	var matchers []string
	list, _ := node["matchers"].([]any)
	for _, each := range list {
		matcher, _ := each.(map[string]any)
		matchers = append(matchers, fmt.Sprintf("%s%s%q", matcher["name"], matcher["type"], matcher["value"]))
	}
	return "{" + strings.Join(matchers, ",") + "}"
}
