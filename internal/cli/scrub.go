package cli

import (
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// scrubbed stands where something is that a bundle does not tell.
const scrubbed = "(left out)"

// eventReporter is what the operator calls itself in events; the subresource's server has a suffix to it.
const eventReporter = "queuebinding"

// toldAnnotations are those of the operator's own that tell of a Job and not of what its message holds.
var toldAnnotations = []string{
	v1alpha1.AnnotationMessageID, v1alpha1.AnnotationAttempt, v1alpha1.AnnotationDelivery, v1alpha1.AnnotationUntied,
	v1alpha1.AnnotationReceiveCount, v1alpha1.AnnotationReceivedAt, v1alpha1.AnnotationReceiptMessageID,
	v1alpha1.AnnotationStoredBytes, v1alpha1.AnnotationRequeuedAt,
}

// scrubbedMeta is what identifies an object, and when it came and goes.
func scrubbedMeta(of metav1.ObjectMeta) metav1.ObjectMeta {
	kept := metav1.ObjectMeta{
		Name: of.Name, Namespace: of.Namespace, UID: of.UID, Generation: of.Generation, ResourceVersion: of.ResourceVersion, Labels: of.Labels,
		CreationTimestamp: of.CreationTimestamp, DeletionTimestamp: of.DeletionTimestamp, Finalizers: of.Finalizers, OwnerReferences: of.OwnerReferences,
	}
	for _, key := range toldAnnotations {
		if value, ok := of.Annotations[key]; ok {
			metav1.SetMetaDataAnnotation(&kept, key, value)
		}
	}
	return kept
}

func scrubbedBinding(of *v1alpha1.QueueBinding) *v1alpha1.QueueBinding {
	b := of.DeepCopy()
	b.ObjectMeta = scrubbedMeta(of.ObjectMeta)
	b.APIVersion, b.Kind = v1alpha1.GroupVersion.String(), "QueueBinding"
	b.Spec.JobTemplate.Metadata.Annotations = nil
	b.Spec.JobTemplate.Spec = scrubbedJobSpec(&of.Spec.JobTemplate.Spec)
	// Conditions of Pods and templates are in the words of kubelets and webhooks, which may quote a command or a value.
	for i := range b.Status.Conditions {
		switch c := &b.Status.Conditions[i]; {
		case c.Type == v1alpha1.ConditionPodsStarting && c.Status == metav1.ConditionFalse, c.Reason == v1alpha1.ReasonJobInvalid:
			c.Message = scrubbed
		}
	}
	for i := range b.Status.RecentFailures {
		b.Status.RecentFailures[i].Message = scrubbed
		if end := b.Status.RecentFailures[i].Container; end != nil && end.Message != "" {
			end.Message = scrubbed
		}
	}
	return b
}

// scrubbedJobSpec is what decides how a Job goes, and not what it does.
func scrubbedJobSpec(of *batchv1.JobSpec) batchv1.JobSpec {
	return batchv1.JobSpec{
		Parallelism: of.Parallelism, Completions: of.Completions, ActiveDeadlineSeconds: of.ActiveDeadlineSeconds, BackoffLimit: of.BackoffLimit,
		PodFailurePolicy: of.PodFailurePolicy, SuccessPolicy: of.SuccessPolicy, BackoffLimitPerIndex: of.BackoffLimitPerIndex, MaxFailedIndexes: of.MaxFailedIndexes,
		CompletionMode: of.CompletionMode, Suspend: of.Suspend, PodReplacementPolicy: of.PodReplacementPolicy, ManagedBy: of.ManagedBy,
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: of.Template.Labels}, Spec: scrubbedPodSpec(&of.Template.Spec)},
	}
}

// scrubbedPodSpec is where a Pod runs and what it needs for that.
func scrubbedPodSpec(of *corev1.PodSpec) corev1.PodSpec {
	return corev1.PodSpec{
		InitContainers: scrubbedContainers(of.InitContainers), Containers: scrubbedContainers(of.Containers), RestartPolicy: of.RestartPolicy,
		TerminationGracePeriodSeconds: of.TerminationGracePeriodSeconds, NodeSelector: of.NodeSelector, ServiceAccountName: of.ServiceAccountName,
		NodeName: of.NodeName, ImagePullSecrets: of.ImagePullSecrets, Affinity: of.Affinity, SchedulerName: of.SchedulerName, Tolerations: of.Tolerations,
		PriorityClassName: of.PriorityClassName, RuntimeClassName: of.RuntimeClassName, TopologySpreadConstraints: of.TopologySpreadConstraints,
		SchedulingGates: of.SchedulingGates, Overhead: of.Overhead,
	}
}

func scrubbedContainers(of []corev1.Container) []corev1.Container {
	var kept []corev1.Container
	for i := range of {
		container := corev1.Container{Name: of[i].Name, Image: of[i].Image, ImagePullPolicy: of[i].ImagePullPolicy, Resources: of[i].Resources, RestartPolicy: of[i].RestartPolicy}
		for _, variable := range of[i].Env {
			container.Env = append(container.Env, corev1.EnvVar{Name: variable.Name, Value: scrubbed})
		}
		kept = append(kept, container)
	}
	return kept
}

func scrubbedJob(of *batchv1.Job) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: scrubbedMeta(of.ObjectMeta), Status: *of.Status.DeepCopy()}
	j.Spec.Suspend = of.Spec.Suspend
	for i := range j.Status.Conditions {
		j.Status.Conditions[i].Message = "" // its reason says it
	}
	return j
}

func scrubbedPod(of *corev1.Pod) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: scrubbedMeta(of.ObjectMeta), Spec: scrubbedPodSpec(&of.Spec)}
	p.Status = corev1.PodStatus{Phase: of.Status.Phase, Reason: of.Status.Reason, StartTime: of.Status.StartTime, QOSClass: of.Status.QOSClass}
	for _, c := range of.Status.Conditions {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: c.Type, Status: c.Status, Reason: c.Reason, LastTransitionTime: c.LastTransitionTime})
	}
	p.Status.InitContainerStatuses = scrubbedStatuses(of.Status.InitContainerStatuses)
	p.Status.ContainerStatuses = scrubbedStatuses(of.Status.ContainerStatuses)
	return p
}

// scrubbedStatuses have the reasons of kubelet and runtime without their words, which may quote a command.
func scrubbedStatuses(of []corev1.ContainerStatus) []corev1.ContainerStatus {
	state := func(of corev1.ContainerState) corev1.ContainerState {
		kept := *of.DeepCopy()
		if kept.Waiting != nil {
			kept.Waiting.Message = ""
		}
		if kept.Terminated != nil {
			kept.Terminated.Message = ""
		}
		return kept
	}
	var kept []corev1.ContainerStatus
	for _, s := range of {
		kept = append(kept, corev1.ContainerStatus{
			Name: s.Name, State: state(s.State), LastTerminationState: state(s.LastTerminationState), Ready: s.Ready, RestartCount: s.RestartCount,
			Image: s.Image, ImageID: s.ImageID, Started: s.Started,
		})
	}
	return kept
}

func scrubbedDeployment(of *appsv1.Deployment) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: scrubbedMeta(of.ObjectMeta), Status: *of.Status.DeepCopy()}
	d.Spec.Replicas, d.Spec.Strategy = of.Spec.Replicas, of.Spec.Strategy
	d.Spec.Template.Spec = scrubbedPodSpec(&of.Spec.Template.Spec)
	for i := range d.Spec.Template.Spec.Containers {
		d.Spec.Template.Spec.Containers[i].Args = of.Spec.Template.Spec.Containers[i].Args // the operator's flags hold no secrets
	}
	return d
}

// scrubbedEvent has the note of the operator's own events only: those of Pods are in the words of kubelets.
func scrubbedEvent(of *eventsv1.Event, binding *v1alpha1.QueueBinding) *eventsv1.Event {
	e := &eventsv1.Event{
		ObjectMeta: scrubbedMeta(of.ObjectMeta), EventTime: of.EventTime, Series: of.Series, ReportingController: of.ReportingController,
		Action: of.Action, Reason: of.Reason, Type: of.Type, Regarding: of.Regarding,
		DeprecatedCount: of.DeprecatedCount, DeprecatedFirstTimestamp: of.DeprecatedFirstTimestamp, DeprecatedLastTimestamp: of.DeprecatedLastTimestamp,
	}
	ours := of.Regarding.UID == binding.UID && (of.ReportingController == eventReporter || of.ReportingController == eventReporter+"-apiserver")
	if ours && of.Action != v1alpha1.ReasonJobInvalid { // whose words are the API server's, about the template
		e.Note = of.Note
	}
	return e
}
