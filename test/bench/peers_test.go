package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// What is compared takes turns, in both orders, and who is slow gets fewer.
func TestContendersTakeTurns(t *testing.T) {
	var order []string
	turns := func(by contender) int {
		if by == kedaDefaults {
			return 1
		}
		return 2
	}
	outcomes, err := inTurns([]contender{ours{}, kedaPrompt, kedaDefaults}, turns, func(by contender) (outcome, error) {
		order = append(order, by.name())
		return outcome{seconds: float64(len(order))}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{ours{}.name(), kedaPrompt.name(), kedaDefaults.name(), kedaPrompt.name(), ours{}.name()}
	if !slices.Equal(order, want) {
		t.Errorf("got the order %q, want %q", order, want)
	}
	if got := outcomes[ours{}]; len(got) != 2 || got[0].seconds != 1 || got[1].seconds != 5 {
		t.Errorf("got %v of ours, want those of the first turn and the last", got)
	}
}

func TestATurnThatFailsIsNoOutcome(t *testing.T) {
	broken := errors.New("broken")
	_, err := inTurns([]contender{ours{}}, func(contender) int { return 1 }, func(contender) (outcome, error) { return outcome{}, broken })
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

// The bench fails if our operator loses or doubles a message or passes its limit, whatever another one does.
func TestOnlyOurCountsAreJudged(t *testing.T) {
	contenders := []contender{ours{}, kedaPrompt}
	lost := func(o outcome) int { return o.lost }
	for name, test := range map[string]struct {
		ours, keda outcome
		want       int
	}{
		"nobody's":  {},
		"ours":      {ours: outcome{lost: 1}, want: 1},
		"another's": {keda: outcome{lost: 1}},
	} {
		r := &report{}
		addCounts(r, "work", contenders, map[contender][]outcome{ours{}: {{}, test.ours}, kedaPrompt: {test.keda}}, "messages lost", lost)
		if got := r.missed(); got != test.want || len(r.rows) != 2 {
			t.Errorf("%s: got %d missed goals in %v, want %d", name, got, r.rows, test.want)
		}
	}
}

func TestSecondsAreComparedWithOursInTheSameRound(t *testing.T) {
	r := &report{}
	addSeconds(r, "work", []contender{ours{}, kedaPrompt, kedaDefaults}, map[contender][]outcome{
		ours{}:       {{seconds: 1}, {seconds: 2}, {seconds: 3}},
		kedaPrompt:   {{seconds: 2}, {seconds: 6}, {seconds: 30}},
		kedaDefaults: {{seconds: 40}},
	})
	if len(r.rows) != 3 || r.rows[0].ratio != nil || *r.rows[1].ratio != 3 || *r.rows[2].ratio != 40 {
		t.Errorf("got %+v, want ratios 3 and 40 in the second and third of three rows", r.rows)
	}
}

func TestWhatWorkersSaw(t *testing.T) {
	began := time.Now()
	w := &workers{worked: map[string]int{}}
	for _, body := range []string{"a", "b", "a"} {
		w.done(body)
	}
	first := w.last
	w.done("b")
	if w.last != first {
		t.Error("a message that was worked on again counts as progress")
	}
	got := w.outcome(3, began)
	got.seconds = 0
	if want := (outcome{twice: 2, lost: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestOptionsChooseMeasurements(t *testing.T) {
	for name, test := range map[string]struct {
		options    options
		want, file string
	}{
		"all":                {options{}, names(measurements), "bench.json"},
		"some":               {options{only: "idle,drain"}, "drain, idle", "bench.json"},
		"beside KEDA":        {options{peers: true}, names(peerMeasurements), "bench-peers.json"},
		"some beside KEDA":   {options{peers: true, only: "kill"}, "kill", "bench-peers.json"},
		"of the other bench": {options{peers: true, only: "drain"}, "", "bench-peers.json"},
	} {
		all, file := test.options.chosen()
		if got := names(all); got != test.want || file != test.file {
			t.Errorf("%s: got %s for %s, want %s for %s", name, got, file, test.want, test.file)
		}
	}
	if !strings.Contains(names(peerMeasurements), "kill") {
		t.Error("no operator is killed")
	}
}
