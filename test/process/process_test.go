package process_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/queuebinding/queuebinding/test/process"
)

// start starts a script that prints "ready" and runs until a signal ends it.
func start(t *testing.T, script string) *process.Process {
	t.Helper()
	p, err := process.Start(exec.Command("bash", "-c", script+"; echo started; echo ready; while :; do sleep 0.05; done"), filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	for deadline := time.Now().Add(10 * time.Second); p.LastLines(1) != "ready"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the process did not print in time")
		}
	}
	if err := p.Alive(); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTerminate(t *testing.T) {
	tests := map[string]struct {
		script    string
		timeout   time.Duration
		wantError string
	}{
		"ends cleanly on SIGTERM":       {script: "trap 'exit 0' TERM"},
		"ends with an error on SIGTERM": {script: "trap 'exit 3' TERM", wantError: "exit status 3"},
		"does not know SIGTERM":         {script: "true", wantError: "signal: terminated"},
		"ignores SIGTERM":               {script: "trap '' TERM", timeout: 200 * time.Millisecond, wantError: "was killed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := start(t, test.script)
			ctx := t.Context()
			if test.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, test.timeout)
				defer cancel()
			}
			err := p.Terminate(ctx)
			if test.wantError == "" && err != nil {
				t.Error(err)
			}
			if test.wantError != "" && (err == nil || !strings.Contains(err.Error(), test.wantError)) {
				t.Errorf("got error %v, want one that says %q", err, test.wantError)
			}
			if p.Alive() == nil {
				t.Error("it counts as alive after it ended")
			}
		})
	}
}

func TestKill(t *testing.T) {
	p := start(t, "trap '' TERM")
	p.Kill()
	if err := p.Alive(); err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("got %v, want an error that names the signal", err)
	}
	if err := p.Signal(syscall.SIGTERM); err == nil {
		t.Error("a process that ended could be sent a signal")
	}
	p.Kill() // once more does no harm
}

func TestLastLines(t *testing.T) {
	p := start(t, "true")
	if got, want := p.LastLines(2), "started\nready"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
