package controller

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/events"
)

// turns are the events that tell how conditions changed from one status to the next: conditions show how things are, and not that
// they were otherwise an hour ago. There are at most as many as writes of the status, and the API server gets less, as the recorder counts
// what happens again.
func turns(before, after []metav1.Condition) []events.Event {
	var all []events.Event
	if ready := meta.FindStatusCondition(after, v1alpha1.ConditionReady); ready != nil {
		was := meta.FindStatusCondition(before, v1alpha1.ConditionReady)
		stopped := was != nil && was.Status == metav1.ConditionFalse
		switch {
		case ready.Status == metav1.ConditionFalse && !stopped:
			all = append(all, events.Stopped(ready.Reason, ready.Message))
		case ready.Reason == v1alpha1.ReasonRunning && stopped:
			all = append(all, events.Resumed(was.Reason))
		}
	}
	starting := meta.FindStatusCondition(after, v1alpha1.ConditionPodsStarting)
	if starting != nil && starting.Status == metav1.ConditionFalse && !meta.IsStatusConditionFalse(before, v1alpha1.ConditionPodsStarting) {
		all = append(all, events.PodsNotStarting(starting.Reason))
	}
	return all
}
