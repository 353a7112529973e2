package timer

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
)

// The shortest and the longest delay of Backoff, jitter aside.
const (
	FirstRetry   = 500 * time.Millisecond
	LongestRetry = 30 * time.Second
)

// Backoff is the delays between tries of a request that failed through nobody's message. It may be copied to begin anew.
func Backoff() wait.Backoff {
	return wait.Backoff{Duration: FirstRetry, Factor: 2, Jitter: 0.5, Steps: 64, Cap: LongestRetry}
}

// Sleep waits for d, or until the context ends.
func Sleep(ctx context.Context, c clock.Clock, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-c.After(d):
	}
}

// Outlive returns a context that ends d after ctx does, or with the function that it returns: what was begun before ctx ended
// has that long to be finished.
func Outlive(ctx context.Context, c clock.Clock, d time.Duration) (context.Context, context.CancelFunc) {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		Sleep(lasting, c, d)
		cancel()
	})
	return lasting, func() {
		stop()
		cancel()
	}
}
