package creator

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"

	"github.com/queuebinding/queuebinding/internal/timer"
)

// roomy is a gate's place with room for all who wait.
func roomy(bool) bool { return false }

func TestWhileTheGateIsClosedOneTriesAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reasons []string
		g := newGate(clock.RealClock{}, func(reason, _ string) { reasons = append(reasons, reason) }, roomy)
		mustEnter(t, g)
		g.refuse("QuotaExceeded", "")

		tried := make(chan time.Duration, 10)
		start := time.Now()
		for range 3 {
			go func() {
				if _, ok := g.enter(t.Context()); ok {
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
		g := newGate(clock.RealClock{}, func(string, string) {}, roomy)
		for range 20 {
			mustEnter(t, g)
			g.refuse("", "")
		}
		start := time.Now()
		mustEnter(t, g)
		if waited := time.Since(start); waited > timer.LongestRetry*3/2 {
			t.Errorf("waited %s", waited)
		}
	})
}

func TestAnAbandonedTryLetsAnotherOneTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(clock.RealClock{}, func(string, string) {}, roomy)
		g.refuse("", "")
		mustEnter(t, g)
		g.abandon()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, ok := g.enter(ctx); !ok {
			t.Error("nobody may try any more")
		}
	})
}

func mustEnter(t *testing.T, g *gate) {
	t.Helper()
	if _, ok := g.enter(t.Context()); !ok {
		t.Fatal("could not enter")
	}
}

func TestThoseWhoWaitTryInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(clock.RealClock{}, func(string, string) {}, roomy)
		g.refuse("", "")
		ctx, cancel := context.WithCancel(t.Context())
		var tried []string
		for _, name := range []string{"a", "b", "c"} {
			go func() {
				for {
					if _, ok := g.enter(ctx); !ok {
						return
					}
					tried = append(tried, name)
					g.refuse("", "")
				}
			}()
			synctest.Wait()
		}
		time.Sleep(10 * time.Minute)
		cancel()
		synctest.Wait()
		for i, name := range tried {
			if want := string("abc"[i%3]); name != want {
				t.Fatalf("tried in the order %v", tried)
			}
		}
		if len(tried) < 15 {
			t.Errorf("%d tries in ten minutes", len(tried))
		}
	})
}
