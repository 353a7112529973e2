package devenv

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInspectChecksTheRecord(t *testing.T) {
	alive, err := self()
	if err != nil {
		t.Fatal(err)
	}
	dead := Process{PID: alive.PID, Started: 1}
	part := func(process Process, status PartStatus) []PartState {
		return []PartState{{Name: "etcd", Process: process, Status: status}}
	}
	for name, test := range map[string]struct {
		state State
		want  Condition
	}{
		"all runs":                 {State{alive, true, nil, Simulated, part(alive, PartRunning)}, Up},
		"not ready yet":            {State{alive, false, nil, Simulated, part(alive, PartStarting)}, Starting},
		"between start and record": {State{alive, false, nil, Simulated, part(Process{}, PartStarting)}, Starting},
		"a part has died":          {State{alive, true, nil, Simulated, part(dead, PartRunning)}, HalfDead},
		"a part was stopped":       {State{alive, true, nil, Simulated, part(dead, PartStopped)}, Up},
		"a part survived":          {State{dead, true, nil, Simulated, part(alive, PartRunning)}, HalfDead},
		"nothing runs any more":    {State{dead, true, nil, Simulated, part(dead, PartRunning)}, Down},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := writeJSON(filepath.Join(dir, stateFile), test.state); err != nil {
				t.Fatal(err)
			}
			report, err := Inspect(dir)
			if err != nil {
				t.Fatal(err)
			}
			if report.Condition != test.want {
				t.Errorf("got %s, want %s", report.Condition, test.want)
			}
		})
	}
	t.Run("no record", func(t *testing.T) {
		report, err := Inspect(filepath.Join(t.TempDir(), "none"))
		if err != nil || report.Condition != Down || report.Leftovers {
			t.Errorf("got %+v, %v; want down without leftovers", report, err)
		}
	})
}

// A mistyped --dir must not cost anybody's files.
func TestForeignDirectoriesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := claim(dir); err == nil || !strings.Contains(err.Error(), "holds other files") {
		t.Errorf("running in it: got %v, want a refusal", err)
	}
	err := Start(context.Background(), dir, "false", nil, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "holds other files") {
		t.Errorf("starting in it: got %v, want a refusal", err)
	}
	if err := TakeDown(dir, io.Discard); err != nil {
		t.Errorf("taking it down: %v", err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
}

func TestDownIsHarmlessWhereNothingIs(t *testing.T) {
	var out bytes.Buffer
	if err := TakeDown(filepath.Join(t.TempDir(), "none"), &out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "Nothing runs") {
		t.Errorf("got %q", out.String())
	}
}

func TestOneSupervisorPerDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	unlock, err := claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := claim(dir); err == nil || !strings.Contains(err.Error(), "another supervisor") {
		t.Errorf("claiming it twice: got %v, want a refusal", err)
	}
	unlock()
	unlock, err = claim(dir)
	if err != nil {
		t.Fatalf("claiming it after its release: %v", err)
	}
	unlock()
}
