// Package keda makes QueueBindings from what KEDA scales Jobs by: ScaledJobs with aws-sqs-queue triggers, and the
// TriggerAuthentications that they refer to. It does no I/O, and never leaves anything out without saying so: what a binding
// cannot hold, or what has to be done by hand, becomes a Remark.
package keda

import (
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Group is the API group of KEDA's kinds.
const Group = "keda.sh"

// Kinds of KEDA that are read.
const (
	kindScaledJob             = "ScaledJob"
	kindAuthentication        = "TriggerAuthentication"
	kindClusterAuthentication = "ClusterTriggerAuthentication"
)

// sqsTrigger is the type of triggers that follow an SQS queue.
const sqsTrigger = "aws-sqs-queue"

// What KEDA assumes where a ScaledJob says nothing.
const (
	defaultMaxReplicaCount = 100
	defaultHistoryLimit    = 100
	defaultQueueLength     = "5"
)

// Annotations of ScaledJobs, and the label by which KEDA finds its Jobs.
const (
	annotationPaused         = "autoscaling.keda.sh/paused"
	annotationExcludedLabels = "scaledjob.keda.sh/job-excluded-labels"
	labelName                = "scaledjob.keda.sh/name"
)

// scaledJob is what is read of a ScaledJob of keda.sh/v1alpha1.
type scaledJob struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              scaledJobSpec `json:"spec"`
}

type scaledJobSpec struct {
	JobTargetRef               *batchv1.JobSpec `json:"jobTargetRef,omitempty"`
	PollingInterval            *int32           `json:"pollingInterval,omitempty"`
	SuccessfulJobsHistoryLimit *int32           `json:"successfulJobsHistoryLimit,omitempty"`
	FailedJobsHistoryLimit     *int32           `json:"failedJobsHistoryLimit,omitempty"`
	RolloutStrategy            string           `json:"rolloutStrategy,omitempty"`
	Rollout                    map[string]any   `json:"rollout,omitempty"`
	EnvSourceContainerName     string           `json:"envSourceContainerName,omitempty"`
	MinReplicaCount            *int32           `json:"minReplicaCount,omitempty"`
	MaxReplicaCount            *int32           `json:"maxReplicaCount,omitempty"`
	ScalingStrategy            map[string]any   `json:"scalingStrategy,omitempty"`
	Triggers                   []trigger        `json:"triggers,omitempty"`
}

type trigger struct {
	Type              string             `json:"type"`
	Name              string             `json:"name,omitempty"`
	UseCachedMetrics  bool               `json:"useCachedMetrics,omitempty"`
	Metadata          map[string]string  `json:"metadata,omitempty"`
	AuthenticationRef *authenticationRef `json:"authenticationRef,omitempty"`
	MetricType        string             `json:"metricType,omitempty"`
}

type authenticationRef struct {
	Name string `json:"name"`
	Kind string `json:"kind,omitempty"`
}

// authentication is what is read of a TriggerAuthentication or a ClusterTriggerAuthentication.
type authentication struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		PodIdentity     *podIdentity      `json:"podIdentity,omitempty"`
		SecretTargetRef []secretTargetRef `json:"secretTargetRef,omitempty"`
	} `json:"spec"`
}

type podIdentity struct {
	Provider      string `json:"provider"`
	RoleARN       string `json:"roleArn,omitempty"`
	ExternalID    string `json:"externalID,omitempty"`
	IdentityOwner string `json:"identityOwner,omitempty"`
}

// secretTargetRef is a parameter of a scaler that is a key of a Secret.
type secretTargetRef struct {
	Parameter string `json:"parameter"`
	Name      string `json:"name"`
	Key       string `json:"key"`
}

// environment returns the variables that the triggers' …FromEnv speak of: those of the named container, or of the first.
func (s *scaledJob) environment() []corev1.EnvVar {
	containers := s.Spec.JobTargetRef.Template.Spec.Containers
	i := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == s.Spec.EnvSourceContainerName })
	return containers[max(i, 0)].Env
}

// variable returns a variable of an environment, or nil.
func variable(env []corev1.EnvVar, name string) *corev1.EnvVar {
	if i := slices.IndexFunc(env, func(v corev1.EnvVar) bool { return v.Name == name }); i >= 0 {
		return &env[i]
	}
	return nil
}

// isKEDAs reports whether a label or annotation is KEDA's own, or kubectl's record of the ScaledJob. Jobs that bear KEDA's label
// would be counted and deleted as KEDA's.
func isKEDAs(key, _ string) bool {
	prefix, _, _ := strings.Cut(key, "/")
	return prefix == Group || strings.HasSuffix(prefix, "."+Group) || key == corev1.LastAppliedConfigAnnotation
}
