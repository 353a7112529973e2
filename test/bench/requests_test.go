package main

import (
	"os"
	"testing"

	"github.com/queuebinding/queuebinding/test/rig"
)

// The operator as it is built writes once for each message, and its status at most once a second. How many messages share a
// request to SQS depends on how fast the machine is; internal/intake has a test of that with a clock of its own.
func TestWritesPerMessage(t *testing.T) {
	ctx := t.Context()
	cluster, err := rig.StartCluster(ctx, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cluster.End(t.Failed()); err != nil {
			t.Error(err)
		}
	}()
	suite, err := newSuite(ctx, cluster, amounts{counted: 200}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer suite.close()
	counted, err := suite.countRequests(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if counted.writes != counted.messages {
		t.Errorf("%d messages took %d writes, want one each", counted.messages, counted.writes)
	}
	// One at once, and then one a second.
	if most := 2 + int(counted.elapsed.Seconds()); counted.statuses > most {
		t.Errorf("the status was written %d times in %s, want at most %d", counted.statuses, counted.elapsed, most)
	}
	if receives := counted.messages/10 + 5; counted.receives > receives {
		t.Errorf("%d messages took %d receives, want at most %d", counted.messages, counted.receives, receives)
	}
}

func TestQuantile(t *testing.T) {
	numbers := []float64{5, 1, 4, 2, 3}
	for share, want := range map[float64]float64{0: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := quantile(numbers, share); got != want {
			t.Errorf("quantile %v: got %v, want %v", share, got, want)
		}
	}
}

func TestAGoalThatIsMissedIsCounted(t *testing.T) {
	r := &report{}
	r.add("fast enough", 0.95, "ratio", nearBare)
	r.add("too slow", 0.85, "ratio", nearBare)
	r.add("too large", 251, "MiB", atMost(250))
	r.add("no goal", 1, "ms", goalless)
	if got := r.missed(); got != 2 {
		t.Errorf("got %d missed goals, want 2", got)
	}
}
