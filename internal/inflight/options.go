package inflight

import (
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"github.com/queuebinding/queuebinding/internal/queue"
)

// Options are what Messages needs.
type Options struct {
	Queue queue.Queue
	Clock clock.WithDelayedExecution
	Log   logr.Logger
	// FIFO reports whether the queue is one: SQS holds back what is behind a message in its group.
	FIFO bool
	// Visibility returns for how long messages are hidden at a time. It may change.
	Visibility func() time.Duration
	// Deleted, where it is set, is called for each message that was deleted.
	Deleted func()
	// Returned, where it is set, is called for each message that was given back, with the reason that Return was told, or an empty one
	// where ReturnUndone kept it from being deleted.
	Returned func(reason string)
	// Extended, where it is set, is called for each extension of a visibility timeout that the queue took or was too late for. late
	// reports whether the timeout had ended before, as far as that is known.
	Extended func(done, late bool)
}
