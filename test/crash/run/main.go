// Command run plays the crash matrix: `make crash`. It exits with 1 if any promise was broken.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/queuebinding/queuebinding/test/crash"
	"github.com/queuebinding/queuebinding/test/recorder"
	"github.com/queuebinding/queuebinding/test/rig"
)

func main() {
	every := flag.Int("every", 1, "Break only every n-th step.")
	parallel := flag.Int("parallel", 6, "Cases that are played side by side.")
	only := flag.String("scenario", "", "Play only scenarios whose name matches this regular expression.")
	flag.Parse()
	wanted, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	violations, err := run(ctx, *every, *parallel, wanted)
	if err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
	}
	if err != nil || violations > 0 {
		os.Exit(1)
	}
}

func run(ctx context.Context, every, parallel int, wanted *regexp.Regexp) (violations int, err error) {
	fmt.Println("Starting a control plane and a queue")
	cluster, err := rig.StartCluster(ctx, os.Stderr)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, cluster.End(err != nil || violations > 0)) }()
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	recorded, err := recorder.Start(watching, cluster.Client)
	if err != nil {
		return 0, err
	}
	matrix := &crash.Matrix{Cluster: cluster, Recorder: recorded, Parallel: parallel, Every: every, Log: os.Stdout}
	var rows []crash.Row
	for _, matrix.Survive = range []bool{false, true} {
		for _, scenario := range crash.Scenarios {
			if !wanted.MatchString(scenario.Name) {
				continue
			}
			row, err := matrix.Play(ctx, scenario)
			if err != nil {
				return 0, err
			}
			rows = append(rows, row)
			violations += len(row.Violations)
		}
	}
	fmt.Println()
	crash.Print(os.Stdout, rows)
	return violations, nil
}
