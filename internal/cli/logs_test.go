package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

const (
	bindingsPath = "/apis/queuebinding.dev/v1alpha1/namespaces/shop/queuebindings"
	jobsPath     = "/apis/batch/v1/namespaces/shop/jobs"
	podsPath     = "/api/v1/namespaces/shop/pods"
)

func newScriptedAPI(t *testing.T) *scriptedAPI {
	a := &scriptedAPI{t: t, objects: map[string][]client.Object{}, logs: map[string]string{}}
	a.put(bindingsPath, &v1alpha1.QueueBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "pings", UID: "uid"}})
	a.put(jobsPath)
	a.put(podsPath)
	return a
}

// addJob adds a Job of the binding that failed some minutes ago, or goes on where that is 0.
func (a *scriptedAPI) addJob(name string, failedAgo time.Duration) *batchv1.Job {
	made := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: name, UID: "uid-of-" + types.UID(name), CreationTimestamp: metav1.NewTime(now.Add(-time.Hour)),
		Labels: map[string]string{v1alpha1.LabelBinding: "pings"},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "QueueBinding", Name: "pings", UID: "uid", Controller: new(true),
		}},
		Annotations: map[string]string{v1alpha1.AnnotationMessageID: "m-" + name, v1alpha1.AnnotationAttempt: "1"},
	}}
	if failedAgo > 0 {
		made.Status.Conditions = []batchv1.JobCondition{{
			Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: "BackoffLimitExceeded", LastTransitionTime: metav1.NewTime(now.Add(-failedAgo)),
		}}
	}
	a.put(jobsPath, made)
	return made
}

// addPod adds a Pod of a Job with containers in these states.
func (a *scriptedAPI) addPod(job string, containers ...corev1.ContainerStatus) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: job + "-a", Labels: map[string]string{batchv1.JobNameLabel: job, v1alpha1.LabelBinding: "pings"},
	}}
	pod.Status.ContainerStatuses = containers
	a.put(podsPath, pod)
}

func ended(name string, restarts int32) corev1.ContainerStatus {
	return corev1.ContainerStatus{
		Name: name, RestartCount: restarts,
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}},
	}
}

func TestLogsOfFailedJobsComeWithTheNamesOfTheirPods(t *testing.T) {
	a := newScriptedAPI(t)
	for i := range 12 {
		name := fmt.Sprintf("pings-%d", i)
		a.addJob(name, time.Duration(i+1)*time.Minute)
		a.addPod(name, ended("work", 0), ended("proxy", 0))
		a.logs[name+"-a/work"], a.logs[name+"-a/proxy"] = "first\nlast", "bye\n"
	}
	a.addJob("pings-runs", 0)
	a.addPod("pings-runs", ended("work", 0))

	out, messages, code := a.run(false, "logs", "pings", "--failed")
	if code != 0 || messages != "note: 2 failed Jobs more: see --limit\n" {
		t.Errorf("it ends with %d and says %q", code, messages)
	}
	if want := "[pings-0-a work] first\n[pings-0-a work] last\n[pings-0-a proxy] bye\n[pings-1-a work] first\n"; !strings.HasPrefix(out, want) || strings.Count(out, "\n") != 30 {
		t.Errorf("it prints\n%s", out)
	}
	if out, messages, _ := a.run(false, "logs", "pings", "--failed", "--limit=12"); strings.Count(out, "\n") != 36 || messages != "" {
		t.Errorf("it prints\n%s%s", out, messages)
	}
}

func TestLogsThatCannotBeHadAreToldAndTheOthersPrinted(t *testing.T) {
	a := newScriptedAPI(t)
	a.addJob("pings-gone", time.Minute)
	a.addJob("pings-lost", 2*time.Minute)
	a.addPod("pings-lost", ended("work", 0), corev1.ContainerStatus{
		Name: "late", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull"}},
	})
	a.addJob("pings-kept", 3*time.Minute)
	a.addPod("pings-kept", ended("work", 2), ended("proxy", 0))
	a.logs["pings-kept-a/work"], a.logs["pings-kept-a/proxy"], a.logs["pings-kept-a/work/previous"] = "now\n", "here\n", "then\n"

	out, messages, code := a.run(false, "logs", "pings", "--failed")
	if code != 0 || out != "[pings-kept-a work] now\n[pings-kept-a proxy] here\n" {
		t.Errorf("it ends with %d and prints\n%s", code, out)
	}
	for _, want := range []string{
		"note: job.batch/pings-gone has no Pods any more, and so no logs\n",
		"note: the log of container work of pod/pings-lost-a cannot be had: no log of pings-lost-a/work^[[2J\n",
		"note: container late of pod/pings-lost-a has not started: ErrImagePull\n",
	} {
		if !strings.Contains(messages, want) {
			t.Errorf("it does not say %q, but\n%s", want, messages)
		}
	}
	if out, messages, _ := a.run(false, "logs", "pings", "--job=job.batch/pings-kept", "--previous"); out != "[pings-kept-a work] then\n" || messages != "" {
		t.Errorf("of the run before it prints %q and says %q", out, messages)
	}
}

func TestLogsAreOfTheBindingsOwnJobs(t *testing.T) {
	a := newScriptedAPI(t)
	a.addJob("pings-theirs", time.Minute).OwnerReferences[0].UID = "another"
	a.addPod("pings-theirs", ended("work", 0))
	a.logs["pings-theirs-a/work"] = "private\n"
	for _, args := range [][]string{{"--failed"}, {"--job=pings-theirs"}} {
		if out, _, _ := a.run(false, append([]string{"logs", "pings"}, args...)...); out != "" {
			t.Errorf("%v prints %q", args, out)
		}
	}
	for name, tc := range map[string]struct {
		args []string
		code int
		says string
	}{
		"neither":      {nil, codeMisuse, "at least one of the flags"},
		"both":         {[]string{"--failed", "--job=x"}, codeMisuse, "if any flags in the group"},
		"no such Job":  {[]string{"--job=x"}, codeError, "not found"},
		"another's":    {[]string{"--job=pings-theirs"}, codeError, "is no Job of queuebinding/pings"},
		"no limit":     {[]string{"--failed", "--limit=0"}, codeMisuse, "--limit"},
		"no such tail": {[]string{"--failed", "--tail=-2"}, codeMisuse, "--tail"},
	} {
		t.Run(name, func(t *testing.T) {
			a.t = t
			if _, messages, code := a.run(false, append([]string{"logs", "pings"}, tc.args...)...); code != tc.code || !strings.Contains(messages, tc.says) {
				t.Errorf("it ends with %d and says %q", code, messages)
			}
		})
	}
}

func TestARightThatIsMissingEndsTheCommand(t *testing.T) {
	a := newScriptedAPI(t)
	a.addJob("pings-0", time.Minute)
	a.addPod("pings-0", ended("work", 0))
	a.forbidden = []string{podsPath + "/"}
	if _, messages, code := a.run(false, "logs", "pings", "--failed"); code != codeError || !strings.Contains(messages, "error: not yours to read") {
		t.Errorf("it ends with %d and says %q", code, messages)
	}
}

// A container may write what a producer sent.
func TestLogsPlayNoTricksOnTerminals(t *testing.T) {
	const evil = "\x1b]0;title\a\x1b[2J\u009b2Jgone\b\r\nnext\xff\tcolumn\n"
	a := newScriptedAPI(t)
	a.addJob("pings-0", time.Minute)
	a.addPod("pings-0", ended("work", 0))
	a.logs["pings-0-a/work"] = evil + strings.Repeat("é", logPiece) // longer than what is held at a time
	out, _, _ := a.run(true, "logs", "pings", "--failed")
	if strings.ContainsAny(out, "\x1b\a\b\r\u009b") || !utf8.ValidString(out) || !strings.Contains(out, "next.\tcolumn\n") {
		t.Errorf("on a terminal it prints %.200q", out)
	}
	if !strings.Contains(out, strings.Repeat("é", 1000)) || strings.Count(out, "\n") != 3 {
		t.Errorf("the long line is broken")
	}
	out, _, _ = a.run(false, "logs", "pings", "--failed")
	if want := "[pings-0-a work] \x1b]0;title\a\x1b[2J\u009b2Jgone\b\r\n[pings-0-a work] next\xff\tcolumn\n"; !strings.HasPrefix(out, want) {
		t.Errorf("in a pipe it prints %.200q", out)
	}
}
