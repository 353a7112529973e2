package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	sdk "github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// Selectors of series: of all bindings that the variable lets through, and of the one that is looked at.
const (
	ofAll = `namespace=~"$namespace"`
	ofOne = `namespace=~"$namespace", name="$name"`
)

// board is a dashboard in the schema that every Grafana reads.
type board = sdk.Dashboard //nolint:staticcheck // the successor is for later Grafanas only

// build makes the whole dashboard.
func build() (board, error) {
	//nolint:staticcheck // as board is
	made := sdk.NewDashboardBuilder("QueueBinding").
		Uid("queuebinding").
		Description("What QueueBindings do: all of them, one in detail, and the operator.").
		Tags([]string{"queuebinding", "kubernetes", "sqs"}).
		Time("now-6h", "now").
		Refresh("30s").
		Tooltip(sdk.DashboardCursorSyncCrosshair).
		WithVariable(sdk.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus")).
		WithVariable(variable("namespace", "Namespace", `label_values(queuebinding_max_active_jobs, namespace)`).
			Multi(true).IncludeAll(true).AllValue(".*").
			Current(sdk.VariableOption{
				Text:  sdk.StringOrArrayOfString{ArrayOfString: []string{"All"}},
				Value: sdk.StringOrArrayOfString{ArrayOfString: []string{"$__all"}},
			})).
		WithVariable(variable("name", "Binding", `label_values(queuebinding_max_active_jobs{`+ofAll+`}, name)`)).
		Annotation(sdk.NewAnnotationQueryBuilder().
			Name("Alerts").Datasource(source()).Enable(true).IconColor("red").
			Expr(`ALERTS{alertname=~"QueueBinding.*", alertstate="firing", name=~"|$name"}`).
			TitleFormat("{{alertname}}").TextFormat("{{namespace}}/{{name}}"))
	for _, row := range rows() {
		made.WithRow(sdk.NewRowBuilder(row.title))
		for _, panel := range row.panels {
			made.WithPanel(panel)
		}
	}
	return made.Build()
}

// row is a heading and the panels below it.
type row struct {
	title  string
	panels []cog.Builder[sdk.Panel]
}

func source() common.DataSourceRef {
	return common.DataSourceRef{Type: new("prometheus"), Uid: new("${datasource}")}
}

func variable(name, label, query string) *sdk.QueryVariableBuilder {
	return sdk.NewQueryVariableBuilder(name).Label(label).Datasource(source()).
		Query(sdk.StringOrMap{String: new(query)}).
		Refresh(sdk.VariableRefreshOnTimeRangeChanged).
		Sort(sdk.VariableSortAlphabeticalAsc)
}

// query is what one or more lines, or one column, are drawn from.
type query struct{ legend, expr string }

// over asks for a range of time.
func (q query) over(ref string) cog.Builder[variants.Dataquery] {
	return prometheus.NewDataqueryBuilder().Expr(q.expr).LegendFormat(q.legend).RefId(ref).Range()
}

// now asks for the last value, as a table.
func (q query) now(ref string) cog.Builder[variants.Dataquery] {
	return prometheus.NewDataqueryBuilder().Expr(q.expr).LegendFormat(q.legend).RefId(ref).Instant().Format(prometheus.PromQueryFormatTable)
}

// ref names the i-th query of a panel, as Grafana does.
func ref(i int) string { return string(rune('A' + i)) }
