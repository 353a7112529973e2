package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func newTestWalk() (*walk, *bytes.Buffer) {
	out := &bytes.Buffer{}
	page := &page{out: &lockedWriter{out: out}, started: time.Now()}
	shell := newShell(page)
	return &walk{page: page, shell: shell, score: &scorecard{page: page}, environment: &environment{shell: shell}}, out
}

func TestShellKeepsVariables(t *testing.T) {
	t.Setenv("MAKEFLAGS", "-j4")
	w, out := newTestWalk()
	if _, err := w.shell.export(t.Context(), "QUEUE", "echo pings"); err != nil {
		t.Fatal(err)
	}
	got, err := w.shell.run(t.Context(), `echo "queue $QUEUE, make flags '$MAKEFLAGS'"`)
	if err != nil {
		t.Fatal(err)
	}
	if want := "queue pings, make flags ''\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if want := "$ export QUEUE=$(echo pings)\n$ echo $QUEUE\npings\n$ echo \"queue"; !strings.HasPrefix(out.String(), want) {
		t.Errorf("shown was %q, want it to begin with %q", out, want)
	}
}

func TestShellTellsFailures(t *testing.T) {
	w, _ := newTestWalk()
	if _, err := w.shell.run(t.Context(), "false | cat"); err == nil {
		t.Error("a failure within a pipe was missed")
	}
	if _, err := w.shell.ask(t.Context(), "echo no such thing >&2; exit 1"); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("got error %v, want what the command said", err)
	}
	if _, err := w.shell.export(t.Context(), "EMPTY", "true"); err == nil {
		t.Error("a variable without value was accepted")
	}
}

func TestJSONValue(t *testing.T) {
	for name, answer := range map[string]string{
		"indented": "{\n    \"QueueUrl\": \"http://127.0.0.1:1/0/pings\"\n}",
		"compact":  `{"QueueUrl":"http://127.0.0.1:1/0/pings","Other":"x"}`,
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := newTestWalk()
			w.shell.env = append(w.shell.env, "ANSWER="+answer)
			got, err := w.shell.ask(t.Context(), `echo "$ANSWER" | `+valueOf("QueueUrl"))
			if err != nil {
				t.Fatal(err)
			}
			if want := "http://127.0.0.1:1/0/pings\n"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestUntil(t *testing.T) {
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	tests := map[string]struct {
		ctx        context.Context
		met        bool
		err        error
		wantError  error
		wantChecks int
		wantFailed int
	}{
		"met":         {ctx: t.Context(), met: true, wantChecks: 1},
		"not met":     {ctx: t.Context(), wantError: errUnmet, wantChecks: 1, wantFailed: 1},
		"cannot tell": {ctx: t.Context(), err: errBroken, wantError: errBroken},
		"interrupted": {ctx: interrupted, wantError: context.Canceled},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w, _ := newTestWalk()
			err := w.until(test.ctx, "it comes true", time.Millisecond, func() (bool, string, error) { return test.met, "", test.err })
			if !errors.Is(err, test.wantError) {
				t.Errorf("got error %v, want %v", err, test.wantError)
			}
			if len(w.score.checks) != test.wantChecks || w.score.failed() != test.wantFailed {
				t.Errorf("got %d checks of which %d failed, want %d and %d", len(w.score.checks), w.score.failed(), test.wantChecks, test.wantFailed)
			}
		})
	}
}

func TestTimeline(t *testing.T) {
	w, out := newTestWalk()
	rows := &timeline{page: w.page, begun: time.Now()}
	for _, r := range []row{
		{messages: 100}, {messages: 100}, {messages: 40, pending: 30, running: 28, done: 2, nodes: 2}, {done: 100, nodes: 1},
	} {
		rows.add(r)
	}
	want := `   TIME  MESSAGES  PENDING  RUNNING  DONE  NODES
     0s       100        0        0     0      0
     0s        40       30       28     2      2  ▣▣ ██████████░░░░░░░░░░
     0s         0        0        0   100      1  ▣
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

var errBroken = errors.New("broken")

func TestSummary(t *testing.T) {
	w, out := newTestWalk()
	if w.score.summary() {
		t.Error("a demo that checked nothing counts as a success")
	}
	w.score.record(true, "Jobs ran", "4 Jobs")
	if !w.score.summary() {
		t.Error("a demo without failures counts as failed")
	}
	w.score.record(false, "the queue is empty", "1 visible")
	if w.score.summary() {
		t.Error("a demo with a failure counts as a success")
	}
	if !strings.Contains(out.String(), "FAILED  the queue is empty (1 visible)") || !strings.Contains(out.String(), "2 checks, 1 failed") {
		t.Errorf("the failure is not in the summary: %s", out)
	}
}
