package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// shell runs commands as a user would in one: with variables that outlive a command.
type shell struct {
	page *page
	env  []string
}

// newShell starts from this process' variables, without those by which make speaks to a make below it: a `make` that
// the demo shows is to behave as one typed by hand.
func newShell(page *page) *shell {
	s := &shell{page: page}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		switch name {
		case "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "GNUMAKEFLAGS":
		default:
			s.env = append(s.env, entry)
		}
	}
	return s
}

// run shows a command, runs it with its output shown, and returns its standard output.
func (s *shell) run(ctx context.Context, command string) (string, error) {
	s.page.command(command)
	var out bytes.Buffer
	err := s.start(ctx, command, io.MultiWriter(&out, s.page.out), s.page.out)
	return out.String(), err
}

// ask runs a command unseen, for a check, and returns its standard output.
func (s *shell) ask(ctx context.Context, command string) (string, error) {
	var out, problem bytes.Buffer
	if err := s.start(ctx, command, &out, &problem); err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(problem.String()))
	}
	return out.String(), nil
}

// export shows the assignment of a command's output to a variable, makes it, and shows the value.
func (s *shell) export(ctx context.Context, name, command string) (string, error) {
	s.page.command(fmt.Sprintf("export %s=$(%s)", name, command))
	value, err := s.ask(ctx, command)
	if err != nil {
		return "", err
	}
	value = strings.TrimSpace(value)
	if value == "" {
		return "", fmt.Errorf("%s: no output for %s", command, name)
	}
	s.env = append(s.env, name+"="+value)
	_, err = s.run(ctx, "echo $"+name)
	return value, err
}

// source takes over the variables that a file sets.
func (s *shell) source(ctx context.Context, file string) error {
	s.page.command(". " + file)
	out, err := s.ask(ctx, ". "+file+" && env -0")
	if err != nil {
		return err
	}
	s.env = strings.Split(strings.TrimRight(out, "\x00"), "\x00")
	return nil
}

// variable returns a variable's value.
func (s *shell) variable(name string) string {
	// The last one wins, as it does for the commands.
	for _, entry := range slices.Backward(s.env) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

func (s *shell) start(ctx context.Context, command string, stdout, stderr io.Writer) error {
	process := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", command)
	process.Env = s.env
	process.Stdout, process.Stderr = stdout, stderr
	// make ends what it started when it gets this signal, and not when it is killed.
	process.Cancel = func() error { return process.Process.Signal(syscall.SIGTERM) }
	process.WaitDelay = 10 * time.Second
	if err := process.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}
