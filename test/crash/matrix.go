package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/queuebinding/queuebinding/test/recorder"
	"github.com/queuebinding/queuebinding/test/rig"
)

// Matrix plays scenarios.
type Matrix struct {
	Cluster  *rig.Cluster
	Recorder *recorder.Recorder
	// Edits are of the operator's sources, in every scenario.
	Edits []rig.Edit
	// Parallel is how many cases are played side by side. Each has a namespace, a queue and an operator of its own.
	Parallel int
	// Survive cuts connections without killing the operator.
	Survive bool
	// Every leaves out steps: 3 breaks every third one.
	Every int
	// Timeout is how long a case may take to settle; a minute if it is 0.
	Timeout time.Duration
	// First ends a scenario at its first violation.
	First bool
	// Log is told what goes on.
	Log io.Writer

	serial atomic.Int64
	// programs are the operators that are built, by their edits.
	programs map[string]string
}

// Row is what came of a scenario.
type Row struct {
	Scenario string
	// Steps is how many requests counted when nothing was broken; Cuts how many of them were cut, each side for itself.
	// Which requests there are differs a little from play to play, so that a last one may not come.
	Steps, Cuts int
	Violations  []string
	// Cut are the numbers of cuts by the request's name.
	Cut  map[string]int
	Took time.Duration
}

// errEnough ends a scenario at its first violation.
var errEnough = errors.New("there is a violation")

// Play plays a scenario: once unbroken, then broken at each step, on each side.
func (m *Matrix) Play(ctx context.Context, scenario *Scenario) (Row, error) {
	row := Row{Scenario: scenario.Name, Cut: map[string]int{}}
	program, err := m.build(scenario)
	if err != nil {
		return row, err
	}
	began := time.Now()
	dry, err := m.play(ctx, scenario, program, 0, Fault{})
	if err != nil {
		return row, fmt.Errorf("%s, unbroken: %w", scenario.Name, err)
	}
	if m.Survive {
		row.Scenario += ", operator survives"
	}
	row.Steps = len(dry.steps)
	row.add(dry)
	fmt.Fprintf(m.Log, "%s: %d steps: %s\n", scenario.Name, row.Steps, strings.Join(dry.steps, ", "))

	if m.First && len(row.Violations) > 0 {
		return row, nil
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	parallel := m.Parallel
	if scenario.Slow {
		parallel *= 3 // they mostly wait
	}
	group.SetLimit(parallel)
	for at := 1; at <= row.Steps; at += max(m.Every, 1) {
		for _, fault := range []Fault{{Survive: m.Survive}, {After: true, Survive: m.Survive}} {
			if ctx.Err() != nil {
				break
			}
			group.Go(func() error {
				if ctx.Err() != nil {
					return nil
				}
				played, err := m.play(ctx, scenario, program, at, fault)
				if err != nil {
					return fmt.Errorf("%s, %s step %d: %w", scenario.Name, fault, at, err)
				}
				mu.Lock()
				defer mu.Unlock()
				row.add(played)
				if m.First && len(row.Violations) > 0 {
					return errEnough
				}
				return nil
			})
		}
	}
	err = group.Wait()
	if m.First && len(row.Violations) > 0 {
		err = nil // cases that were broken off for it tell nothing
	}
	row.Took = time.Since(began)
	return row, err
}

// build builds the operator that a scenario is played with, unless it was built for another.
func (m *Matrix) build(scenario *Scenario) (program string, err error) {
	edits := slices.Concat(m.Edits, scenario.Edits)
	key := fmt.Sprint(edits)
	if program, ok := m.programs[key]; ok {
		return program, nil
	}
	program, err = m.Cluster.Build(fmt.Sprintf("manager-%d", m.serial.Add(1)), edits...)
	if err != nil {
		return "", err
	}
	if m.programs == nil {
		m.programs = map[string]string{}
	}
	m.programs[key] = program
	return program, nil
}

func (r *Row) add(played outcome) {
	if played.cut != "" {
		r.Cuts++
		r.Cut[played.cut]++
	}
	for _, violation := range played.violations {
		where := "unbroken"
		if played.at > 0 {
			where = fmt.Sprintf("%s step %d (%s)", played.fault, played.at, played.cut)
		}
		r.Violations = append(r.Violations, fmt.Sprintf("%s, %s: %s\n    operator's log: %s", r.Scenario, where, violation, played.log))
	}
}

// Print writes a table of scenarios, what was cut, and the violations.
func Print(w io.Writer, rows []Row) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SCENARIO\tSTEPS\tCUTS\tVIOLATIONS\tTIME")
	cut := map[string]int{}
	for _, row := range rows {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\n", row.Scenario, row.Steps, row.Cuts, len(row.Violations), row.Took.Round(time.Second))
		for name, n := range row.Cut {
			cut[name] += n
		}
	}
	table.Flush()
	var words []string
	for _, name := range slices.Sorted(maps.Keys(cut)) {
		words = append(words, fmt.Sprintf("%s %d", name, cut[name]))
	}
	fmt.Fprintf(w, "Broken at: %s\n", strings.Join(words, ", "))
	for _, row := range rows {
		for _, violation := range row.Violations {
			fmt.Fprintln(w, violation)
		}
	}
}
