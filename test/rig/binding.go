package rig

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// Binding is a binding for bodies of Body. A received message is visible again after two seconds, so that what a crash
// leaves hidden comes back soon.
func Binding(namespace, name, queueURL string) *v1alpha1.QueueBinding {
	return &v1alpha1.QueueBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.QueueBindingSpec{
			Queue: v1alpha1.Queue{URL: queueURL, VisibilityTimeoutSeconds: new(int32(2))},
			Message: v1alpha1.Message{Variables: []v1alpha1.Variable{
				{Name: "target", Expression: "message.json.target"},
				{Name: "duration", Expression: "message.json.duration"},
			}},
			JobTemplate: v1alpha1.JobTemplate{Spec: batchv1.JobSpec{
				BackoffLimit: new(int32(0)),
				Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
					RestartPolicy: corev1.RestartPolicyNever,
					Containers:    []corev1.Container{{Name: "ping", Image: "alpine", Command: []string{"ping", "-w", "$(duration)", "$(target)"}}},
				}},
			}},
		},
	}
}

// Body is the body of a message whose Job takes some seconds and succeeds, or fails where target ends in `.invalid`. The
// number sets it apart from others.
func Body(number int, target string, seconds float64) string {
	return fmt.Sprintf(`{"target": %q, "duration": %.3f, "number": %d}`, target, seconds, number)
}
