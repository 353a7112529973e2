package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// operator is the program under demonstration, in a process of its own.
type operator struct {
	log     string
	process *exec.Cmd
	// ended is closed once the process has ended and err is set.
	ended chan struct{}
	err   error
}

// startOperator starts the operator with its output in a file. It has a session of its own, so that Ctrl-C reaches the
// demo alone, which then stops it cleanly, and so that it can outlive the demo.
func startOperator(env []string, log string, command ...string) (*operator, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("creating the operator's log: %w", err)
	}
	// The process has its own handle.
	defer file.Close()
	o := &operator{log: log, process: exec.Command(command[0], command[1:]...), ended: make(chan struct{})}
	o.process.Env = env
	o.process.Stdout, o.process.Stderr = file, file
	o.process.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := o.process.Start(); err != nil {
		return nil, fmt.Errorf("starting the operator: %w", err)
	}
	go func() {
		o.err = o.process.Wait()
		close(o.ended)
	}()
	return o, nil
}

func (o *operator) pid() int { return o.process.Process.Pid }

// alive is nil while the operator runs.
func (o *operator) alive() error {
	select {
	case <-o.ended:
		if o.err != nil {
			return fmt.Errorf("the operator ended by itself: %w", o.err)
		}
		return errors.New("the operator ended by itself, with exit code 0")
	default:
		return nil
	}
}

// stop ends the operator as Kubernetes would: SIGTERM, then a minute of grace. Nil means that it ended by itself in that
// time with exit code 0.
func (o *operator) stop(ctx context.Context) error {
	if err := o.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sending SIGTERM: %w", err)
	}
	grace := time.NewTimer(time.Minute)
	defer grace.Stop()
	var reason string
	select {
	case <-o.ended:
		if o.err != nil {
			return fmt.Errorf("it ended with %w", o.err)
		}
		return nil
	case <-grace.C:
		reason = "a minute after SIGTERM it still ran"
	case <-ctx.Done():
		reason = "there was no time to wait for it"
	}
	if err := o.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s, and killing it failed: %w", reason, err)
	}
	<-o.ended
	return errors.New(reason + "; it was killed")
}

// lastLines returns the end of the operator's log.
func (o *operator) lastLines(count int) string {
	content, err := os.ReadFile(o.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
