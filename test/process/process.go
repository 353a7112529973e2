// Package process runs a program, such as the operator, as a child process with its output in a file.
package process

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

// GracePeriod is how long Terminate waits before it kills, as long as the operator's Pods have in config/default.
const GracePeriod = time.Minute

// Process is a child process.
type Process struct {
	// Log is the path of the file that has its output.
	Log string

	command *exec.Cmd
	// ended is closed once the process has ended and err is set.
	ended chan struct{}
	err   error
}

// Start starts a command that is killed when this process dies. Its output is appended to the file log, which processes
// that run one after the other may share.
func Start(command *exec.Cmd, log string) (*Process, error) {
	command.SysProcAttr = attributes()
	return start(command, log)
}

// StartDetached starts a command that may outlive this process: it has a session of its own.
func StartDetached(command *exec.Cmd, log string) (*Process, error) {
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return start(command, log)
}

func start(command *exec.Cmd, log string) (*Process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", command.Path, err)
	}
	defer file.Close() // the process has its own handle
	command.Stdout, command.Stderr = file, file
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", command.Path, err)
	}
	p := &Process{Log: log, command: command, ended: make(chan struct{})}
	go func() {
		p.err = command.Wait()
		close(p.ended)
	}()
	return p, nil
}

// PID returns the process ID.
func (p *Process) PID() int { return p.command.Process.Pid }

// Ended returns a channel that is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Alive returns nil while the process runs, and then an error that says how it ended.
func (p *Process) Alive() error {
	select {
	case <-p.ended:
		return fmt.Errorf("process %d ended: %s", p.PID(), p.command.ProcessState)
	default:
		return nil
	}
}

// Signal sends a signal and does not wait for what comes of it.
func (p *Process) Signal(signal os.Signal) error {
	if err := p.command.Process.Signal(signal); err != nil {
		return fmt.Errorf("sending %s to process %d: %w", signal, p.PID(), err)
	}
	return nil
}

// Kill ends the process as a crash does and waits until it has ended. It may have ended before.
func (p *Process) Kill() {
	_ = p.command.Process.Kill() // it fails where the process has ended
	<-p.ended
}

// Terminate ends the process as Kubernetes does: SIGTERM, then GracePeriod, which the end of ctx cuts short, then
// SIGKILL. It returns nil only if the process ended on SIGTERM with exit code 0, else an error that names the exit code or
// the signal. The process has ended when it returns.
func (p *Process) Terminate(ctx context.Context) error {
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, GracePeriod, fmt.Errorf("it still ran %s after SIGTERM", GracePeriod))
	defer cancel()
	select {
	case <-p.ended:
		if p.err != nil {
			return fmt.Errorf("process %d ended on SIGTERM: %w", p.PID(), p.err)
		}
		return nil
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("process %d was killed: %w", p.PID(), context.Cause(ctx))
	}
}

// LastLines returns the last lines of the log.
func (p *Process) LastLines(count int) string {
	content, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
