package intake

import (
	"time"

	"k8s.io/utils/ptr"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// defaultVisibilityTimeout is the schema's default, in seconds, for bindings that did not pass through it.
const defaultVisibilityTimeout = 60

// Settings are what a loop reads anew for each batch, so that changing them needs no new loop.
type Settings struct {
	// Binding is read only.
	Binding *v1alpha1.QueueBinding
	// Credentials are the identity that uses the queue. Other ones need a new loop.
	Credentials queue.Credentials
	// Variables are nil where they do not compile; nothing is received then.
	Variables *job.Variables
	// MaxStoredBytes is how many bytes of the API server's storage the binding's Jobs may take, or 0 for no limit.
	MaxStoredBytes int64
	// Paused reports whether nothing may be received, whatever the limits say.
	Paused bool
}

func (s *Settings) limits() ledger.Limits { return ledger.LimitsOf(&s.Binding.Spec, s.MaxStoredBytes) }

// onJobSucceeded reports whether messages stay on the queue until their Jobs have succeeded.
func (s *Settings) onJobSucceeded() bool {
	return s.Binding.Spec.Acknowledge == v1alpha1.AcknowledgeOnJobSucceeded
}

// receiving reports whether messages may become Jobs.
func (s *Settings) receiving() bool {
	return !s.Paused && s.Variables != nil && s.limits().MaxActive > 0
}

// visibility returns the visibility timeout.
func (s *Settings) visibility() time.Duration {
	return time.Duration(ptr.Deref(s.Binding.Spec.Queue.VisibilityTimeoutSeconds, defaultVisibilityTimeout)) * time.Second
}
