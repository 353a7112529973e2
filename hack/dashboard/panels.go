package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	sdk "github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// Units, as Grafana calls them.
const (
	count   = "short"
	seconds = "s"
	perSec  = "ops"
	percent = "percentunit"
	bytes   = "bytes"
)

// limitNames are the lines that are limits and no measurements.
const limitNames = "max.*Jobs|pauses at|visibility timeout"

func rows() []row {
	return []row{
		{"All bindings", append(overviewStats(), overviewTable(), // a line of each
			lines("Messages that wait", count, 12, query{"{{namespace}}/{{name}}", `max by (namespace, name) (queuebinding_queue_messages{` + ofAll + `, state="visible"})`}),
			lines("Active Jobs", count, 12, query{"{{namespace}}/{{name}}", `max by (namespace, name) (queuebinding_jobs{` + ofAll + `, state="active"})`}),
			lines("Jobs created", perSec, 12, query{"{{namespace}}/{{name}}", `sum by (namespace, name) (rate(queuebinding_jobs_created_total{` + ofAll + `}[$__rate_interval]))`}),
			lines("Jobs that failed, of those that finished", percent, 12, query{"{{namespace}}/{{name}}", `namespace_name:queuebinding_jobs_failed:ratio_increase30m{` + ofAll + `}`}),
		)},
		{"$name", bindingPanels()},
		{"The operator", operatorPanels()},
	}
}

func overviewStats() []cog.Builder[sdk.Panel] {
	return []cog.Builder[sdk.Panel]{
		number("Bindings", blue(), `count(max by (namespace, name) (queuebinding_ready{`+ofAll+`}))`),
		number("Not ready", alarm(1), `count(max by (namespace, name) (queuebinding_ready{`+ofAll+`}) == 0) or vector(0)`),
		number("Alerts", alarm(1), `count(ALERTS{alertname=~"QueueBinding.*", alertstate="firing", namespace=~"|$namespace"}) or vector(0)`),
		number("Messages that wait", blue(), `sum(max by (namespace, name) (queuebinding_queue_messages{`+ofAll+`, state="visible"}))`),
		number("Active Jobs", blue(), `sum(max by (namespace, name) (queuebinding_jobs{`+ofAll+`, state="active"}))`),
		number("Failed Jobs kept", alarm(1), `sum(max by (namespace, name) (queuebinding_jobs{`+ofAll+`, state="failed"}))`),
	}
}

// overviewTable has a line for each binding.
func overviewTable() cog.Builder[sdk.Panel] {
	columns := []query{
		{"Ready", `max by (namespace, name, reason) (queuebinding_ready{` + ofAll + `})`},
		{"Waiting", `max by (namespace, name) (queuebinding_queue_messages{` + ofAll + `, state="visible"})`},
		{"Active", `max by (namespace, name) (queuebinding_jobs{` + ofAll + `, state="active"})`},
		{"Max active", `max by (namespace, name) (queuebinding_max_active_jobs{` + ofAll + `})`},
		{"Pending", `max by (namespace, name) (queuebinding_pending_jobs{` + ofAll + `})`},
		{"Failed", `max by (namespace, name) (queuebinding_jobs{` + ofAll + `, state="failed"})`},
		{"Dead letters", `max by (namespace, name) (queuebinding_dead_letter_messages{` + ofAll + `})`},
		{"Oldest message", `max by (namespace, name) (queuebinding_oldest_message_age_seconds{` + ofAll + `})`},
	}
	// Grafana names a column after the query that it is of.
	names := map[string]string{"namespace": "Namespace", "name": "Binding", "reason": "Reason"}
	panel := table.NewPanelBuilder().Title("Each binding").Datasource(source()).Span(24).Height(8)
	for i, column := range columns {
		panel.WithTarget(column.now(ref(i)))
		names["Value #"+ref(i)] = column.legend
	}
	return panel.
		WithTransformation(sdk.DataTransformerConfig{Id: "merge", Options: map[string]any{}}).
		WithTransformation(sdk.DataTransformerConfig{Id: "organize", Options: map[string]any{
			"excludeByName": map[string]bool{"Time": true},
			"renameByName":  names,
		}}).
		OverrideByName("Oldest message", []sdk.DynamicConfigValue{{Id: "unit", Value: seconds}}).
		OverrideByName("Ready", []sdk.DynamicConfigValue{
			{Id: "mappings", Value: []map[string]any{{"type": "value", "options": map[string]any{
				"0": map[string]string{"text": "False", "color": "red"}, "1": map[string]string{"text": "True", "color": "green"},
			}}}},
			{Id: "custom.cellOptions", Value: map[string]string{"type": "color-text"}},
		})
}

func bindingPanels() []cog.Builder[sdk.Panel] {
	return []cog.Builder[sdk.Panel]{
		lines("Messages on the queue", count, 8,
			query{"{{state}}", `max by (state) (queuebinding_queue_messages{` + ofOne + `})`},
			query{"dead letters", `max(queuebinding_dead_letter_messages{` + ofOne + `})`}),
		lines("Jobs and their limits", count, 8,
			query{"active", `max(queuebinding_jobs{` + ofOne + `, state="active"})`},
			query{"pending", `max(queuebinding_pending_jobs{` + ofOne + `})`},
			query{"slots reserved", `max(queuebinding_reserved_slots{` + ofOne + `})`},
			query{"maxActiveJobs", `max(queuebinding_max_active_jobs{` + ofOne + `})`},
			query{"maxPendingJobs", `max(queuebinding_max_pending_jobs{` + ofOne + `})`}),
		lines("Failed Jobs", count, 8,
			query{"kept", `max(queuebinding_jobs{` + ofOne + `, state="failed"})`},
			query{"requeued", `max(queuebinding_jobs{` + ofOne + `, state="requeued"})`},
			query{"pauses at", `max(queuebinding_max_failed_jobs{` + ofOne + `})`}),

		lines("Messages", perSec, 8,
			query{"received", `sum(rate(queuebinding_messages_received_total{` + ofOne + `}[$__rate_interval]))`},
			query{"acknowledged", `sum(rate(queuebinding_messages_acknowledged_total{` + ofOne + `}[$__rate_interval]))`},
			query{"rejected: {{reason}}", `sum by (reason) (rate(queuebinding_messages_rejected_total{` + ofOne + `}[$__rate_interval]))`},
			query{"given back: {{reason}}", `sum by (reason) (rate(queuebinding_messages_given_back_total{` + ofOne + `}[$__rate_interval]))`}),
		lines("Jobs", perSec, 8,
			query{"created", `sum(rate(queuebinding_jobs_created_total{` + ofOne + `}[$__rate_interval]))`},
			query{"{{outcome}}", `sum by (outcome) (rate(queuebinding_job_duration_seconds_count{` + ofOne + `}[$__rate_interval]))`},
			query{"requeued", `sum(rate(queuebinding_jobs_requeued_total{` + ofOne + `}[$__rate_interval]))`}),
		lines("Errors", perSec, 8,
			query{"{{operation}}: {{reason}}", `sum by (operation, reason) (rate(queuebinding_queue_errors_total{` + ofOne + `}[$__rate_interval]))`},
			query{"create: {{reason}}", `sum by (reason) (rate(queuebinding_job_create_errors_total{` + ofOne + `}[$__rate_interval]))`}),

		lines("From sent to Job", seconds, 8, quantiles("", "queuebinding_sent_to_job_seconds")...),
		lines("From received to Job", seconds, 8, quantiles("", "queuebinding_receive_to_job_seconds")...),
		lines("Age of messages", seconds, 8, append(quantiles("at receive, ", "queuebinding_message_age_seconds"),
			query{"oldest", `max(queuebinding_oldest_message_age_seconds{` + ofOne + `})`})...),

		lines("Duration of Jobs", seconds, 8, quantilesByOutcome("queuebinding_job_duration_seconds")...),
		lines("From sent to finished", seconds, 8, quantilesByOutcome("queuebinding_sent_to_finished_seconds")...),
		lines("Heartbeats", seconds, 8,
			query{"overdue by", `max(queuebinding_visibility_extension_lag_seconds{` + ofOne + `})`},
			query{"visibility timeout", `max(queuebinding_visibility_timeout_seconds{` + ofOne + `})`},
			query{"since SQS last answered a receive", `time() - max(queuebinding_last_receive_timestamp_seconds{` + ofOne + `})`}),
	}
}

func operatorPanels() []cog.Builder[sdk.Panel] {
	const here = ` and on (job, instance) queuebinding_leader`
	return []cog.Builder[sdk.Panel]{
		lines("Leader", count, 6, query{"{{instance}}", `queuebinding_leader`}),
		lines("Memory", bytes, 6, query{"{{instance}}", `process_resident_memory_bytes` + here}),
		lines("CPU", count, 6, query{"{{instance}}", `rate(process_cpu_seconds_total[$__rate_interval])` + here}),
		lines("Reconciles", perSec, 6, query{"{{result}}", `sum by (result) (rate(controller_runtime_reconcile_total{controller="queuebinding"}[$__rate_interval]))`}),
	}
}

// quantiles are median and 95th percentile of a histogram of one binding.
func quantiles(prefix, histogram string) []query {
	buckets := `sum by (le) (rate(` + histogram + `_bucket{` + ofOne + `}[$__rate_interval])))`
	return []query{
		{prefix + "median", `histogram_quantile(0.5, ` + buckets},
		{prefix + "p95", `histogram_quantile(0.95, ` + buckets},
	}
}

func quantilesByOutcome(histogram string) []query {
	buckets := `sum by (le, outcome) (rate(` + histogram + `_bucket{` + ofOne + `}[$__rate_interval])))`
	return []query{
		{"{{outcome}}, median", `histogram_quantile(0.5, ` + buckets},
		{"{{outcome}}, p95", `histogram_quantile(0.95, ` + buckets},
	}
}

// lines is a panel over time, width columns of 24 wide.
func lines(title, unit string, width uint32, queries ...query) cog.Builder[sdk.Panel] {
	panel := timeseries.NewPanelBuilder().Title(title).Unit(unit).Datasource(source()).Span(width).Height(7).
		Min(0).LineWidth(1).FillOpacity(8).ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().
			DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom).ShowLegend(true)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	for i, q := range queries {
		panel.WithTarget(q.over(ref(i)))
	}
	return panel.OverrideByRegexp(limitNames, []sdk.DynamicConfigValue{
		{Id: "custom.lineStyle", Value: map[string]any{"fill": "dash", "dash": []int{6, 6}}},
		{Id: "custom.fillOpacity", Value: 0},
	})
}

// number is a panel with the last value of one query.
func number(title string, thresholds []sdk.Threshold, expr string) cog.Builder[sdk.Panel] {
	return stat.NewPanelBuilder().Title(title).Unit(count).Datasource(source()).Span(4).Height(4).
		ColorMode(common.BigValueColorModeValue).GraphMode(common.BigValueGraphModeArea).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		Thresholds(sdk.NewThresholdsConfigBuilder().Mode(sdk.ThresholdsModeAbsolute).Steps(thresholds)).
		WithTarget(query{"", expr}.over("A"))
}

func blue() []sdk.Threshold { return []sdk.Threshold{{Color: "blue"}} }

// alarm is green below a value and red from there.
func alarm(from float64) []sdk.Threshold {
	return []sdk.Threshold{{Color: "green"}, {Color: "red", Value: &from}}
}
