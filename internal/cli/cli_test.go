package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// fake is a plugin whose output is kept, without a cluster.
func fake(terminal bool) (p *plugin, out, messages *bytes.Buffer) {
	out, messages = &bytes.Buffer{}, &bytes.Buffer{}
	return &plugin{Env: &Env{
		IOStreams:   genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: out, ErrOut: messages},
		Clock:       testingclock.NewFakeClock(time.Unix(1000, 0)),
		OutTerminal: terminal, ErrTerminal: terminal, Colour: terminal,
	}}, out, messages
}

func TestOneLine(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		most int
		want string
	}{
		"short":                    {"a b", 10, "a b"},
		"lines":                    {"a\nb\tc", 10, "a b c"},
		"long":                     {"abcdef", 4, "abc…"},
		"runes, not bytes":         {"äöüß", 4, "äöüß"},
		"what a terminal would do": {"\x1b[2J\x9b", 10, ".[2J."},
	} {
		t.Run(name, func(t *testing.T) {
			if got := oneLine(tc.text, tc.most); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestProgressIsForTerminals(t *testing.T) {
	for _, terminal := range []bool{true, false} {
		p, out, messages := fake(terminal)
		bar := newProgress(p, "sent")
		bar.show(5, 10)
		bar.show(5, 10)
		bar.end()
		if drawn := strings.Contains(messages.String(), "5 of 10 sent"); drawn != terminal {
			t.Errorf("terminal %t: drew %q", terminal, messages)
		}
		if strings.Count(messages.String(), "\r") > 1 {
			t.Errorf("drew the same twice: %q", messages)
		}
		if out.Len() > 0 {
			t.Errorf("wrote %q to the output", out)
		}
		if painted := p.paint(red, "x") != "x"; painted != terminal {
			t.Errorf("terminal %t: painted %t", terminal, painted)
		}
	}
}

func TestPace(t *testing.T) {
	binding := func(backlog int64) *v1alpha1.QueueBinding {
		return &v1alpha1.QueueBinding{Status: v1alpha1.QueueBindingStatus{Queue: &v1alpha1.QueueStatus{VisibleMessages: backlog}}}
	}
	now := time.Unix(1000, 0)
	var p pace
	if first := p.look(now, binding(100)); first.known {
		t.Errorf("rates at the first look: %+v", first)
	}
	p.started = 20
	got := p.look(now.Add(10*time.Second), binding(80))
	if want := (rates{known: true, started: 2, drained: 2, empty: 40 * time.Second}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if growing := p.look(now.Add(20*time.Second), binding(500)); growing.empty != 0 || growing.drained >= 0 {
		t.Errorf("a growing queue: %+v", growing)
	}
	for i := range 200 {
		p.look(now.Add(time.Duration(20+i)*time.Second), binding(0))
	}
	if len(p.looks) > int(paceWindow/time.Second)+2 {
		t.Errorf("%d looks are kept", len(p.looks))
	}
}

func TestDeadLetterURL(t *testing.T) {
	for url, want := range map[string]string{
		"https://sqs.eu-west-1.amazonaws.com/123456789012/pings": "https://sqs.eu-west-1.amazonaws.com/123456789012/pings-dead",
		"http://127.0.0.1:4566/000000000000/pings":               "http://127.0.0.1:4566/000000000000/pings-dead",
	} {
		binding := &v1alpha1.QueueBinding{}
		binding.Spec.Queue.URL = url
		if _, err := deadLetterURL(binding); err == nil {
			t.Error("a URL where no dead-letter queue is known")
		}
		binding.Status.Queue = &v1alpha1.QueueStatus{DeadLetterQueueARN: "arn:aws:sqs:eu-west-1:123456789012:pings-dead"}
		if got, err := deadLetterURL(binding); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
}

// Only where there is no API is the annotation written instead.
func TestIsAbsent(t *testing.T) {
	group := schema.GroupResource{Group: "subresources.queuebinding.dev", Resource: "queuebindings"}
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"no such API":         {apierrors.NewGenericServerResponse(404, "post", group, "pings", "404 page not found", 0, true), true},
		"no such binding":     {apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("queuebindings").GroupResource(), "pings"), false},
		"forbidden":           {apierrors.NewForbidden(group, "pings", errors.New("no")), false},
		"no answer":           {errors.New("connection refused"), false},
		"an API that is down": {apierrors.NewServiceUnavailable("down"), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := isAbsent(tc.err); got != tc.want {
				t.Errorf("got %t, want %t", got, tc.want)
			}
		})
	}
}

// picky is a queue that takes messages, but for those that hold "bad".
type picky struct {
	queue.Queue
	mu      sync.Mutex
	bodies  []string
	batches int
	ids     map[string]bool
}

func (s *picky) SendBatch(_ context.Context, messages []queue.Outgoing) []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches++
	errs := make([]error, len(messages))
	for i, m := range messages {
		if strings.Contains(m.Body, "bad") {
			errs[i] = queue.Errorf(queue.InvalidMessage, "refused %s", m.Body)
			continue
		}
		s.bodies = append(s.bodies, m.Body)
		s.ids[m.DeduplicationID] = true
	}
	return errs
}

func TestSend(t *testing.T) {
	var lines []string
	for i := range 95 {
		lines = append(lines, fmt.Sprintf("line %d", i))
	}
	for name, tc := range map[string]struct {
		input    string
		fifo     bool
		wantOut  string
		wantSent int
		wantErr  string
	}{
		"lines":                    {strings.Join(lines, "\n"), false, "95 messages sent\n", 95, ""},
		"in order on a FIFO queue": {strings.Join(lines, "\n"), true, "95 messages sent\n", 95, ""},
		"empty lines are left out": {"\n\na\n\n", false, "1 message sent\n", 1, ""},
		"nothing":                  {"", false, "0 messages sent\n", 0, ""},
		"some are refused":         {"a\nbad 1\nbad 2", false, "1 message sent\n", 1, "2 messages not sent, the first because: refused bad 1"},
		"a line too long":          {"a\n" + strings.Repeat("x", queue.MaxMessageBytes+2), false, "1 message sent\n", 1, "token too long"},
	} {
		t.Run(name, func(t *testing.T) {
			p, out, _ := fake(false)
			s := &picky{ids: map[string]bool{}}
			o := &sender{plugin: p, lines: true}
			parallel := parallelBatches
			if tc.fifo {
				parallel = 1
			}
			err := o.send(t.Context(), s, o.messages(io.Reader(strings.NewReader(tc.input)), tc.fifo), parallel)
			if (err == nil) != (tc.wantErr == "") || err != nil && !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("got %v, want %q", err, tc.wantErr)
			}
			if out.String() != tc.wantOut || len(s.bodies) != tc.wantSent {
				t.Errorf("got %q and %d, want %q and %d", out, len(s.bodies), tc.wantOut, tc.wantSent)
			}
			if tc.fifo && (!slices.Equal(s.bodies, lines) || len(s.ids) != len(lines)) {
				t.Errorf("%d deduplication IDs, order %q", len(s.ids), s.bodies)
			}
			if most := (tc.wantSent + 12) / queue.MaxBatch; s.batches > most+1 {
				t.Errorf("%d requests for %d messages", s.batches, tc.wantSent)
			}
		})
	}
}

// What a producer or a policy wrote must not play tricks on a terminal.
func TestNothingPrintedHoldsControlCharacters(t *testing.T) {
	const evil = "\x1b]0;title\a\x1b[2Jgone\r"
	p, out, messages := fake(true)
	p.note("said: %s", evil)
	b := &v1alpha1.QueueBinding{}
	b.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "r", Message: evil}}
	b.Status.LastRejection = &v1alpha1.Rejection{MessageID: evil, Reason: evil, Message: evil}
	p.Colour = false
	describer{p}.describe(b, nil)
	for name, text := range map[string]string{"output": out.String(), "messages": messages.String()} {
		if strings.ContainsAny(text, "\x1b\r") {
			t.Errorf("the %s hold control characters: %q", name, text)
		}
	}
}

// A person's terminal is kept from what a producer wrote; a program gets every byte.
func TestBodiesAreEscapedForTerminalsOnly(t *testing.T) {
	const evil = "\x1b]0;title\a\x1b[2J\xff\x00gone\r"
	for name, tc := range map[string]struct {
		terminal bool
		want     string
	}{
		"a terminal": {true, "^[]0;title\a^[[2J\xff\x00gone\\r\n"},
		"a pipe":     {false, evil},
	} {
		t.Run(name, func(t *testing.T) {
			p, _, _ := fake(tc.terminal)
			if got := (&messagePrinter{plugin: p}).shown(evil); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// waiting is a queue with one message.
type waiting struct {
	queue.Queue
	message queue.Message
}

func (w *waiting) Receive(context.Context, int, time.Duration, time.Duration) ([]queue.Message, error) {
	return []queue.Message{w.message}, nil
}

func (w *waiting) ChangeVisibility(context.Context, []string, time.Duration) []error { return nil }

func TestPeekPrintsNoControlCharacters(t *testing.T) {
	const evil = "\x1b]0;title\a\x1b[2Jgone\r\u009b2J"
	p, out, _ := fake(true)
	if err := (&peeker{plugin: p, limit: 1}).peek(t.Context(), &waiting{message: queue.Message{ID: evil, Body: evil}}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\r\a\u009b") {
		t.Errorf("it holds control characters: %q", out.String())
	}
}
