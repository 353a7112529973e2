package job

import (
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

var testTrace = Trace{Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", State: "vendor=$(HOME)"}

func renderedWith(t *testing.T, binding *v1alpha1.QueueBinding, message *queue.Message, trace Trace) *batchv1.Job {
	t.Helper()
	variables, err := CompileVariables(binding.Spec.Message.Variables)
	if err != nil {
		t.Fatal(err)
	}
	made, err := Render(t.Context(), binding, variables, message, Lineage{Root: message.ID, Attempt: 1}, trace)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestEveryContainerGetsTheTraceContext(t *testing.T) {
	for _, delivery := range []v1alpha1.Delivery{v1alpha1.DeliverEnv, v1alpha1.DeliverFile} {
		binding := aBinding()
		binding.Spec.Message.Delivery = delivery
		made := renderedWith(t, binding, aMessage("x"), testTrace)
		pod := made.Spec.Template.Spec
		for _, container := range []corev1.Container{pod.InitContainers[0], pod.Containers[0]} {
			env := environmentOf(container)
			if env[v1alpha1.EnvTraceparent] != testTrace.Parent || env[v1alpha1.EnvTracestate] != "vendor=$$(HOME)" { // which Kubernetes makes $(HOME) again
				t.Errorf("%s: container %s gets %v", delivery, container.Name, env)
			}
		}
		if Observe(made).Trace != testTrace {
			t.Errorf("%s: the Job bears %+v", delivery, Observe(made).Trace)
		}
		trimmed, _ := Trim(made)
		if Observe(trimmed.(*batchv1.Job)).Trace != testTrace {
			t.Errorf("%s: the cache keeps %+v", delivery, Observe(trimmed.(*batchv1.Job)).Trace)
		}
	}
}

// Without a context a Job has nothing of it, and with one no more than that.
func TestATraceContextChangesNothingElse(t *testing.T) {
	binding := aBinding("v", "message.body")
	plain := renderedWith(t, binding, aMessage("x"), Trace{})
	traced := renderedWith(t, binding, aMessage("x"), testTrace)
	delete(traced.Annotations, v1alpha1.AnnotationTraceparent)
	delete(traced.Annotations, v1alpha1.AnnotationTracestate)
	traced.Annotations[v1alpha1.AnnotationStoredBytes] = plain.Annotations[v1alpha1.AnnotationStoredBytes]
	for _, containers := range [][]corev1.Container{traced.Spec.Template.Spec.InitContainers, traced.Spec.Template.Spec.Containers} {
		for i := range containers {
			containers[i].Env = slices.DeleteFunc(containers[i].Env, func(v corev1.EnvVar) bool { return strings.HasPrefix(v.Name, "TRACE") })
		}
	}
	if !equality.Semantic.DeepEqual(plain, traced) {
		t.Errorf("got %+v, want %+v", traced, plain)
	}
}

// The names TRACEPARENT and TRACESTATE are not the operator's own: an author's wins, by the container's env and by a variable.
func TestTheAuthorsOwnTraceContextWins(t *testing.T) {
	binding := aBinding(v1alpha1.EnvTraceparent, "'a variable'")
	binding.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Env = []corev1.EnvVar{{Name: v1alpha1.EnvTraceparent, Value: "mine"}}
	made := renderedWith(t, binding, aMessage("x"), testTrace)
	pod := made.Spec.Template.Spec
	for want, container := range map[string]corev1.Container{"mine": pod.Containers[0], "a variable": pod.InitContainers[0]} {
		var values []string
		for _, v := range container.Env {
			if v.Name == v1alpha1.EnvTraceparent {
				values = append(values, v.Value)
			}
		}
		if !slices.Equal(values, []string{want}) {
			t.Errorf("container %s gets %v, want %s alone", container.Name, values, want)
		}
	}
}
