package pods

import (
	"reflect"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func ended(code int32, reason, message string, at time.Time) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message, FinishedAt: metav1.NewTime(at)}
}

func pod(name string, change func(*corev1.Pod)) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{NodeName: "node-of-" + name}}
	change(&p)
	return p
}

func TestTheContainerThatFailedLastTells(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	first := pod("first", func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "work", State: corev1.ContainerState{Terminated: ended(1, "Error", "early", at)}}}
	})
	last := pod("last", func(p *corev1.Pod) {
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "fetch", State: corev1.ContainerState{Terminated: ended(0, "Completed", "", at.Add(time.Hour))}}}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name:                 "work",
			State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
			LastTerminationState: corev1.ContainerState{Terminated: ended(137, "OOMKilled", "late", at.Add(time.Minute))},
		}}
	})
	evicted := pod("evicted", func(p *corev1.Pod) {
		p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, "Evicted", "The node was low on memory."
	})
	for name, c := range map[string]struct {
		pods []corev1.Pod
		want *End
	}{
		"no Pods":                               {nil, nil},
		"the last one, before it started again": {[]corev1.Pod{last, first}, &End{Pod: "last", Node: "node-of-last", Container: "work", ExitCode: new(int32(137)), Reason: "OOMKilled", Message: "late"}},
		"a container before a Pod":              {[]corev1.Pod{evicted, first}, &End{Pod: "first", Node: "node-of-first", Container: "work", ExitCode: new(int32(1)), Reason: "Error", Message: "early"}},
		"a Pod without a container":             {[]corev1.Pod{evicted}, &End{Pod: "evicted", Node: "node-of-evicted", Reason: "Evicted", Message: "The node was low on memory."}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := LastEnd(c.pods); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestCausesAreOrderedAndTheSameEachTime(t *testing.T) {
	waits := func(name, reason, message string) corev1.Pod {
		return pod(name, func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "work", State: corev1.ContainerState{
				Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message},
			}}}
		})
	}
	unschedulable := pod("d", func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes are available"}}
	})
	fresh := pod("e", func(*corev1.Pod) {})
	all := []corev1.Pod{
		waits("c", "ContainerCreating", ""), unschedulable, fresh, waits("b", "ImagePullBackOff", "of b"), waits("a", "ErrImagePull", "of a"),
		waits("f", "no such reason", "of f"),
	}
	want := []Cause{
		{Reason: "ErrImagePull", Pods: 2, Pod: "a", Message: "of a"},
		{Reason: "Unschedulable", Pods: 1, Pod: "d", Message: "0/3 nodes are available"},
		{Reason: "Waiting", Pods: 1, Pod: "f", Message: "of f"},
	}
	if got := causes(all); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
