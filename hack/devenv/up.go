package devenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Start starts a supervisor in the background and returns once its environment is ready. The supervisor is program with
// args; it outlives the caller and its terminal. What it says is copied to out until then.
func Start(ctx context.Context, dir, program string, args []string, out io.Writer) error {
	if err := adopt(dir); err != nil {
		return err
	}
	logPath := filepath.Join(dir, supervisorLog)
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_TRUNC|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening the supervisor's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	// Nothing of the caller's stays open in the supervisor, or a pipe that the caller's output goes to would never end.
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	supervisor, err := Identify(cmd.Process.Pid)
	if err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	said, err := os.Open(logPath)
	if err != nil {
		return fmt.Errorf("opening the supervisor's log: %w", err)
	}
	defer said.Close()
	for {
		// Reading goes on where it stopped at the end of the file.
		if _, err := io.Copy(out, said); err != nil {
			return fmt.Errorf("reading the supervisor's log: %w", err)
		}
		if supervisorReady(dir, supervisor) {
			if _, err = io.Copy(out, said); err != nil {
				return fmt.Errorf("reading the supervisor's log: %w", err)
			}
			return nil
		}
		select {
		case err := <-ended:
			_, _ = io.Copy(out, said)
			return fmt.Errorf("the supervisor ended before all was ready (log: %s): %w", logPath, err)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), supervisor.Signal(syscall.SIGTERM), <-ended)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// supervisorReady tells whether this very supervisor has said that its environment is ready.
func supervisorReady(dir string, supervisor Process) bool {
	state, err := readState(dir)
	if err != nil || state.Supervisor.PID != supervisor.PID || !state.Ready {
		return false
	}
	_, err = ReadAccess(dir)
	return err == nil
}

// Environ returns os.Environ with what is needed to use the environment in dir.
func Environ(dir string) ([]string, error) {
	access, err := ReadAccess(dir)
	if err != nil {
		return nil, err
	}
	return append(os.Environ(), access.Env...), nil
}
