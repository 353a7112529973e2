package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOperatorStop(t *testing.T) {
	tests := map[string]struct {
		script    string
		wantError string
	}{
		"ends cleanly on SIGTERM":       {script: "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"},
		"ends with an error on SIGTERM": {script: "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done", wantError: "exit status 3"},
		"does not know SIGTERM":         {script: "echo ready; while :; do sleep 0.05; done", wantError: "signal: terminated"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o, err := startOperator(os.Environ(), filepath.Join(t.TempDir(), "log"), "bash", "-c", test.script)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = o.process.Process.Kill() })
			eventually(t, func() bool { return o.lastLines(1) == "ready" })
			if err := o.alive(); err != nil {
				t.Fatal(err)
			}

			err = o.stop(t.Context())
			if test.wantError == "" && err != nil {
				t.Error(err)
			}
			if test.wantError != "" && (err == nil || !strings.Contains(err.Error(), test.wantError)) {
				t.Errorf("got error %v, want one that says %q", err, test.wantError)
			}
			if o.alive() == nil {
				t.Error("it counts as alive after it ended")
			}
		})
	}
}

func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the condition did not come true in time")
		}
	}
}
