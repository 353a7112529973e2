package devenv

import (
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Nothing is ever signalled that is not the very process that was started.
func TestProcessIsTheOneThatWasStarted(t *testing.T) {
	sleep := func(t *testing.T) (*exec.Cmd, Process) {
		t.Helper()
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		process, err := Identify(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		return cmd, process
	}

	t.Run("running", func(t *testing.T) {
		if _, process := sleep(t); !process.Alive() {
			t.Error("got dead, want alive")
		}
	})
	t.Run("same id, other start time", func(t *testing.T) {
		_, process := sleep(t)
		other := Process{PID: process.PID, Started: process.Started - time.Hour.Milliseconds()}
		if other.Alive() {
			t.Error("got alive, want dead")
		}
		if err := other.End(0); err != nil {
			t.Errorf("ending it: %v", err)
		}
		if !process.Alive() {
			t.Error("the process that has the id now was ended")
		}
	})
	t.Run("ended and not waited for", func(t *testing.T) {
		cmd, process := sleep(t)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if !process.gone(5 * time.Second) {
			t.Error("got alive, want dead")
		}
	})
	t.Run("ends although it is paused", func(t *testing.T) {
		_, process := sleep(t)
		if err := process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		if err := process.End(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		if process.Alive() {
			t.Error("got alive, want dead")
		}
	})
	for name, process := range map[string]Process{"no process": {}, "init": {PID: 1}, "everything": {PID: -1}} {
		t.Run(name, func(t *testing.T) {
			if process.Alive() {
				t.Error("got alive, want dead")
			}
		})
	}
}
