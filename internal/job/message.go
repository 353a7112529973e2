package job

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// typeString is the data type that needs no record.
const typeString = "String"

// annotateTypes records the data types of attributes that are not plain strings, for MessageOf.
func annotateTypes(job *batchv1.Job, attributes queue.Attributes) error {
	dataTypes := map[string]string{}
	for name, a := range attributes {
		if a.DataType != typeString {
			dataTypes[name] = a.DataType
		}
	}
	if len(dataTypes) == 0 {
		return nil
	}
	text, err := marshal(dataTypes)
	if err != nil {
		return rejectf(v1alpha1.RejectedUnusableValue, "the attributes' types %s", err)
	}
	job.Annotations[v1alpha1.AnnotationAttributeTypes] = text
	return nil
}

// MessageOf is the message that a Job was made of, ready to be sent, without a lineage. It needs the whole Job, and the
// Secrets that SecretNames names.
func MessageOf(job *batchv1.Job, secrets []corev1.Secret) (queue.Outgoing, error) {
	read := func() (queue.Outgoing, error) { return messageInAnnotations(job) }
	if HasFiles(job) {
		read = func() (queue.Outgoing, error) { return messageInFiles(secrets) }
	}
	message, err := read()
	message.GroupID = job.Annotations[v1alpha1.AnnotationGroupID]
	return message, err
}

func messageInAnnotations(job *batchv1.Job) (queue.Outgoing, error) {
	pod := job.Spec.Template.Annotations
	body, ok := pod[v1alpha1.AnnotationBody]
	if !ok {
		return queue.Outgoing{}, fmt.Errorf("the Pod template has no annotation %s", v1alpha1.AnnotationBody)
	}
	message := queue.Outgoing{Body: body}

	texts, dataTypes := map[string]string{}, map[string]string{}
	if text := pod[v1alpha1.AnnotationAttributes]; text != "" {
		if err := json.Unmarshal([]byte(text), &texts); err != nil {
			return queue.Outgoing{}, fmt.Errorf("annotation %s of the Pod template is not a JSON object of strings", v1alpha1.AnnotationAttributes)
		}
	}
	if text := job.Annotations[v1alpha1.AnnotationAttributeTypes]; text != "" {
		if err := json.Unmarshal([]byte(text), &dataTypes); err != nil {
			return queue.Outgoing{}, fmt.Errorf("annotation %s is not a JSON object of strings", v1alpha1.AnnotationAttributeTypes)
		}
	}
	for name, text := range texts {
		attribute := queue.Attribute{DataType: typeString}
		if dataType, ok := dataTypes[name]; ok {
			attribute.DataType = dataType
		}
		if attribute.IsBinary() {
			value, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return queue.Outgoing{}, fmt.Errorf("an attribute: %w", err)
			}
			attribute.BinaryValue = value
		} else {
			attribute.StringValue = text
		}
		if message.Attributes == nil {
			message.Attributes = queue.Attributes{}
		}
		message.Attributes[name] = attribute
	}
	return message, nil
}

// NextAttempt is the message that becomes the next attempt at a failed Job's message. withLineage is false where the
// message has no room for one more attribute: it then starts a lineage of its own, and being sent twice makes two Jobs.
func NextAttempt(keys Keys, queueURL string, job *batchv1.Job, secrets []corev1.Secret, fifo bool) (message queue.Outgoing, withLineage bool, err error) {
	lineage, ok := RecordedLineage(job)
	if !ok {
		return queue.Outgoing{}, false, fmt.Errorf("annotations %s and %s do not say which message the Job is of", v1alpha1.AnnotationMessageID, v1alpha1.AnnotationAttempt)
	}
	message, err = MessageOf(job, secrets)
	if err != nil {
		return queue.Outgoing{}, false, err
	}
	next, err := lineage.Next()
	if err != nil {
		return queue.Outgoing{}, false, err
	}
	signed := keys.sign(queueURL, next, message.Body, message.Attributes)
	if signed == "" {
		return queue.Outgoing{}, false, errors.New("there is no key to sign the lineage with")
	}
	if fifo {
		// SQS drops a message whose deduplication ID it saw in the last five minutes. Each attempt needs its own, and one that
		// nobody could have used before.
		message.DeduplicationID = signed
	}
	tied := message
	tied.Attributes = queue.Attributes{}
	maps.Copy(tied.Attributes, message.Attributes)
	tied.Attributes[v1alpha1.AttributeLineage] = attributeOf(next, signed)
	if tied.Validate() == nil {
		return tied, true, nil
	}
	return message, false, message.Validate()
}

// RecordedLineage is the lineage that a Job bears.
func RecordedLineage(job *batchv1.Job) (Lineage, bool) {
	root := job.Annotations[v1alpha1.AnnotationMessageID]
	attempt, err := strconv.Atoi(job.Annotations[v1alpha1.AnnotationAttempt])
	if root == "" || err != nil || attempt < 1 || attempt > MaxAttempts {
		return Lineage{}, false
	}
	return Lineage{Root: root, Attempt: attempt}, true
}
