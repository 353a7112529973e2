// Command dashboard makes the Grafana dashboard of QueueBindings, and pictures of it without Grafana. It is a module of its own, so
// that its libraries are not the operator's.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
)

func main() {
	write := flag.String("write", "", "Write the dashboard's JSON to this file.")
	var d drawing
	flag.StringVar(&d.out, "draw", "", "Draw the dashboard to this PNG file, with what a Prometheus has.")
	flag.StringVar(&d.prometheus, "prometheus", "", "URL of that Prometheus.")
	flag.StringVar(&d.namespace, "namespace", ".*", "Value of the variable namespace, a regular expression.")
	flag.StringVar(&d.name, "name", "", "Value of the variable name.")
	flag.DurationVar(&d.last, "last", 0, "How much of the past to draw.")
	flag.Parse()
	if err := run(*write, d); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

func run(write string, d drawing) error {
	board, err := build()
	if err != nil {
		return fmt.Errorf("making the dashboard: %w", err)
	}
	if write != "" {
		data, err := json.MarshalIndent(board, "", "  ")
		if err != nil {
			return fmt.Errorf("writing the dashboard: %w", err)
		}
		if err := os.WriteFile(write, append(data, '\n'), 0o644); err != nil {
			return err
		}
	}
	if d.out != "" {
		return d.draw(board)
	}
	return nil
}
