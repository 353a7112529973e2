// Command bench measures the operator, as a process of its own on a real control plane and an SQS emulator, against a
// bare client that does nothing but the unavoidable calls: `make bench`, or `make bench QUICK=1` in under two minutes.
// The two take turns in one run, so that a slow machine slows both. It prints what was measured beside the goals, writes
// the same to bin/bench.json, and exits with 1 if a goal was missed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/queuebinding/queuebinding/test/rig"
)

func main() {
	quick := flag.Bool("quick", false, "Measure small amounts, in under two minutes.")
	only := flag.String("only", "", "Measure only these, comma-separated: "+strings.Join(names(), ", ")+".")
	profiles := flag.String("profiles", "", "Folder to write profiles of the operator to.")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	amounts := full
	if *quick {
		amounts = small
	}
	report, err := run(ctx, amounts, *only, *profiles)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if err != nil || report.missed() > 0 {
		os.Exit(1)
	}
}

// measurement is one part of a run.
type measurement struct {
	name string
	do   func(context.Context, *suite, *report) error
}

// measurements are all of them. Each starts an operator of its own, so that none finds the memory of the one before.
var measurements = []measurement{
	{"drain", measureDrain},
	{"far", measureFar},
	{"latency", measureLatency},
	{"burst", measureBurst},
	{"fairness", measureFairness},
	{"requests", measureRequests},
	{"slot", measureSlot},
	{"idle", measureIdle},
	{"keep", measureKeep},
	{"failover", measureFailover},
}

func names() []string {
	var all []string
	for _, m := range measurements {
		all = append(all, m.name)
	}
	return all
}

func run(ctx context.Context, amounts amounts, only, profiles string) (r *report, err error) {
	wanted := names()
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	began := time.Now()
	fmt.Println("Starting a control plane and a queue")
	cluster, err := rig.StartCluster(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cluster.End(err != nil)) }()
	suite, err := newSuite(ctx, cluster, amounts, profiles)
	if err != nil {
		return nil, err
	}
	defer suite.close()

	r = &report{}
	for _, m := range measurements {
		if !slices.Contains(wanted, m.name) {
			continue
		}
		fmt.Printf("%4.0fs  %s\n", time.Since(began).Seconds(), m.name)
		if err := m.do(ctx, suite, r); err != nil {
			r.print(os.Stdout)
			return nil, fmt.Errorf("measuring %s: %w", m.name, err)
		}
	}
	fmt.Printf("%4.0fs  done\n\n", time.Since(began).Seconds())
	r.print(os.Stdout)
	return r, r.write(filepath.Join(cluster.Root, "bin", "bench.json"))
}
