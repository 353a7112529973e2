package observe

import (
	"crypto/tls"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/queuebinding/queuebinding/test/testenv"
)

// notHere are selectors that no part of the stage has series for.
var notHere = []string{"kube_deployment_status_replicas_available"} // kube-state-metrics

// A real Prometheus scrapes the operator by its authenticated endpoint while things go wrong: each alert fires for what it is for,
// reaches a real Alertmanager and ends, no other fires, and every query of rules and dashboard has data.
func TestWhatGoesWrongIsSeen(t *testing.T) {
	ctx := t.Context()
	stage, err := Start(ctx, t.Output(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(stage.operator.LastLines(40))
		}
		if err := stage.End(t.Failed()); err != nil {
			t.Error(err)
		}
	})
	checkAuthentication(t, stage)
	if err := stage.Play(ctx); err != nil {
		t.Fatal(err)
	}
	fired := map[string]bool{}
	for _, firing := range stage.watch.all() {
		fired[firing.Alert] = true
	}
	for _, alert := range stage.Rules.Alerts() {
		if !fired[alert.Alert] {
			t.Errorf("%s is not played", alert.Alert)
		}
	}
	if unexpected := stage.Unexpected(); len(unexpected) > 0 {
		t.Errorf("alerts for nothing: %v", unexpected)
	}
	checkInputs(t, stage)
	checkDashboard(t, stage)
}

// Only who may read metrics can.
func checkAuthentication(t *testing.T, stage *Stage) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // it signs its own certificate
	defer transport.CloseIdleConnections()
	for name, token := range map[string]string{"nobody": "", "somebody": "a.made.up"} {
		if code, err := stage.ScrapeAs(t.Context(), &http.Client{Transport: transport}, token); err != nil || code != http.StatusUnauthorized {
			t.Errorf("%s scrapes: %d, %v", name, code, err)
		}
	}
}

// An alert whose input has another name can never fire.
func checkInputs(t *testing.T, stage *Stage) {
	t.Helper()
	for _, group := range stage.Rules.Groups {
		for _, rule := range group.Rules {
			selectors, err := stage.Selectors(t.Context(), rule.Expr)
			if err != nil || len(selectors) == 0 {
				t.Errorf("%s%s reads %v, %v", rule.Alert, rule.Record, selectors, err)
			}
			for _, selector := range selectors {
				if slices.ContainsFunc(notHere, func(name string) bool { return strings.Contains(selector, name) }) {
					continue
				}
				if had, err := stage.EverHad(t.Context(), selector); err != nil || !had {
					t.Errorf("%s%s reads %s, of which there is nothing (%v)", rule.Alert, rule.Record, selector, err)
				}
			}
		}
	}
}

func checkDashboard(t *testing.T, stage *Stage) {
	t.Helper()
	root, err := testenv.Root()
	if err != nil {
		t.Fatal(err)
	}
	queries, err := DashboardQueries(root, Pings)
	if err != nil || len(queries) < 20 {
		t.Fatalf("%d queries, %v", len(queries), err)
	}
	for _, query := range queries {
		// What goes wrong does so with other bindings.
		expr := strings.ReplaceAll(query.Expr, `name="`+Pings+`"`, `name=~".+"`)
		if had, err := stage.EverHad(t.Context(), expr); err != nil || !had {
			t.Errorf("%s: there is nothing of %s (%v)", query.Panel, expr, err)
		}
	}
}
