package requeue

import (
	"fmt"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/labels"

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
	record := job.Observe(asked)
	switch record.State {
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
	if record.MessageOnQueue() {
		return &v1alpha1.RequeueRefusal{
			JobName: asked.Name, Reason: v1alpha1.RefusedMessageOnQueue,
			Message: "the Job was created under acknowledge: OnJobSucceeded, so that its message is still on the queue and will be tried again, or is in the dead-letter queue: " +
				"ask for `all` to have the dead-letter queue's messages moved back",
		}
	}
	return nil
}

// NotFound is the refusal of a name that no Job has.
func NotFound(name string) v1alpha1.RequeueRefusal {
	return v1alpha1.RequeueRefusal{JobName: name, Reason: v1alpha1.RefusedNotFound, Message: "there is no Job of this name in the namespace"}
}

// Select finds a binding's failed Jobs that are not on their way back already, oldest first. Reasons are those of the
// condition Failed; none means any.
func Select(binding *v1alpha1.QueueBinding, jobs []batchv1.Job, selector labels.Selector, reasons []string) []job.Record {
	var selected []job.Record
	for i := range jobs {
		record := job.Observe(&jobs[i])
		if Refusal(binding, &jobs[i]) != nil || record.Sent || record.Deleting {
			continue
		}
		if !selector.Matches(labels.Set(jobs[i].Labels)) || len(reasons) > 0 && !slices.Contains(reasons, record.Reason) {
			continue
		}
		selected = append(selected, record)
	}
	slices.SortFunc(selected, func(a, b job.Record) int {
		if c := a.Finished.Compare(b.Finished); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return selected
}

// Wish is what somebody asks for: all, or Jobs by name.
type Wish struct {
	All   bool
	Names []string
}

// Note merges a wish into an annotation's text. Names for which there is no room are refused: an intent of more than
// MaxNames would be refused as a whole. What cannot be read of the text is left there, for the leader to tell whoever
// wrote it.
func Note(text string, wish Wish) (merged string, accepted []string, refused []v1alpha1.RequeueRefusal) {
	asked, words := Parse(text)
	if wish.All {
		asked, accepted = asked.Merge(Intent{All: true}), wish.Names
	} else {
		fits, rest := asked.room(wish.Names)
		asked, accepted = asked.Merge(Named(fits...)), fits
		for _, name := range rest {
			refused = append(refused, v1alpha1.RequeueRefusal{
				JobName: name, Reason: v1alpha1.RefusedLimitReached,
				Message: fmt.Sprintf("at most %d Jobs can be asked for by name at a time: ask again once these are on the queue, or ask for all", MaxNames),
			})
		}
	}
	if !asked.IsEmpty() {
		words = append(words, asked.String())
	}
	return strings.Join(words, ","), accepted, refused
}

// room divides names into those that an intent has room for beside its own, and the rest. Names that it holds already
// take no room.
func (i Intent) room(names []string) (fits, rest []string) {
	free := MaxNames - len(i.Names)
	for _, name := range names {
		_, held := i.Names[name]
		switch {
		case held:
			fits = append(fits, name)
		case free > 0:
			fits = append(fits, name)
			free--
		default:
			rest = append(rest, name)
		}
	}
	return fits, rest
}
