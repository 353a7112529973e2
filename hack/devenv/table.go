package devenv

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// WriteTable prints a report for people.
func (r Report) WriteTable(out io.Writer, dir string) error {
	fmt.Fprintf(out, "The environment in %s is %s.\n", dir, r.Condition)
	if r.Condition == Down {
		return nil
	}
	switch r.State.Node {
	case Real:
		fmt.Fprintln(out, "Pods run in real containers.")
	case Simulated:
		fmt.Fprintln(out, "Pods are simulated.")
	}
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "PART\tPID\tSTATE\tADDRESS")
	supervisor := PartRunning
	if !r.State.Supervisor.Alive() {
		supervisor = PartExited
	}
	fmt.Fprintf(table, "supervisor\t%d\t%s\t\n", r.State.Supervisor.PID, supervisor)
	for _, part := range r.State.Parts {
		status := string(part.Status)
		if part.Detail != "" {
			status += " (" + part.Detail + ")"
		}
		pid := strconv.Itoa(part.Process.PID)
		if part.Status == PartExited || part.Status == PartStopped {
			pid = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", part.Name, pid, status, part.Address)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the table: %w", err)
	}
	return nil
}
