package keda

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// Bounds of the binding's schema.
const (
	maxNameLength = 50
	maxCount      = 20000
)

var errNoScaledJob = errors.New("there is no ScaledJob in the input")

// Conversion is a binding and what it does not hold of the ScaledJob that it was made from.
type Conversion struct {
	// From names the ScaledJob.
	From    string
	Binding *v1alpha1.QueueBinding
	Remarks []Remark
}

// Convert makes a binding of each aws-sqs-queue trigger of each ScaledJob among the objects. TriggerAuthentications among them
// say which credentials the triggers use. It fails for objects of other kinds, for a ScaledJob without such a trigger and for
// one without containers, and returns nothing then.
func Convert(objects []*unstructured.Unstructured) ([]Conversion, error) {
	var jobs []*unstructured.Unstructured
	known := authentications{}
	for _, object := range objects {
		switch kind := object.GetKind(); {
		case object.GroupVersionKind().Group != Group:
			return nil, fmt.Errorf("%s is no ScaledJob of KEDA", name(object))
		case kind == kindScaledJob:
			jobs = append(jobs, object)
		case kind == kindAuthentication, kind == kindClusterAuthentication:
			if err := known.add(object); err != nil {
				return nil, err
			}
		case kind == "ScaledObject":
			return nil, fmt.Errorf("%s scales a workload that receives messages itself, and is no ScaledJob: write a QueueBinding with a template for its work instead", name(object))
		default:
			return nil, fmt.Errorf("%s is no ScaledJob", name(object))
		}
	}
	if len(jobs) == 0 {
		return nil, errNoScaledJob
	}
	var all []Conversion
	from := map[types.NamespacedName]string{}
	for _, object := range jobs {
		converted, err := convert(object, known)
		if err != nil {
			return nil, fmt.Errorf("%s %w", name(object), err)
		}
		for _, each := range converted {
			key := types.NamespacedName{Namespace: each.Binding.Namespace, Name: each.Binding.Name}
			if other, taken := from[key]; taken {
				return nil, fmt.Errorf("the ScaledJobs %s and %s would both become the binding %s: convert them one by one, and rename one", other, each.From, key.Name)
			}
			from[key] = each.From
		}
		all = append(all, converted...)
	}
	return all, nil
}

func name(object *unstructured.Unstructured) string {
	kind := object.GetKind()
	if kind == "" {
		kind = "an object without a kind"
	}
	return strings.TrimSpace(kind + " " + object.GetName())
}

// convert makes the bindings of a ScaledJob.
func convert(object *unstructured.Unstructured, known authentications) ([]Conversion, error) {
	var said remarks
	source := &scaledJob{}
	if err := decode(object, source, &said); err != nil {
		return nil, err
	}
	if source.Spec.JobTargetRef == nil || len(source.Spec.JobTargetRef.Template.Spec.Containers) == 0 {
		return nil, errors.New("has no containers in spec.jobTargetRef.template")
	}
	var triggers []int
	for i, t := range source.Spec.Triggers {
		if t.Type == sqsTrigger {
			triggers = append(triggers, i)
			continue
		}
		said.note(fmt.Sprintf("spec.triggers[%d]", i), "a trigger of type %s starts no Jobs of a binding, which has a Job for each message of its queue and no others", t.Type)
	}
	if len(triggers) == 0 {
		return nil, fmt.Errorf("has no trigger of type %s", sqsTrigger)
	}
	if len(triggers) > 1 {
		said.need("spec.triggers", "each of the %d queues has a binding of its own, each with all of maxReplicaCount as its maxActiveJobs: share it out between them", len(triggers))
	}
	base := baseOf(source, &said)
	var all []Conversion
	for n, i := range triggers {
		binding, own := base.DeepCopy(), slices.Clone(said)
		binding.Name = nameOf(source.Name, n, len(triggers), &own)
		bindQueue(binding, source, i, known, &own)
		all = append(all, Conversion{From: strings.TrimPrefix(source.Namespace+"/"+source.Name, "/"), Binding: binding, Remarks: own})
	}
	return all, nil
}

// decode reads an object, and remarks on fields that are not known.
func decode(object *unstructured.Unstructured, into any, said *remarks) error {
	content := runtime.DeepCopyJSON(object.Object)
	delete(content, "status")
	err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(content, into, true)
	if strict, ok := runtime.AsStrictDecodingError(err); ok {
		for _, unknown := range strict.Errors() {
			said.note("ScaledJob", "%v, left out", unknown)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	return nil
}

// baseOf is what the bindings of a ScaledJob share.
func baseOf(source *scaledJob, said *remarks) *v1alpha1.QueueBinding {
	spec := &source.Spec
	binding := &v1alpha1.QueueBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "QueueBinding"},
		ObjectMeta: metav1.ObjectMeta{Namespace: source.Namespace, Labels: maps.Clone(source.Labels)},
	}
	maps.DeleteFunc(binding.Labels, isKEDAs)
	binding.Spec = v1alpha1.QueueBindingSpec{
		// A worker deletes its message when its work is done: so does the operator, by this.
		Acknowledge:                v1alpha1.AcknowledgeOnJobSucceeded,
		Concurrency:                v1alpha1.Concurrency{MaxActiveJobs: count("spec.maxReplicaCount", spec.MaxReplicaCount, defaultMaxReplicaCount, said)},
		JobTemplate:                templateOf(source, said),
		SuccessfulJobsHistoryLimit: count("spec.successfulJobsHistoryLimit", spec.SuccessfulJobsHistoryLimit, defaultHistoryLimit, said),
		FailedJobsHistoryLimit:     count("spec.failedJobsHistoryLimit", spec.FailedJobsHistoryLimit, defaultHistoryLimit, said),
		FailedJobsPolicy:           v1alpha1.DeleteOldestFailedJobs,
		Suspend:                    paused(source.Annotations),
	}
	if binding.Spec.Suspend {
		said.note("metadata.annotations", "the ScaledJob is paused, so that the binding is written suspended")
	}
	remarkOnWorker(said)
	remarkOnScaling(spec, said)
	return binding
}

// count is a number of the ScaledJob, within what the schema allows.
func count(field string, value *int32, otherwise int32, said *remarks) *int32 {
	n := ptr.Deref(value, otherwise)
	if n > maxCount {
		said.note(field, "%d is more than a binding can have; %d is written", n, maxCount)
		n = maxCount
	}
	return new(max(n, 0))
}

// paused reports whether KEDA would leave the ScaledJob alone: it takes what is no bool for true.
func paused(annotations map[string]string) bool {
	value, found := annotations[annotationPaused]
	if !found {
		return false
	}
	yes, err := strconv.ParseBool(value)
	return yes || err != nil
}

// templateOf is the template of Jobs, with the labels and annotations that KEDA gives them.
func templateOf(source *scaledJob, said *remarks) v1alpha1.JobTemplate {
	const field = "spec.jobTargetRef."
	spec := *source.Spec.JobTargetRef.DeepCopy()
	if spec.TTLSecondsAfterFinished != nil {
		said.note(field+"ttlSecondsAfterFinished", "left out, as it would delete the records of failed Jobs; finished Jobs go by successfulJobsHistoryLimit and failedJobsHistoryLimit")
		spec.TTLSecondsAfterFinished = nil
	}
	if spec.Selector != nil || spec.ManualSelector != nil {
		said.note(field+"selector", "left out: each Job gets a selector of its own")
		spec.Selector, spec.ManualSelector = nil, nil
	}
	if n := max(ptr.Deref(spec.Parallelism, 1), ptr.Deref(spec.Completions, 1)); n > 1 {
		said.need(field+"parallelism", "all Pods of a Job get the same message, while each of a ScaledJob's received its own: leave parallelism and completions out, unless they share the work of a message, and raise maxActiveJobs instead")
	}
	if ptr.Deref(spec.BackoffLimit, 6) > 0 {
		said.note(field+"backoffLimit", "a retry of a Pod works on the same message again; when the Job has failed, the message comes back to the queue for another Job, until the queue's redrive policy moves it: tries are backoffLimit + 1 for each receive")
	}
	pod := &spec.Template
	if policy := pod.Spec.RestartPolicy; policy != corev1.RestartPolicyNever && policy != corev1.RestartPolicyOnFailure {
		said.note(field+"template.spec.restartPolicy", "OnFailure is written, as KEDA does where there is none")
		pod.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
	}
	pod.GenerateName = ""
	maps.DeleteFunc(pod.Labels, isKEDAs)

	template := v1alpha1.JobTemplate{Spec: spec}
	template.Metadata.Labels = maps.Clone(source.Labels)
	maps.DeleteFunc(template.Metadata.Labels, isKEDAs)
	for excluded := range strings.SplitSeq(source.Annotations[annotationExcludedLabels], ",") {
		delete(template.Metadata.Labels, excluded)
	}
	template.Metadata.Annotations = maps.Clone(source.Annotations)
	maps.DeleteFunc(template.Metadata.Annotations, isKEDAs)
	return template
}

// remarkOnWorker says what changes in the container, whatever the ScaledJob holds.
func remarkOnWorker(said *remarks) {
	said.need("spec.jobTargetRef.template", "the container must no longer receive from the queue nor delete messages: it finds its message in QUEUEBINDING_MESSAGE_BODY, works on that one only, and ends with 0 where it is done; then the operator deletes the message")
}

// remarkOnScaling says what becomes of the fields by which KEDA decides how many Jobs to start.
func remarkOnScaling(spec *scaledJobSpec, said *remarks) {
	if n := ptr.Deref(spec.MinReplicaCount, 0); n > 0 {
		said.note("spec.minReplicaCount", "there are no Jobs without a message, so that none can be kept ready; a Pod of low priority that does nothing keeps a node warm")
	}
	if spec.PollingInterval != nil {
		said.note("spec.pollingInterval", "not needed: the operator has a long poll open, and a message is received as it comes")
	}
	if len(spec.ScalingStrategy) > 0 {
		said.note("spec.scalingStrategy", "not needed: a Job is created for each message that was received, so that nothing is estimated; maxPendingJobs of a binding bounds the Jobs that wait for a node")
	}
	if spec.RolloutStrategy != "" || len(spec.Rollout) > 0 {
		said.note("spec.rollout", "a change of a binding never touches Jobs that exist, as with the strategy gradual")
	}
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// nameOf is the name of the n-th of several bindings.
func nameOf(source string, n, of int, said *remarks) string {
	suffix := ""
	if of > 1 {
		suffix = "-" + strconv.Itoa(n+1)
	}
	label := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(source), "-"), "-")
	label = strings.TrimRight(label[:min(len(label), maxNameLength-len(suffix))], "-")
	if label == "" {
		label = "converted"
	}
	if label != source {
		said.note("metadata.name", "%s is written, as a binding's name is a DNS label of at most %d characters", label+suffix, maxNameLength)
	}
	return label + suffix
}
