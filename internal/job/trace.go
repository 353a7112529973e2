package job

import (
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// Trace is the trace context that a Job gives its containers, in the form of W3C's Trace Context. The zero value is none.
type Trace struct {
	Parent, State string
}

// deliver records the context on the Job, and returns the environment variables that hand it to the containers. The names are not the
// operator's own: a variable of the binding that has one of them takes its place.
func (t Trace) deliver(job *batchv1.Job, variables []v1alpha1.Variable) []corev1.EnvVar {
	if t.Parent == "" {
		return nil
	}
	job.Annotations[v1alpha1.AnnotationTraceparent] = t.Parent
	environment := []corev1.EnvVar{plain(v1alpha1.EnvTraceparent, t.Parent)}
	if t.State != "" {
		job.Annotations[v1alpha1.AnnotationTracestate] = t.State
		environment = append(environment, plain(v1alpha1.EnvTracestate, t.State))
	}
	return slices.DeleteFunc(environment, func(v corev1.EnvVar) bool {
		return slices.ContainsFunc(variables, func(own v1alpha1.Variable) bool { return own.Name == v.Name })
	})
}

// RecordedTrace is the context that a Job bears.
func RecordedTrace(job *batchv1.Job) Trace {
	return Trace{Parent: job.Annotations[v1alpha1.AnnotationTraceparent], State: job.Annotations[v1alpha1.AnnotationTracestate]}
}
