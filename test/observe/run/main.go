// Command run has Prometheus and the Alertmanager look at the operator while things go wrong: `make observe`. It prints which alerts
// fired and ended, and exits with 1 if one did not, or fired for nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/queuebinding/queuebinding/test/observe"
)

func main() {
	keep := flag.Bool("keep", false, "Leave all up after the play, until Ctrl-C.")
	picture := flag.String("picture", "", "Draw the dashboard to this PNG file after the play.")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, *keep, *picture); err != nil {
		fmt.Fprintln(os.Stderr, "observe:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, keep bool, picture string) (err error) {
	fmt.Println("Starting a control plane, a queue, the operator, Prometheus and an Alertmanager")
	stage, err := observe.Start(ctx, os.Stderr, os.Stdout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.End(err != nil)) }()
	fmt.Printf("\n%s\n\n", stage.URLs())
	if err := stage.Play(ctx); err != nil {
		return err
	}
	if unexpected := stage.Unexpected(); len(unexpected) > 0 {
		return fmt.Errorf("alerts for nothing: %v", unexpected)
	}
	fmt.Println("\nEach alert fired for what it is for, and ended. No other fired.")
	if picture != "" {
		if err := draw(ctx, stage, picture); err != nil {
			return err
		}
	}
	if keep {
		fmt.Printf("\nAll is left up until Ctrl-C:\n\n%s\n", stage.URLs())
		<-ctx.Done()
	}
	return nil
}

// draw draws the dashboard with what Prometheus has of the play.
func draw(ctx context.Context, stage *observe.Stage, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, "go", "run", ".", "-draw="+path, "-prometheus="+stage.PrometheusURL(),
		"-name="+observe.Pings, "-last="+time.Since(stage.Began).Round(time.Second).String())
	command.Dir = filepath.Join("hack", "dashboard")
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("drawing the dashboard: %w", err)
	}
	return nil
}
