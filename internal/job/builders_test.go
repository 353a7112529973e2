package job

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// testKeys sign and verify lineages.
var testKeys = Keys{Current: []byte("the key that only operators have")}

// aBinding has one container, one init container, and the variables given as name and expression in turn.
func aBinding(variables ...string) *v1alpha1.QueueBinding {
	binding := &v1alpha1.QueueBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: "pings", UID: "b8f7c1f0-0000-4000-8000-000000000001"},
		Spec: v1alpha1.QueueBindingSpec{
			Queue: v1alpha1.Queue{URL: "https://sqs.eu-west-1.amazonaws.com/123456789012/pings"},
			JobTemplate: v1alpha1.JobTemplate{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
				RestartPolicy:  corev1.RestartPolicyNever,
				InitContainers: []corev1.Container{{Name: "prepare", Image: "alpine"}},
				Containers:     []corev1.Container{{Name: "ping", Image: "alpine", Command: []string{"ping", "$(target)"}}},
			}}}},
		},
	}
	for i := 0; i < len(variables); i += 2 {
		binding.Spec.Message.Variables = append(binding.Spec.Message.Variables, v1alpha1.Variable{Name: variables[i], Expression: variables[i+1]})
	}
	return binding
}

func aMessage(body string) *queue.Message {
	return &queue.Message{ID: "219f8380-5770-4cc2-8c3e-5c715e145f5e", Body: body, ReceiveCount: 1, SentTime: time.Unix(1700000000, 0).UTC()}
}

// rendered renders, and fails the test where that is refused.
func rendered(t *testing.T, binding *v1alpha1.QueueBinding, message *queue.Message) *batchv1.Job {
	t.Helper()
	job, err := tryRender(t, binding, message)
	if err != nil {
		t.Fatalf("rejected: %v", err)
	}
	return job
}

func tryRender(t *testing.T, binding *v1alpha1.QueueBinding, message *queue.Message) (*batchv1.Job, error) {
	t.Helper()
	variables, err := CompileVariables(binding.Spec.Message.Variables)
	if err != nil {
		t.Fatalf("variables do not compile: %v", err)
	}
	return Render(t.Context(), binding, variables, message, testKeys.Lineage(binding.Spec.Queue.URL, message), Trace{})
}

func environmentOf(container corev1.Container) map[string]string {
	values := map[string]string{}
	for _, v := range container.Env {
		values[v.Name] = v.Value
		if v.ValueFrom != nil {
			values[v.Name] = "<" + v.ValueFrom.FieldRef.FieldPath + ">"
		}
	}
	return values
}
