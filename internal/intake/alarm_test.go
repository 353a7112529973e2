package intake

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"
)

func TestAnAlarmRingsAtTheSoonestTimeAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var rung []time.Duration
		again := time.Time{}
		a := newAlarm(clock.RealClock{}, func() time.Time {
			rung = append(rung, time.Since(began))
			time.Sleep(time.Second)
			return again
		})
		in := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
		a.by(in(30))
		a.by(in(10))
		a.by(in(20)) // it rings before
		time.Sleep(10*time.Second + 500*time.Millisecond)
		a.by(in(12)) // while it is at it
		time.Sleep(4 * time.Second)
		again = in(50)
		a.by(began) // late is at once
		time.Sleep(2 * time.Second)
		again = time.Time{}
		time.Sleep(time.Minute)
		a.by(in(100))
		a.stop()
		a.by(in(101))
		time.Sleep(time.Minute)
		if got, want := fmt.Sprint(rung), "[10s 12s 14.5s 50s]"; got != want {
			t.Errorf("rang at %s, want %s", got, want)
		}
	})
}

func TestAStoppedAlarmIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := false
		a := newAlarm(clock.RealClock{}, func() time.Time {
			time.Sleep(time.Minute)
			over = true
			return time.Now()
		})
		a.by(time.Now())
		time.Sleep(time.Second)
		a.stop()
		if !over {
			t.Error("stop did not wait")
		}
	})
}
