package intake

import (
	"context"
	"time"

	"github.com/queuebinding/queuebinding/internal/queue"
)

const (
	// acknowledgeDelay is how long an acknowledgement waits for others to share its request.
	acknowledgeDelay = 50 * time.Millisecond
	// acknowledgeAttempts bounds the tries to delete a message. After that it comes back, and its Job is found.
	acknowledgeAttempts = 5
)

// acknowledge asks for a message to be deleted. Its Job exists.
func (l *Loop) acknowledge(message *queue.Message) {
	l.acknowledgements <- message.ReceiptHandle
}

// acknowledgeAll deletes what was acknowledged, in batches, until the channel is closed and empty.
func (l *Loop) acknowledgeAll() {
	for handle := range l.acknowledgements {
		batch := []string{handle}
		timer := l.deps.Clock.NewTimer(acknowledgeDelay)
	collect:
		for len(batch) < queue.MaxBatch {
			select {
			case handle, ok := <-l.acknowledgements:
				if !ok {
					break collect
				}
				batch = append(batch, handle)
			case <-timer.C():
				break collect
			}
		}
		timer.Stop()
		// A slow delete must not hold up the next ones.
		l.deletes.Go(func() { l.deleteMessages(batch) })
	}
	l.deletes.Wait()
}

func (l *Loop) deleteMessages(handles []string) {
	all := handles
	backoff := freshBackoff()
	for attempt := 1; len(handles) > 0 && attempt <= acknowledgeAttempts; attempt++ {
		if l.bindingIsGone() {
			// Its Jobs go with it: the queue is the only place that the messages have left.
			l.queue.ChangeVisibility(l.requests, handles, 0)
			break
		}
		if attempt > 1 {
			sleep(l.requests, l.deps.Clock, backoff.Step())
		}
		var again []string
		for i, err := range l.queue.Delete(l.requests, handles) {
			switch {
			case err == nil:
				l.deps.Metrics.Acknowledged(l.key)
			case queue.ReasonOf(err) == queue.ReceiptHandleInvalid:
				l.log.V(1).Info("Could not acknowledge a message that was received again", "cause", err.Error())
			default:
				again = append(again, handles[i])
				l.log.V(1).Info("Could not acknowledge a message", "attempt", attempt, "cause", err.Error())
			}
		}
		handles = again
	}
	for _, handle := range all {
		l.held.drop(handle)
	}
}

// giveBack makes a message visible to all at once.
func (l *Loop) giveBack(message *queue.Message) {
	l.held.drop(message.ReceiptHandle)
	for _, err := range l.queue.ChangeVisibility(l.requests, []string{message.ReceiptHandle}, 0) {
		if err != nil {
			l.log.V(1).Info("Could not give back a message; it returns when its visibility timeout ends", "messageID", message.ID, "cause", err.Error())
		}
	}
}

// sleep waits, or until the context ends.
func sleep(ctx context.Context, c interface {
	After(time.Duration) <-chan time.Time
}, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-c.After(d):
	}
}
