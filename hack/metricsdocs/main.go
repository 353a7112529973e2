// Command metricsdocs writes the operator's metrics, as the code has them, into one Markdown file: metricsdocs <file>.
package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/template"

	"github.com/queuebinding/queuebinding/internal/metrics"
)

// page is what no code tells, with the tables left out.
//
//go:embed page.md.tmpl
var page string

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "metricsdocs:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: metricsdocs <file>")
	}
	parsed, err := template.New("page").Funcs(template.FuncMap{"table": table, "series": series, "values": values}).Parse(page)
	if err != nil {
		return err
	}
	var written bytes.Buffer
	if err := parsed.Execute(&written, nil); err != nil {
		return err
	}
	return os.WriteFile(args[0], written.Bytes(), 0o644)
}

// table is the metrics of a type, a row each.
func table(kind metrics.Kind) string {
	var rows strings.Builder
	rows.WriteString("| name | more labels | unit | what a value is |\n|---|---|---|---|\n")
	for _, family := range metrics.Families() {
		if family.Kind != kind {
			continue
		}
		var labels []string
		for _, label := range family.Labels {
			labels = append(labels, "`"+label.Name+"`")
		}
		if family.PerOperator {
			labels = []string{"none of a binding"}
		}
		fmt.Fprintf(&rows, "| `%s` | %s | %s | %s |\n", family.Name, strings.Join(labels, ", "), family.Unit, family.Help)
	}
	return strings.TrimSuffix(rows.String(), "\n")
}

// values is the labels of all metrics with the values that they may have, and the classic buckets of histograms.
func values() string {
	var rows strings.Builder
	rows.WriteString("| name | label | values |\n|---|---|---|\n")
	for _, family := range metrics.Families() {
		for _, label := range family.Labels {
			fmt.Fprintf(&rows, "| `%s` | `%s` | `%s` |\n", family.Name, label.Name, strings.Join(label.Values, "`, `"))
		}
		if family.Kind == metrics.Histogram {
			bounds := make([]string, len(family.Buckets))
			for i, bound := range family.Buckets {
				bounds[i] = strconv.FormatFloat(bound, 'f', -1, 64)
			}
			fmt.Fprintf(&rows, "| `%s` | `le` | %s, `+Inf` |\n", family.Name, "`"+strings.Join(bounds, "`, `")+"`")
		}
	}
	return strings.TrimSuffix(rows.String(), "\n")
}

// series is how many series a binding has at most of the metrics of a type, or of all for an empty one.
func series(kind metrics.Kind) (most int) {
	for _, family := range metrics.Families() {
		if !family.PerOperator && (kind == "" || family.Kind == kind) {
			most += family.MaxSeries()
		}
	}
	return most
}
