package requeue

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

// Refusal says why a Job cannot be requeued for a binding, or is nil where it can. A trimmed Job serves it well.
func Refusal(binding *v1alpha1.QueueBinding, asked *batchv1.Job) *v1alpha1.RequeueRefusal {
	if job.Owner(asked) != binding.UID {
		return &v1alpha1.RequeueRefusal{
			JobName: asked.Name, Reason: v1alpha1.RefusedNotOwned,
			Message: fmt.Sprintf("the Job does not belong to QueueBinding %s", binding.Name),
		}
	}
	switch job.Observe(asked).State {
	case job.Active:
		return &v1alpha1.RequeueRefusal{
			JobName: asked.Name, Reason: v1alpha1.RefusedNotFailed,
			Message: "the Job has not finished; only failed Jobs can be requeued",
		}
	case job.Succeeded:
		return &v1alpha1.RequeueRefusal{
			JobName: asked.Name, Reason: v1alpha1.RefusedNotFailed,
			Message: "the Job succeeded; only failed Jobs can be requeued",
		}
	}
	return nil
}

// NotFound is the refusal of a name that no Job has.
func NotFound(name string) v1alpha1.RequeueRefusal {
	return v1alpha1.RequeueRefusal{JobName: name, Reason: v1alpha1.RefusedNotFound, Message: "there is no Job of this name in the namespace"}
}

// Room divides names into those that an intent has room for beside its own, and those for which it has none: an intent
// of more than MaxNames is refused as a whole. Names that it holds already take no room.
func (i Intent) Room(names []string) (fits, rest []string) {
	room := MaxNames - len(i.Names)
	for _, name := range names {
		_, held := i.Names[name]
		switch {
		case held:
			fits = append(fits, name)
		case room > 0:
			fits = append(fits, name)
			room--
		default:
			rest = append(rest, name)
		}
	}
	return slices.Clip(fits), rest
}
