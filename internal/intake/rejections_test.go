package intake

import (
	"testing"
	"time"
)

func TestRetryDelay(t *testing.T) {
	for receives, want := range map[int]time.Duration{
		1: 30 * time.Second, 2: time.Minute, 3: 2 * time.Minute, 5: 8 * time.Minute, 6: 15 * time.Minute, 1000: 15 * time.Minute,
	} {
		if got := retryDelay(receives); got != want {
			t.Errorf("at receive %d: got %s, want %s", receives, got, want)
		}
	}
}
