package intake

import (
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/queuebinding/queuebinding/internal/job"
)

// overdueAfter is when a Job that was created and not seen is looked for, overdueAgain after how long again.
const (
	overdueAfter = 15 * time.Second
	overdueAgain = 5 * time.Second
)

// expect has Jobs looked for that are not seen in time.
func (l *Loop) expect() { l.overdue.by(l.deps.Clock.Now().Add(overdueAfter)) }

// settleOverdue looks for Jobs whose creation was never seen: because it did not happen, or because they were gone again
// before the cache saw them. It returns when to look again, if there is anything to look for.
func (l *Loop) settleOverdue() time.Time {
	names, more := l.ledger.Overdue(l.deps.Clock.Now().Add(-overdueAfter))
	for _, name := range names {
		if l.stop.Err() != nil || l.gate.isClosed() {
			break // the ones that wait there are still to be created
		}
		existing, err := l.read(l.stop, name)
		if apierrors.IsNotFound(err) || err == nil && job.Observe(existing).State != job.Active {
			l.ledger.Cancel(name)
		}
	}
	if !more || l.stop.Err() != nil {
		return time.Time{}
	}
	return l.deps.Clock.Now().Add(overdueAgain)
}
