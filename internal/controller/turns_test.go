package controller

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

func TestEventsTellWhenConditionsTurn(t *testing.T) {
	const yes, no, unknown = metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown
	ready := func(status metav1.ConditionStatus, reason string) metav1.Condition {
		return metav1.Condition{Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: "why " + reason}
	}
	pods := func(status metav1.ConditionStatus, reason string) metav1.Condition {
		return metav1.Condition{Type: v1alpha1.ConditionPodsStarting, Status: status, Reason: reason, Message: "why " + reason}
	}
	for name, tc := range map[string]struct {
		before, after []metav1.Condition
		want          []string
	}{
		"a new binding that works":   {nil, []metav1.Condition{ready(yes, "Running"), pods(yes, "PodsStart")}, nil},
		"a new binding that starts":  {nil, []metav1.Condition{ready(unknown, "Starting")}, nil},
		"a new one that cannot work": {nil, []metav1.Condition{ready(no, "JobInvalid")}, []string{"Warning Stopped JobInvalid"}},
		"it stops": {
			[]metav1.Condition{ready(yes, "Running")}, []metav1.Condition{ready(no, "FailedJobsLimitReached")},
			[]string{"Warning Stopped FailedJobsLimitReached"},
		},
		"its queue is gone when it starts": {
			[]metav1.Condition{ready(unknown, "Starting")}, []metav1.Condition{ready(no, "QueueNotFound")}, []string{"Warning Stopped QueueNotFound"},
		},
		"it stays stopped":                  {[]metav1.Condition{ready(no, "Throttled")}, []metav1.Condition{ready(no, "Unreachable")}, nil},
		"it goes on":                        {[]metav1.Condition{ready(no, "Throttled")}, []metav1.Condition{ready(yes, "Running")}, []string{"Normal Resumed Receive"}},
		"the user suspends it":              {[]metav1.Condition{ready(yes, "Running")}, []metav1.Condition{ready(yes, "Suspended")}, nil},
		"the user suspends what stands":     {[]metav1.Condition{ready(no, "Throttled")}, []metav1.Condition{ready(yes, "Suspended")}, nil},
		"the operator starts, with no news": {[]metav1.Condition{ready(yes, "Running")}, []metav1.Condition{ready(unknown, "Starting")}, nil},
		"Pods do not start":                 {[]metav1.Condition{pods(yes, "PodsStart")}, []metav1.Condition{pods(no, "ErrImagePull")}, []string{"Warning PodsNotStarting Start"}},
		"Pods still do not":                 {[]metav1.Condition{pods(no, "ErrImagePull")}, []metav1.Condition{pods(no, "Unschedulable")}, nil},
		"Pods cannot be read":               {[]metav1.Condition{pods(yes, "PodsStart")}, []metav1.Condition{pods(unknown, "PodsUnknown")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, event := range turns(tc.before, tc.after) {
				got = append(got, strings.Join([]string{event.Type, event.Reason, event.Action}, " "))
				if len(event.Note) > 1024 || !strings.Contains(event.Note, tc.after[0].Reason) && event.Reason != v1alpha1.EventResumed {
					t.Errorf("its note is %q", event.Note)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
