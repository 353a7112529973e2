package pods

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
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
		{Reason: "Waiting", Pods: 1, Pod: "f", Message: untold},
	}
	if got := causesOf(all...); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// P5: the kubelet's words may quote a command or a path, and these a message.
func TestWordsThatMayQuoteAMessageAreLeftOut(t *testing.T) {
	const quoted = `exec: "canary": executable file not found in $PATH`
	for reason, words := range map[string]map[string]bool{
		"ErrImagePull":               {`Back-off pulling image "nope"`: true},
		"RunContainerError":          {quoted: false},
		"CreateContainerError":       {quoted: false},
		"CreateContainerConfigError": {`secret "keys" not found`: true, `couldn't find key a in ConfigMap batch/b`: true, `failed to prepare subPath for volumeMount "canary"`: false},
		"PostStartHookError":         {quoted: false},
	} {
		for message, told := range words {
			waiting := pod("a", func(p *corev1.Pod) {
				p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "work", State: corev1.ContainerState{
					Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message},
				}}}
			})
			if got := causesOf(waiting); len(got) != 1 || got[0].Reason != reason || (got[0].Message == message) != told {
				t.Errorf("of %s with %q there is %+v", reason, message, got)
			}
		}
	}
	for reason, told := range map[string]bool{"Error": true, "OOMKilled": true, "StartError": false, "ContainerCannotRun": false} {
		failed := pod("a", func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "work", State: corev1.ContainerState{Terminated: ended(128, reason, quoted, time.Now())}}}
		})
		if got := LastEnd([]corev1.Pod{failed}); (got.Message == quoted) != told {
			t.Errorf("of %s there is %+v", reason, got)
		}
	}
}

func causesOf(all ...corev1.Pod) []Cause {
	found := causes{}
	for i := range all {
		found.add(&all[i])
	}
	return found.ordered()
}

// pager serves Pods in pages, as the API server does, and keeps the largest page that was asked for.
type pager struct {
	client.Reader
	pods    []corev1.Pod
	largest int64
}

func (p *pager) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	asked := (&client.ListOptions{}).ApplyOptions(options)
	from, _ := strconv.Atoi(asked.Continue)
	to := min(len(p.pods), from+int(asked.Limit))
	p.largest = max(p.largest, asked.Limit)
	found := list.(*corev1.PodList)
	if found.Items = p.pods[from:to]; to < len(p.pods) {
		found.Continue = strconv.Itoa(to)
	}
	return nil
}

// P5: Pods hold messages. However many wait, few are in memory at a time.
func TestPodsAreReadInPages(t *testing.T) {
	server := &pager{}
	for i := range mostWaiting + 50 {
		server.pods = append(server.pods, pod(fmt.Sprintf("pod-%03d", i), func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "work", State: corev1.ContainerState{
				Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "nope"},
			}}}
		}))
	}
	waiting, err := WhyWaiting(t.Context(), server, "batch", nil)
	if err != nil || !waiting.More || len(waiting.Causes) != 1 || waiting.Causes[0].Pods != mostWaiting || server.largest > page {
		t.Errorf("got %+v, %v, in pages of %d", waiting, err, server.largest)
	}
	server.pods = server.pods[:15]
	if waiting, err = WhyWaiting(t.Context(), server, "batch", nil); err != nil || waiting.More || waiting.Causes[0].Pods != 15 {
		t.Errorf("got %+v, %v", waiting, err)
	}
	if _, err := EndOf(t.Context(), server, "batch", "job"); err != nil || server.largest > page {
		t.Errorf("%v, in pages of %d", err, server.largest)
	}
}
