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
	"github.com/queuebinding/queuebinding/test/testenv"
)

func main() {
	o := options{}
	quick := flag.Bool("quick", false, "Measure small amounts, in under two minutes.")
	flag.StringVar(&o.only, "only", "", "Measure only these, comma-separated: "+names(measurements)+"; with -peers "+names(peerMeasurements)+".")
	flag.StringVar(&o.profiles, "profiles", "", "Folder to write profiles of the operator to.")
	flag.BoolVar(&o.peers, "peers", false, "Measure beside KEDA's operator instead of the bare client.")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	o.amounts = full
	if *quick {
		o.amounts = small
	}
	report, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if err != nil || report.missed() > 0 {
		os.Exit(1)
	}
}

// options are what is to be measured, and how much of it.
type options struct {
	amounts        amounts
	only, profiles string
	// peers has other operators take turns with ours, not the bare client.
	peers bool
}

// chosen are the measurements of a run, and the name of the file below bin for what they find.
func (o options) chosen() ([]measurement, string) {
	all, file := measurements, "bench.json"
	if o.peers {
		all, file = peerMeasurements, "bench-peers.json"
	}
	if o.only == "" {
		return all, file
	}
	only := strings.Split(o.only, ",")
	return slices.DeleteFunc(slices.Clone(all), func(m measurement) bool { return !slices.Contains(only, m.name) }), file
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

func names(of []measurement) string {
	return strings.Join(mapped(of, func(m measurement) string { return m.name }), ", ")
}

func run(ctx context.Context, o options) (r *report, err error) {
	began := time.Now()
	fmt.Println("Starting a control plane and a queue")
	var neighbours []string
	if o.peers {
		neighbours = append(neighbours, testenv.KEDA)
	}
	cluster, err := rig.StartCluster(ctx, os.Stderr, neighbours...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cluster.End(err != nil)) }()
	suite, err := newSuite(ctx, cluster, o.amounts, o.profiles)
	if err != nil {
		return nil, err
	}
	defer suite.close()
	for _, neighbour := range neighbours {
		// Each runs in its turns only.
		if err := cluster.StopPart(neighbour); err != nil {
			return nil, err
		}
	}

	r = &report{}
	chosen, file := o.chosen()
	for _, m := range chosen {
		fmt.Printf("%4.0fs  %s\n", time.Since(began).Seconds(), m.name)
		if err := m.do(ctx, suite, r); err != nil {
			r.print(os.Stdout)
			return nil, fmt.Errorf("measuring %s: %w", m.name, err)
		}
	}
	fmt.Printf("%4.0fs  done\n\n", time.Since(began).Seconds())
	r.print(os.Stdout)
	return r, r.write(filepath.Join(cluster.Root, "bin", file))
}
