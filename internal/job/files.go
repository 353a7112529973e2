package job

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

const (
	bodyKey       = "body"
	attributesKey = "attributes.json"
	// filesVolume is the volume that holds a message's files.
	filesVolume = "queuebinding-message"
	// attributesSuffix is what the name of the second Secret has more than the Job's.
	attributesSuffix = "-attributes"
)

// files are a message as files.
type files struct {
	body       []byte
	attributes []byte
}

// fileAttribute is how attributes.json writes an attribute.
type fileAttribute struct {
	// Type is SQS's data type.
	Type string `json:"type"`
	// Value is the value, but for binary types.
	Value string `json:"value,omitempty"`
	// Binary is the value of binary types, which JSON writes in base64.
	Binary []byte `json:"binary,omitempty"`
}

func filesOf(message *queue.Message) (files, error) {
	attributes := map[string]fileAttribute{}
	for name, a := range visible(message.Attributes) {
		attributes[name] = fileAttribute{Type: a.DataType, Value: a.StringValue, Binary: a.BinaryValue}
	}
	text, err := marshal(attributes)
	if err != nil {
		return files{}, rejectf(v1alpha1.RejectedUnusableValue, "the attributes %s", err)
	}
	f := files{body: []byte(message.Body), attributes: []byte(text)}
	for name, size := range map[string]int{bodyKey: len(f.body), attributesKey: len(f.attributes)} {
		if size > corev1.MaxSecretSize {
			return files{}, rejectf(v1alpha1.RejectedTooLarge, "the file %s would be %d bytes; a Secret may be %d", name, size, corev1.MaxSecretSize)
		}
	}
	return f, nil
}

// apart reports whether body and attributes are too much for one Secret.
func (f files) apart() bool { return len(f.body)+len(f.attributes) > corev1.MaxSecretSize }

// deliverFile mounts into every container the Secrets that will hold the message.
func deliverFile(job *batchv1.Job, message *queue.Message) ([]corev1.EnvVar, error) {
	f, err := filesOf(message)
	if err != nil {
		return nil, err
	}
	attributesSecret := job.Name
	if f.apart() {
		attributesSecret += attributesSuffix
	}
	source := func(secret, key string) corev1.VolumeProjection {
		return corev1.VolumeProjection{Secret: &corev1.SecretProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: secret},
			Items:                []corev1.KeyToPath{{Key: key, Path: key}},
		}}
	}
	job.Annotations[v1alpha1.AnnotationDelivery] = string(v1alpha1.DeliverFile)
	pod := &job.Spec.Template.Spec
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: filesVolume, VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			source(job.Name, bodyKey), source(attributesSecret, attributesKey),
		}},
	}})
	mount := corev1.VolumeMount{Name: filesVolume, MountPath: v1alpha1.FilesPath, ReadOnly: true}
	for i := range pod.InitContainers {
		pod.InitContainers[i].VolumeMounts = append(pod.InitContainers[i].VolumeMounts, mount)
	}
	for i := range pod.Containers {
		pod.Containers[i].VolumeMounts = append(pod.Containers[i].VolumeMounts, mount)
	}
	return []corev1.EnvVar{plain(v1alpha1.EnvMessageFile, v1alpha1.FilesPath+"/"+bodyKey)}, nil
}

// HasFiles reports whether a Job's message is in Secrets of its own.
func HasFiles(job metav1.Object) bool {
	return job.GetAnnotations()[v1alpha1.AnnotationDelivery] == string(v1alpha1.DeliverFile)
}

// Secrets are the Secrets that a Job needs: none where its message is not in files. They belong to the Job's binding until
// OwnSecret, as they are created before the Job is.
func Secrets(of *batchv1.Job, message *queue.Message) ([]*corev1.Secret, error) {
	if !HasFiles(of) {
		return nil, nil
	}
	f, err := filesOf(message)
	if err != nil {
		return nil, err
	}
	secret := func(name string, data map[string][]byte) *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Name:      name,
				Namespace: of.Namespace,
				Labels: map[string]string{
					v1alpha1.LabelBinding: of.Labels[v1alpha1.LabelBinding],
					v1alpha1.LabelMessage: of.Labels[v1alpha1.LabelMessage],
				},
				OwnerReferences: slices.Clone(of.OwnerReferences),
			},
			Immutable: new(true),
			Data:      data,
		}
	}
	if !f.apart() {
		return []*corev1.Secret{secret(of.Name, map[string][]byte{bodyKey: f.body, attributesKey: f.attributes})}, nil
	}
	return []*corev1.Secret{
		secret(of.Name, map[string][]byte{bodyKey: f.body}),
		secret(of.Name+attributesSuffix, map[string][]byte{attributesKey: f.attributes}),
	}, nil
}

// OwnSecret makes a Secret one of a Job that exists: it goes with the Job then.
func OwnSecret(owner *batchv1.Job, secret metav1.Object) {
	secret.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "Job", Name: owner.Name, UID: owner.UID, Controller: new(true),
	}})
}

// SecretNames are the names of the Secrets that a Job mounts its message from.
func SecretNames(job *batchv1.Job) []string {
	var names []string
	for _, volume := range job.Spec.Template.Spec.Volumes {
		if volume.Name != filesVolume || volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			if source.Secret != nil && (len(names) == 0 || names[0] != source.Secret.Name) {
				names = append(names, source.Secret.Name)
			}
		}
	}
	return names
}

// messageInFiles is the message that Secrets hold.
func messageInFiles(secrets []corev1.Secret) (queue.Outgoing, error) {
	data := map[string][]byte{}
	for _, secret := range secrets {
		maps.Copy(data, secret.Data)
	}
	for _, key := range []string{bodyKey, attributesKey} {
		if _, ok := data[key]; !ok {
			return queue.Outgoing{}, fmt.Errorf("the Job's Secret has no %s", key)
		}
	}
	message := queue.Outgoing{Body: string(data[bodyKey])}
	var attributes map[string]fileAttribute
	if err := json.Unmarshal(data[attributesKey], &attributes); err != nil {
		return queue.Outgoing{}, fmt.Errorf("%s in the Job's Secret is not what the operator writes", attributesKey)
	}
	for name, a := range attributes {
		if message.Attributes == nil {
			message.Attributes = queue.Attributes{}
		}
		message.Attributes[name] = queue.Attribute{DataType: a.Type, StringValue: a.Value, BinaryValue: a.Binary}
	}
	return message, nil
}
