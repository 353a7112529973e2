// Command soak breaks everything around the operator at once, for minutes and under load, by a plan that a seed makes:
// `make soak SEED=1 MINUTES=3`. From the outside, by the API server's watch and the emulator's contents, it sees whether
// anything was lost, doubled, or over a limit. It exits with 1 if any promise was broken.
//
// The same seed makes the same plan, the same messages and the same fault for the n-th request of an operator. What is
// under way when they happen is up to the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/queuebinding/queuebinding/test/crash"
	"github.com/queuebinding/queuebinding/test/recorder"
	"github.com/queuebinding/queuebinding/test/rig"
)

func main() {
	seed := flag.Uint64("seed", 1, "What the plan is made of.")
	minutes := flag.Float64("minutes", 3, "How long things break; they settle for up to five minutes after that.")
	without := flag.String("sabotage", "", "Build the operator without one of its safeguards, to see that this is found: a name of the crash matrix's.")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	violations, err := run(ctx, *seed, time.Duration(*minutes*float64(time.Minute)), *without)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
	}
	if err != nil || violations > 0 {
		os.Exit(1)
	}
}

// election has the operator's Lease be short enough for many changes of leader. Nothing else differs from the operator as it
// is shipped.
var election = rig.Edit{
	File: "cmd/main.go",
	Old:  "LeaderElectionID:              leaseName,\n",
	New: "LeaderElectionID:              leaseName,\n" +
		`LeaseDuration: new(6 * time.Second), RenewDeadline: new(4 * time.Second), RetryPeriod: new(time.Second),` + "\n",
}

// edits are those of the operator that is soaked.
func edits(without string) ([]rig.Edit, error) {
	if without == "" {
		return []rig.Edit{election}, nil
	}
	for _, sabotage := range crash.Sabotages {
		if sabotage.Name == without {
			return append(sabotage.Edits, election), nil
		}
	}
	return nil, fmt.Errorf("there is no sabotage %q", without)
}

func run(ctx context.Context, seed uint64, duration time.Duration, without string) (violations int, err error) {
	edits, err := edits(without)
	if err != nil {
		return 0, err
	}
	fmt.Println("Starting a control plane and a queue")
	cluster, err := rig.StartCluster(ctx, os.Stderr)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, cluster.End(err != nil || violations > 0)) }()
	program, err := cluster.Build("manager", edits...)
	if err != nil {
		return 0, err
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	recorded, err := recorder.Start(watching, cluster.Client)
	if err != nil {
		return 0, err
	}
	s := newSoak(cluster, recorded, program, seed)
	if err := s.begin(ctx); err != nil {
		return 0, err
	}
	defer s.operators.end()
	defer s.guard.server.Close()

	if err := s.inject(ctx, duration); err != nil {
		return 0, err
	}
	unsettled := s.settle(ctx)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	found := s.judge(ctx)
	if unsettled != nil {
		found = append(found, "STUCK: "+unsettled.Error())
	}
	s.print(os.Stdout, found)
	return len(found), nil
}
