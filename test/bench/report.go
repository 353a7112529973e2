package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
)

// goal is a bound on what is measured. The zero value bounds nothing: the number is told for what it is worth.
type goal struct {
	text string
	met  func(float64) bool
}

// nearBare is the design's goal for drains: nine tenths of the bare client's rate.
var nearBare = goal{"≥ 0.9", func(measured float64) bool { return measured >= 0.9 }}

func atMost(bound float64) goal {
	return goal{fmt.Sprintf("≤ %v", bound), func(measured float64) bool { return measured <= bound }}
}

// row is one number. Met is nil where there is no goal.
type row struct {
	Name     string  `json:"name"`
	Goal     string  `json:"goal"`
	Measured float64 `json:"measured"`
	Unit     string  `json:"unit"`
	Met      *bool   `json:"met"`

	// ratio is what it is of the bare client's number, where that has one.
	ratio *float64
}

// report is all that was measured, in its order.
type report struct{ rows []row }

func (r *report) add(name string, measured float64, unit string, goal goal) {
	added := row{Name: name, Goal: goal.text, Measured: measured, Unit: unit}
	if goal.met != nil {
		added.Met = new(goal.met(measured))
	}
	r.rows = append(r.rows, added)
}

// addRatio adds the operator's number, the bare client's, and with its goal what the one is of the other.
func (r *report) addRatio(name string, operator, bare float64, unit string, goal goal) {
	r.addTurns(name, operator, bare, operator/bare, unit, goal)
}

// addTurns is addRatio with the median of the ratios of each turn, whose two numbers are of the same minute.
func (r *report) addTurns(name string, operator, bare, ratio float64, unit string, goal goal) {
	r.rows = append(r.rows, row{Name: name, Measured: operator, Unit: unit, ratio: &ratio})
	r.add(name+", bare client", bare, unit, goalless)
	r.add(name+", ratio", ratio, "of bare", goal)
}

var goalless goal

func (r *report) missed() int {
	n := 0
	for _, row := range r.rows {
		if row.Met != nil && !*row.Met {
			n++
		}
	}
	return n
}

// print writes the table.
func (r *report) print(to io.Writer) {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "WHAT\tGOAL\tMEASURED\tUNIT\tRATIO\tMET")
	for _, row := range r.rows {
		ratio, met := "", ""
		if row.ratio != nil {
			ratio = fmt.Sprintf("%.2f", *row.ratio)
		}
		if row.Met != nil {
			met = map[bool]string{true: "yes", false: "NO"}[*row.Met]
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", row.Name, row.Goal, digits(row.Measured), row.Unit, ratio, met)
	}
	table.Flush()
}

// digits is a number with as many digits as it deserves.
func digits(n float64) string {
	switch {
	case n == float64(int(n)):
		return fmt.Sprintf("%.0f", n)
	case n >= 100:
		return fmt.Sprintf("%.0f", n)
	case n >= 10:
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.3f", n)
}

func (r *report) write(path string) error {
	data, err := json.MarshalIndent(r.rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
