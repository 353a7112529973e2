package crash_test

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/queuebinding/queuebinding/test/crash"
	"github.com/queuebinding/queuebinding/test/recorder"
	"github.com/queuebinding/queuebinding/test/rig"
)

// matrix makes a matrix on a cluster of its own, which ends with the test.
func matrix(t *testing.T) *crash.Matrix {
	t.Helper()
	ctx := t.Context()
	cluster, err := rig.StartCluster(ctx, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.End(t.Failed()); err != nil {
			t.Error(err)
		}
	})
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	recorded, err := recorder.Start(watching, cluster.Client)
	t.Cleanup(func() {
		stop()
		if recorded != nil {
			recorded.Wait()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return &crash.Matrix{Cluster: cluster, Recorder: recorded, Parallel: 6, Log: io.Discard}
}

// P1, P2, P3: wherever the operator is killed, or only not answered, nothing is lost, nothing doubled, no limit passed. `make crash` breaks
// every step; this one every ninth, and less of slow scenarios, as CI has an hour.
func TestNothingIsLostOrDoubledByCrashes(t *testing.T) {
	m := matrix(t)
	var rows []crash.Row
	violations := 0
	for _, m.Survive = range []bool{false, true} {
		for _, scenario := range crash.Scenarios {
			if m.Every = 9; scenario.Slow {
				m.Every = 20
			}
			if scenario.Slow && m.Survive {
				continue
			}
			row, err := m.Play(t.Context(), scenario)
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, row)
			violations += len(row.Violations)
		}
	}
	var table bytes.Buffer
	crash.Print(&table, rows)
	t.Logf("\n%s", table.String())
	if violations > 0 {
		t.Errorf("%d violations, want none", violations)
	}
}

// The matrix is worth something only if it finds an operator that breaks its promises.
func TestSabotageIsFound(t *testing.T) {
	m := matrix(t)
	m.First = true
	m.Timeout = 15 * time.Second // some of these never settle
	for _, sabotage := range crash.Sabotages {
		t.Run(sabotage.Name, func(t *testing.T) {
			m.Edits = sabotage.Edits
			for _, scenario := range crash.Scenarios {
				if scenario.Name != sabotage.Scenario {
					continue
				}
				row, err := m.Play(t.Context(), scenario)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.ContainsFunc(row.Violations, func(v string) bool { return strings.Contains(v, sabotage.Finds) }) {
					t.Fatalf("%d cuts of %q found no %s%q", row.Cuts, scenario.Name, sabotage.Finds, row.Violations)
				}
				t.Log(strings.Join(row.Violations, "\n"))
				return
			}
			t.Fatalf("there is no scenario %q", sabotage.Scenario)
		})
	}
}
