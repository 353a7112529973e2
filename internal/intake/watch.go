package intake

import (
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// busyInterval and idleInterval are how often a queue is asked for its numbers: each answer costs a request.
const (
	busyInterval = 10 * time.Second
	idleInterval = time.Minute
)

// askQueue asks the queue for its numbers, and returns when to ask again: soon while some messages wait, else seldom.
func (l *Loop) askQueue() time.Time {
	if l.stop.Err() != nil {
		return time.Time{}
	}
	l.asked.Store(l.deps.Clock.Now().UnixNano())
	settings, err := l.queue.Settings(l.stop)
	if l.stop.Err() != nil {
		return time.Time{}
	}
	l.report.asked(settings, err, l.polling.Load())
	interval := idleInterval
	if err == nil && (settings.VisibleMessages > 0 || settings.InFlightMessages > 0) {
		interval = busyInterval
	}
	return l.deps.Clock.Now().Add(wait.Jitter(interval, 0.1))
}

// stir has the queue asked soon, as messages came.
func (l *Loop) stir() { l.watch.by(time.Unix(0, l.asked.Load()).Add(busyInterval)) }
