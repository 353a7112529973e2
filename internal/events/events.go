// Package events holds every event that is recorded on a binding, each as a constructor, so that what owners of bindings
// read stands in one file. It records through client-go's recorder and decides nothing.
package events

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

const (
	// maxListed is how many Jobs a note names.
	maxListed = 10
	// maxCallerLength bounds what a note says of a caller, in bytes: it must also hold names.
	maxCallerLength = 200
)

// Event is something worth telling the owner of a binding.
type Event struct {
	// Type is corev1.EventTypeNormal or corev1.EventTypeWarning.
	Type string
	// Reason is one of the API's Event… constants, Action what was being done.
	Reason, Action string
	// Note is for people. The API server takes 1,024 bytes.
	Note string
	// Related is a second object that the event is about, or nil. Events that differ in their note alone are counted as one.
	Related runtime.Object
}

// Recorder records events on bindings.
type Recorder struct{ recorder events.EventRecorder }

// NewRecorder records through a manager's recorder.
func NewRecorder(recorder events.EventRecorder) *Recorder { return &Recorder{recorder} }

// Record records an event on a binding. The binding is named without a resourceVersion, with which each event would begin
// a new series.
func (r *Recorder) Record(binding types.NamespacedName, uid types.UID, event Event) {
	regarding := &corev1.ObjectReference{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "QueueBinding",
		Namespace: binding.Namespace, Name: binding.Name, UID: uid,
	}
	r.recorder.Eventf(regarding, event.Related, event.Type, event.Reason, event.Action, "%s", event.Note)
}

// GroupOverlap tells that the Jobs of a FIFO queue's group may overlap.
func GroupOverlap() Event {
	return normal(v1alpha1.EventGroupOverlap, "Start", "Jobs of a message group are created in order and may run side by side")
}

// MessageRejected tells that a message could not become a Job.
func MessageRejected(messageID, reason, cause string) Event {
	return warning(v1alpha1.EventMessageRejected, "Receive", "%s: message %s: %s", reason, messageID, Truncate(cause))
}

// Stopped tells that Ready became False, for this reason. The reason is the action, so that one cause is not counted as another.
func Stopped(reason, cause string) Event {
	return warning(v1alpha1.EventStopped, reason, "No more messages become Jobs: %s: %s", reason, Truncate(cause))
}

// Resumed tells that messages become Jobs again, after they did not for this reason.
func Resumed(reason string) Event {
	return normal(v1alpha1.EventResumed, "Receive", "Messages become Jobs again, which they did not: %s", reason)
}

// PodsNotStarting tells that PodsStarting became False, for this reason. The words of kubelets, which may quote a command and thus a
// message, are left to the condition.
func PodsNotStarting(reason string) Event {
	return warning(v1alpha1.EventPodsNotStarting, "Start", "Pods of the Jobs do not start: %s: the condition %s has the words", reason, v1alpha1.ConditionPodsStarting)
}

// RequeueAsked names who asked for which Jobs to be requeued; all stands for all that have failed, names for those of now.
func RequeueAsked(caller string, all bool, names []string) Event {
	if caller == "" {
		caller = "an unknown user"
	}
	caller = strings.ToValidUTF8(caller[:min(len(caller), maxCallerLength)], "")
	what := fmt.Sprintf("%d failed Jobs: %s", len(names), list(names))
	if all {
		what = fmt.Sprintf("all failed Jobs, %d by now", len(names))
	}
	event := normal(v1alpha1.EventRequeueAsked, "Requeue", "%s asked to requeue %s", caller, what)
	event.Related = &corev1.ObjectReference{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "User", Name: caller}
	return event
}

// Requeued tells that the messages of failed Jobs were sent again.
func Requeued(names []string) Event {
	return normal(v1alpha1.EventRequeued, "Requeue", "Sent %s again: %s", messagesOf(names), list(names))
}

// RequeuedUntied tells that messages were sent again without a lineage.
func RequeuedUntied(names []string) Event {
	return warning(v1alpha1.EventRequeued, "Requeue",
		"Sent %s without a lineage, for want of room: the failed Jobs stay until you delete them, and sending again runs the work again: %s",
		messagesOf(names), list(names))
}

// RedriveStarted tells that SQS moves the messages of the dead-letter queue back.
func RedriveStarted() Event {
	return normal(v1alpha1.EventRedriveStarted, "Requeue", "SQS moves the messages of the dead-letter queue back to the queue")
}

// RequeueRefused tells how many Jobs were not requeued, and why the first was not. There must be one.
func RequeueRefused(refused []v1alpha1.RequeueRefusal) Event {
	return warning(v1alpha1.EventRequeueRefused, "Requeue", "Refused %d; the first is %s: %s",
		len(refused), refused[0].JobName, Truncate(refused[0].Message))
}

// RequeueDelayed tells that a requeue failed and is tried again.
func RequeueDelayed(cause error) Event {
	return warning(v1alpha1.EventRequeueDelayed, "Requeue", "A requeue could not be finished and is tried again: %s", Truncate(cause.Error()))
}

func normal(reason, action, note string, args ...any) Event {
	return Event{Type: corev1.EventTypeNormal, Reason: reason, Action: action, Note: fmt.Sprintf(note, args...)}
}

func warning(reason, action, note string, args ...any) Event {
	return Event{Type: corev1.EventTypeWarning, Reason: reason, Action: action, Note: fmt.Sprintf(note, args...)}
}

func messagesOf(names []string) string {
	if len(names) == 1 {
		return "the message of a failed Job"
	}
	return fmt.Sprintf("the messages of %d failed Jobs", len(names))
}

// list names Jobs, not so many that the event would be refused.
func list(names []string) string {
	if len(names) <= maxListed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), len(names)-maxListed)
}

// Truncate cuts a text so that it fits into a note, or into a condition's message, beside some words of ours.
func Truncate(text string) string { return TruncateTo(text, 700) }

// TruncateTo cuts a text to so many bytes, without an ellipsis that tells.
func TruncateTo(text string, most int) string {
	if len(text) <= most {
		return text
	}
	cut := most
	for cut > 0 && text[cut]&0xC0 == 0x80 { // not within a character
		cut--
	}
	return text[:cut] + "…"
}
