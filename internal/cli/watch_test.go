package cli

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// watched plays looks at a binding, two seconds apart, and returns the last thing that was printed.
func watched(p *plugin, out interface{ Reset() }, looks ...func(*v1alpha1.QueueBinding, *pace)) {
	var kept pace
	b := &v1alpha1.QueueBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "pings"}}
	b.Status.Queue = &v1alpha1.QueueStatus{}
	b.Status.ActiveJobs, b.Status.FailedJobs = new(int32), new(int32)
	b.Spec.Concurrency.MaxActiveJobs = new(int32(10))
	for i, change := range looks {
		change(b, &kept)
		out.Reset()
		watcher{p}.show(b, kept.look(p.Clock.Now().Add(time.Duration(2*i)*time.Second), b), kept.history)
	}
}

func TestWatchDrawsWhatWas(t *testing.T) {
	backlog := func(n int64) func(*v1alpha1.QueueBinding, *pace) {
		return func(b *v1alpha1.QueueBinding, kept *pace) {
			b.Status.Queue.VisibleMessages = n
			kept.started += 7
		}
	}
	p, out, _ := fake(true)
	p.Blocks = true
	watched(p, out, backlog(9), backlog(0), backlog(70), backlog(35), backlog(10))
	for _, want := range []string{"▁█▅▂\x1b[0m  up to 70", "████\x1b[0m  up to 7\x1b", "▁▁▁▁\x1b[0m  up to 0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not draw %q, but\n%s", want, out)
		}
	}
	var many []func(*v1alpha1.QueueBinding, *pace)
	for i := range 500 {
		many = append(many, backlog(int64(i)))
	}
	watched(p, out, many...)
	if got := strings.Count(out.String(), "█"); strings.Count(out.String(), "▁") > 3*historyLength || got > 2*historyLength {
		t.Errorf("it draws\n%s", out)
	}
	p.Blocks = false
	watched(p, out, backlog(9), backlog(70))
	if strings.ContainsAny(out.String(), "▁▂▃▄▅▆▇█") {
		t.Errorf("without blocks it draws\n%s", out)
	}
}

func TestWatchTellsOfPodsAndFailures(t *testing.T) {
	trouble := func(b *v1alpha1.QueueBinding, _ *pace) {
		b.Status.Conditions = []metav1.Condition{
			{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRunning},
			{Type: v1alpha1.ConditionPodsStarting, Status: metav1.ConditionFalse, Reason: "ErrImagePull", Message: "4 Pods wait\x1b[2J"},
		}
		b.Status.FailedJobs = new(int32(3))
		b.Status.LastJobCreationTime = new(metav1.NewTime(time.Unix(940, 0)))
		b.Status.RecentFailures = []v1alpha1.Failure{
			{JobName: "pings-a", Reason: "BackoffLimitExceeded", Container: &v1alpha1.ContainerEnd{ExitCode: new(int32(137)), Reason: "OOMKilled"}},
			{JobName: "pings-b", Reason: "BackoffLimitExceeded", Container: &v1alpha1.ContainerEnd{ExitCode: new(int32(2)), Reason: "Error"}},
			{JobName: "pings-c", Reason: "PodFailurePolicy", Container: &v1alpha1.ContainerEnd{Reason: "Evicted\x1b[2J"}},
			{JobName: "pings-d", Reason: "DeadlineExceeded"},
		}
	}
	p, out, _ := fake(true)
	watched(p, out, trouble)
	for _, want := range []string{
		"4 Pods wait", "Last created      60s ago", "\x1b[33mErrImagePull\x1b[0m", "\x1b[31m3 ",
		"BackoffLimitExceeded, exit code 137 (OOMKilled)", "BackoffLimitExceeded, exit code 2\x1b[K", "PodFailurePolicy, Evicted.[2J", "DeadlineExceeded\x1b[K",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q, but\n%q", want, out)
		}
	}
	if strings.Contains(out.String(), "\x1b[2J") {
		t.Errorf("it holds control characters of others: %q", out)
	}
	p, out, _ = fake(false)
	watched(p, out, trouble)
	if got := out.String(); strings.Count(got, "\n") != 1 || strings.Contains(got, "\x1b") || !strings.HasSuffix(got, " pods-starting=ErrImagePull\n") {
		t.Errorf("in a pipe it prints %q", got)
	}
}

func TestBlocksAreForUTF8(t *testing.T) {
	for name, tc := range map[string]struct {
		variables map[string]string
		want      bool
	}{
		"none":           {nil, false},
		"UTF-8":          {map[string]string{"LANG": "de_DE.UTF-8"}, true},
		"utf8":           {map[string]string{"LC_CTYPE": "C.utf8", "LANG": "C"}, true},
		"Latin-1":        {map[string]string{"LANG": "de_DE.ISO-8859-1"}, false},
		"the first wins": {map[string]string{"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, false},
	} {
		if got := isUTF8(func(name string) string { return tc.variables[name] }); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
