package timer

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"
)

func TestATimerFiresAtTheSoonestTimeAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var fired []time.Duration
		again := time.Time{}
		a := New(clock.RealClock{}, func() time.Time {
			fired = append(fired, time.Since(began))
			time.Sleep(time.Second)
			return again
		})
		in := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
		a.FireBy(in(30))
		a.FireBy(in(10))
		a.FireBy(in(20)) // it fires before
		time.Sleep(10*time.Second + 500*time.Millisecond)
		a.FireBy(in(12)) // while it is at it
		time.Sleep(4 * time.Second)
		again = in(50)
		a.FireBy(began) // late is at once
		time.Sleep(2 * time.Second)
		again = time.Time{}
		time.Sleep(time.Minute)
		a.FireBy(in(100))
		a.Stop()
		a.FireBy(in(101))
		time.Sleep(time.Minute)
		if got, want := fmt.Sprint(fired), "[10s 12s 14.5s 50s]"; got != want {
			t.Errorf("fired at %s, want %s", got, want)
		}
	})
}

func TestStopWaitsForTheCallUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := false
		a := New(clock.RealClock{}, func() time.Time {
			time.Sleep(time.Minute)
			over = true
			return time.Now()
		})
		a.FireBy(time.Now())
		time.Sleep(time.Second)
		a.Stop()
		if !over {
			t.Error("stop did not wait")
		}
	})
}

func TestWhatOutlivesAContextEndsSoonAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		lasting, cancel := Outlive(ctx, clock.RealClock{}, 30*time.Second)
		defer cancel()
		time.Sleep(time.Hour)
		stop()
		time.Sleep(29 * time.Second)
		if lasting.Err() != nil {
			t.Error("it ended too soon")
		}
		time.Sleep(2 * time.Second)
		if lasting.Err() == nil {
			t.Error("it went on")
		}
	})
}
