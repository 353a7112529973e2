// Package pods tells what became of the Pods of Jobs: how those of a failed Job ended, and why others do not start. Pods are asked
// for when that is to be told, and none is watched: a cluster has too many of them.
package pods

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// mostOfJob is how many Pods of one Job are looked at.
	mostOfJob = 50
	// mostWaiting is how many Pods that have not started are looked at.
	mostWaiting = 200
	// page is how many Pods are in memory at a time: each may hold a message, of up to a mebibyte with its variables.
	page = 10
)

// validReason matches what a condition's reason may be.
var validReason = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]{0,126}[A-Za-z0-9_])?$`)

// untold stands for words that may quote a command or a path, into which Kubernetes has put what a message says.
const untold = "the kubelet's words are left out, as they may quote a message: see the Pod"

// plainConfigError matches what a CreateContainerConfigError says of an object that is missing.
var plainConfigError = regexp.MustCompile(`^(secret|configmap) "[^"]*" not found$|^couldn't find key \S+ in (Secret|ConfigMap) \S+$`)

// waitingWords returns what may be told of why a container waits.
func waitingWords(waiting *corev1.ContainerStateWaiting) string {
	switch waiting.Reason {
	case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName":
		return waiting.Message
	case "CreateContainerConfigError":
		if plainConfigError.MatchString(waiting.Message) {
			return waiting.Message
		}
	}
	return untold
}

// endWords returns what may be told of a container's end. In place of the termination message of one that was never started there are
// the kubelet's words.
func endWords(ended *corev1.ContainerStateTerminated) string {
	switch ended.Reason {
	case "StartError", "ContainerCannotRun":
		return untold
	}
	return ended.Message
}

// End is how the container ended that failed last of a Job's Pods, or how a Pod ended whose containers do not tell.
type End struct {
	Pod, Node string
	// Container and ExitCode are empty where the Pod ended without that a container failed, such as when it was evicted.
	Container string
	ExitCode  *int32
	// Reason is the kubelet's word, such as OOMKilled, Error or Evicted.
	Reason string
	// Message is the container's termination message, or what the kubelet says. It is whole.
	Message string
}

// EndOf reads how a failed Job's Pods ended. It returns nil where none tells: the Job controller deletes the Pods of a Job that was
// ended for its deadline.
func EndOf(ctx context.Context, reader client.Reader, namespace, job string) (*End, error) {
	var last lastEnd
	_, err := each(ctx, reader, mostOfJob, last.add, client.InNamespace(namespace), client.MatchingLabels{batchv1.JobNameLabel: job})
	if err != nil {
		return nil, fmt.Errorf("list the Pods of Job %s: %w", job, err)
	}
	return last.get(), nil
}

// each calls look with each Pod, and with no more than most. It reads them page by page, and reports whether there are more.
func each(ctx context.Context, reader client.Reader, most int, look func(*corev1.Pod), options ...client.ListOption) (more bool, err error) {
	next := ""
	for seen := 0; seen < most; {
		list := &corev1.PodList{}
		if err := reader.List(ctx, list, append(options, client.Limit(page), client.Continue(next))...); err != nil {
			return false, err
		}
		for i := range list.Items {
			look(&list.Items[i])
		}
		if next = list.Continue; next == "" {
			return false, nil
		}
		seen += len(list.Items)
	}
	return true, nil
}

// Exist reports whether a Job has Pods.
func Exist(ctx context.Context, reader client.Reader, namespace, job string) (bool, error) {
	list := &corev1.PodList{}
	err := reader.List(ctx, list, client.InNamespace(namespace), client.MatchingLabels{batchv1.JobNameLabel: job}, client.Limit(1))
	if err != nil {
		return false, fmt.Errorf("list the Pods of Job %s: %w", job, err)
	}
	return len(list.Items) > 0, nil
}

// LastEnd returns how the container ended that failed last, or nil where none did.
func LastEnd(all []corev1.Pod) *End {
	var last lastEnd
	for i := range all {
		last.add(&all[i])
	}
	return last.get()
}

// lastEnd finds how the container ended that failed last.
type lastEnd struct {
	container, pod *End
	at             time.Time
}

func (l *lastEnd) add(pod *corev1.Pod) {
	for _, container := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		for _, ended := range []*corev1.ContainerStateTerminated{container.LastTerminationState.Terminated, container.State.Terminated} {
			if ended == nil || ended.ExitCode == 0 || ended.FinishedAt.Time.Before(l.at) {
				continue
			}
			l.at = ended.FinishedAt.Time
			l.container = &End{
				Pod: pod.Name, Node: pod.Spec.NodeName, Container: container.Name, ExitCode: new(ended.ExitCode),
				Reason: ended.Reason, Message: endWords(ended),
			}
		}
	}
	if l.pod == nil && pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" {
		l.pod = &End{Pod: pod.Name, Node: pod.Spec.NodeName, Reason: pod.Status.Reason, Message: pod.Status.Message}
	}
}

func (l *lastEnd) get() *End { return cmp.Or(l.container, l.pod) }

// Cause is why some Pods do not start.
type Cause struct {
	// Reason is the scheduler's or the kubelet's word, such as Unschedulable or ErrImagePull.
	Reason string
	// Pods is how many wait for it, Pod is one of them, and Message is what is said of that one.
	Pods    int
	Pod     string
	Message string
}

// Waiting is why Pods do not start.
type Waiting struct {
	// Causes are ordered by how many Pods wait for each, the most first. There are none where all Pods are on their way.
	Causes []Cause
	// More reports whether there are more Pods than were looked at.
	More bool
}

// WhyWaiting reads why Pods with these labels do not start.
func WhyWaiting(ctx context.Context, reader client.Reader, namespace string, labels map[string]string) (Waiting, error) {
	found := causes{}
	more, err := each(ctx, reader, mostWaiting, found.add, client.InNamespace(namespace), client.MatchingLabels(labels),
		client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("status.phase", string(corev1.PodPending))})
	if err != nil {
		return Waiting{}, fmt.Errorf("list the Pods that wait: %w", err)
	}
	return Waiting{Causes: found.ordered(), More: more}, nil
}

// causes are those found so far, by their reasons.
type causes map[string]*Cause

func (c causes) add(pod *corev1.Pod) {
	reason, message := waitsFor(pod)
	if reason == "" {
		return
	}
	if !validReason.MatchString(reason) { // anybody may have written a Pod's status
		reason = "Waiting"
	}
	cause := c[reason]
	if cause == nil {
		cause = &Cause{Reason: reason}
		c[reason] = cause
	}
	cause.Pods++
	// Always the same one, so that a status that tells it does not change with the order of a list.
	if cause.Pod == "" || pod.Name < cause.Pod {
		cause.Pod, cause.Message = pod.Name, message
	}
}

func (c causes) ordered() []Cause {
	found := make([]Cause, 0, len(c))
	for _, cause := range c {
		found = append(found, *cause)
	}
	slices.SortFunc(found, func(a, b Cause) int {
		return cmp.Or(cmp.Compare(b.Pods, a.Pods), strings.Compare(a.Reason, b.Reason))
	})
	return found
}

// waitsFor returns why a Pod does not start, or nothing where it is on its way.
func waitsFor(pod *corev1.Pod) (reason, message string) {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return condition.Reason, condition.Message
		}
	}
	for _, container := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		waiting := container.State.Waiting
		if waiting == nil {
			continue
		}
		switch waiting.Reason {
		case "", "ContainerCreating", "PodInitializing": // the kubelet is at it
		case "ImagePullBackOff": // the kubelet says the one and the other in turns
			return "ErrImagePull", waitingWords(waiting)
		default:
			return waiting.Reason, waitingWords(waiting)
		}
	}
	return "", ""
}
