package intake

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// busyInterval and idleInterval are how often a queue is asked for its numbers: each answer costs a request.
const (
	busyInterval = 10 * time.Second
	idleInterval = time.Minute
)

// watchQueue asks the queue for its numbers, soon after messages came and while some wait, else seldom.
func (l *Loop) watchQueue(ctx context.Context) {
	for {
		asked := l.deps.Clock.Now()
		settings, err := l.queue.Settings(ctx)
		if ctx.Err() != nil {
			return
		}
		l.report.asked(settings, err, l.polling.Load())
		interval := idleInterval
		if err == nil && (settings.VisibleMessages > 0 || settings.InFlightMessages > 0) {
			interval = busyInterval
		}
		select {
		case <-ctx.Done():
		case <-l.deps.Clock.After(wait.Jitter(interval, 0.1)):
		case <-l.stirred:
			sleep(ctx, l.deps.Clock, busyInterval-l.deps.Clock.Since(asked))
		}
	}
}
