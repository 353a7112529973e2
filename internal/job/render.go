// Package job is the pure core: which Job a message becomes, what a Job says of its message and of itself. It does no
// I/O and keeps no state, so that every promise about names and contents can be tested with values alone.
package job

import (
	"context"
	"maps"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// Bounds on what becomes part of a Job, checked before the API server is asked.
const (
	// maxEnvironmentString is the most bytes of one environment string, "name=value". Linux allows 128 KiB.
	maxEnvironmentString = 120 << 10
	// maxAnnotations is the most bytes of an object's annotations, the API server's limit.
	maxAnnotations = 256 << 10
	// maxJob is the most bytes of a Job. etcd refuses a request of 1.5 MiB.
	maxJob = 1 << 20
)

// messageSentFormat is RFC 3339 with the milliseconds that SQS tells.
const messageSentFormat = "2006-01-02T15:04:05.000Z07:00"

// Render makes the Job of an attempt at a message, whose containers get a trace context. Its errors are *RejectionError.
func Render(ctx context.Context, binding *v1alpha1.QueueBinding, variables *Variables, message *queue.Message, lineage Lineage, trace Trace) (*batchv1.Job, error) {
	return render(binding, message, lineage, trace, func() ([]Variable, error) { return variables.Evaluate(ctx, message) })
}

// Sample makes a Job as Render does of a message that never was, for a trial of the template. Its name is as long as
// every Job's.
func Sample(binding *v1alpha1.QueueBinding) (*batchv1.Job, error) {
	values := make([]Variable, 0, len(binding.Spec.Message.Variables))
	for _, v := range binding.Spec.Message.Variables {
		values = append(values, Variable{v.Name, "sample"})
	}
	return render(binding, sampleMessage(), Lineage{Root: "sample", Attempt: 1}, Trace{}, func() ([]Variable, error) { return values, nil })
}

// SampleSecrets makes the Secrets that a sample Job needs.
func SampleSecrets(sample *batchv1.Job) ([]*corev1.Secret, error) {
	return Secrets(sample, sampleMessage())
}

func sampleMessage() *queue.Message { return &queue.Message{ID: "sample", Body: "sample"} }

// render evaluates once it is known that the message can be delivered: what is too large is not parsed.
func render(binding *v1alpha1.QueueBinding, message *queue.Message, lineage Lineage, trace Trace, evaluate func() ([]Variable, error)) (*batchv1.Job, error) {
	job := instantiate(binding, lineage)
	if message.GroupID != "" {
		job.Annotations[v1alpha1.AnnotationGroupID] = message.GroupID
	}
	if !message.SentTime.IsZero() {
		job.Annotations[v1alpha1.AnnotationMessageSentAt] = message.SentTime.UTC().Format(messageSentFormat)
	}
	if binding.Spec.Acknowledge == v1alpha1.AcknowledgeOnJobSucceeded && message.ReceiptHandle != "" {
		maps.Copy(job.Annotations, ReceiptOf(message).Annotations())
	}
	environment := []corev1.EnvVar{
		plain(v1alpha1.EnvMessageID, lineage.Root),
		plain(v1alpha1.EnvAttempt, strconv.Itoa(lineage.Attempt)),
		plain(v1alpha1.EnvQueueURL, binding.Spec.Queue.URL),
		plain(v1alpha1.EnvName, binding.Name),
	}
	deliver := deliverEnv
	if binding.Spec.Message.Delivery == v1alpha1.DeliverFile {
		deliver = deliverFile
	}
	delivered, err := deliver(job, message)
	if err != nil {
		return nil, err
	}
	environment = append(environment, delivered...)
	environment = append(environment, trace.deliver(job, binding.Spec.Message.Variables)...)
	values, err := evaluate()
	if err != nil {
		return nil, err
	}
	for _, v := range values {
		if err := checkEnvironmentString(v.Name, v.Value); err != nil {
			return nil, err
		}
		environment = append(environment, plain(v.Name, v.Value))
	}
	pod := &job.Spec.Template.Spec
	for i := range pod.InitContainers {
		prepend(&pod.InitContainers[i], environment)
	}
	for i := range pod.Containers {
		prepend(&pod.Containers[i], environment)
	}
	if err := checkBounds(job); err != nil {
		return nil, err
	}
	inSecrets := 0
	if HasFiles(job) {
		inSecrets = message.Size()
	}
	annotateStoredBytes(job, inSecrets)
	return job, nil
}

// instantiate makes a Job of the template, with the names and keys that it has whatever its message is.
func instantiate(binding *v1alpha1.QueueBinding, lineage Lineage) *batchv1.Job {
	template := binding.Spec.JobTemplate.DeepCopy()
	for _, keys := range []map[string]string{
		template.Metadata.Labels, template.Metadata.Annotations,
		template.Spec.Template.Labels, template.Spec.Template.Annotations,
	} {
		// A template that was taken from a Job must not tell of that Job's message.
		maps.DeleteFunc(keys, func(key, _ string) bool { return strings.HasPrefix(key, v1alpha1.KeyPrefix) })
	}
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name:            lineage.JobName(binding.Name, binding.UID),
			Namespace:       binding.Namespace,
			Labels:          template.Metadata.Labels,
			Annotations:     template.Metadata.Annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(binding, v1alpha1.GroupVersion.WithKind("QueueBinding"))},
		},
		Spec: template.Spec,
	}
	labels := map[string]string{
		v1alpha1.LabelBinding: binding.Name,
		v1alpha1.LabelMessage: lineage.MessageLabel(),
	}
	job.Labels = merge(job.Labels, labels)
	job.Spec.Template.Labels = merge(job.Spec.Template.Labels, labels)
	job.Annotations = merge(job.Annotations, map[string]string{
		v1alpha1.AnnotationMessageID: lineage.Root,
		v1alpha1.AnnotationAttempt:   strconv.Itoa(lineage.Attempt),
	})
	return job
}

// deliverEnv stores the message once, as annotations of the Pod template, and has the environment refer to them.
func deliverEnv(job *batchv1.Job, message *queue.Message) ([]corev1.EnvVar, error) {
	if strings.ContainsRune(message.Body, 0) {
		return nil, rejectf(v1alpha1.RejectedUnusableValue, "the body holds a NUL character, which no environment variable can")
	}
	attributes, err := marshal(visible(message.Attributes).Texts())
	if err != nil {
		return nil, rejectf(v1alpha1.RejectedUnusableValue, "the attributes %s", err)
	}
	if err := annotateTypes(job, visible(message.Attributes)); err != nil {
		return nil, err
	}
	for name, value := range map[string]string{v1alpha1.EnvMessageBody: message.Body, v1alpha1.EnvMessageAttributes: attributes} {
		if err := checkEnvironmentString(name, value); err != nil {
			return nil, err
		}
	}
	job.Spec.Template.Annotations = merge(job.Spec.Template.Annotations, map[string]string{
		v1alpha1.AnnotationBody:       message.Body,
		v1alpha1.AnnotationAttributes: attributes,
	})
	return []corev1.EnvVar{
		fromAnnotation(v1alpha1.EnvMessageBody, v1alpha1.AnnotationBody),
		fromAnnotation(v1alpha1.EnvMessageAttributes, v1alpha1.AnnotationAttributes),
	}, nil
}

func checkEnvironmentString(name, value string) error {
	if size := len(name) + 1 + len(value); size > maxEnvironmentString {
		return rejectf(v1alpha1.RejectedTooLarge, "%s would be %d bytes; an environment variable may be %d (message.delivery: File has room for more)", name, size, maxEnvironmentString)
	}
	return nil
}

func checkBounds(job *batchv1.Job) error {
	for of, annotations := range map[string]map[string]string{"Job": job.Annotations, "Pod template": job.Spec.Template.Annotations} {
		size := 0
		for key, value := range annotations {
			size += len(key) + len(value)
		}
		if size > maxAnnotations {
			return rejectf(v1alpha1.RejectedTooLarge, "the annotations of the %s, which hold the message, would be %d bytes; they may be %d", of, size, maxAnnotations)
		}
	}
	if size := job.Size(); size > maxJob {
		return rejectf(v1alpha1.RejectedTooLarge, "the Job would be %d bytes; it may be %d", size, maxJob)
	}
	return nil
}

// plain is a variable with this very value: Kubernetes expands $(name) in values, and reads $$ as a dollar sign.
func plain(name, value string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, Value: strings.ReplaceAll(value, "$", "$$")}
}

// fromAnnotation is a variable whose value Kubernetes takes from the Pod, unexpanded, so that it is stored once.
func fromAnnotation(name, annotation string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.annotations['" + annotation + "']"},
	}}
}

// prepend puts variables ahead of the container's own, which can use them and which win.
func prepend(container *corev1.Container, environment []corev1.EnvVar) {
	own := make(map[string]bool, len(container.Env))
	for _, v := range container.Env {
		own[v.Name] = true
	}
	combined := make([]corev1.EnvVar, 0, len(environment)+len(container.Env))
	for _, v := range environment {
		if !own[v.Name] {
			combined = append(combined, v)
		}
	}
	container.Env = append(combined, container.Env...)
}

// visible are the attributes that a sender gave, without our own.
func visible(attributes queue.Attributes) queue.Attributes {
	if _, ok := attributes[v1alpha1.AttributeLineage]; !ok {
		return attributes
	}
	rest := maps.Clone(attributes)
	delete(rest, v1alpha1.AttributeLineage)
	return rest
}

func merge(into, from map[string]string) map[string]string {
	if into == nil {
		into = make(map[string]string, len(from))
	}
	maps.Copy(into, from)
	return into
}
