package creator

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"

	"github.com/queuebinding/queuebinding/internal/timer"
)

func TestWhileTheGateIsClosedOneTriesAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reasons []string
		g := newGate(clock.RealClock{}, func(reason, _ string) { reasons = append(reasons, reason) })
		if err := g.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.refuse("QuotaExceeded", "")

		tried := make(chan time.Duration, 10)
		start := time.Now()
		for range 3 {
			go func() {
				if g.enter(t.Context()) == nil {
					tried <- time.Since(start)
				}
			}()
		}
		synctest.Wait()
		if len(tried) != 0 {
			t.Fatal("one tried at once")
		}
		first := <-tried
		if first < timer.FirstRetry || first > 2*timer.FirstRetry {
			t.Errorf("the first try came after %s", first)
		}
		synctest.Wait()
		if len(tried) != 0 {
			t.Fatal("two tried at a time")
		}
		g.refuse("QuotaExceeded", "")
		second := <-tried
		if second-first < 2*timer.FirstRetry {
			t.Errorf("the second try came %s after the first, no later than the first", second-first)
		}
		g.pass()
		synctest.Wait()
		if len(tried) != 1 || g.isClosed() {
			t.Error("the gate did not open for all")
		}
		if len(reasons) != 3 || reasons[2] != "" {
			t.Errorf("told %q", reasons)
		}
	})
}

func TestTheWaitAtTheGateIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(clock.RealClock{}, func(string, string) {})
		for range 20 {
			if err := g.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
			g.refuse("", "")
		}
		start := time.Now()
		if err := g.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited > timer.LongestRetry*3/2 {
			t.Errorf("waited %s", waited)
		}
	})
}

func TestAnAbandonedTryLetsAnotherOneTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(clock.RealClock{}, func(string, string) {})
		g.refuse("", "")
		if err := g.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.abandon()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.enter(ctx); err != nil {
			t.Errorf("nobody may try any more: %v", err)
		}
	})
}
