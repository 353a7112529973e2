package job

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"pgregory.net/rapid"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

func TestRender(t *testing.T) {
	binding := aBinding("target", "message.json.target")
	binding.Spec.JobTemplate.Metadata = v1alpha1.JobTemplateMetadata{
		Labels:      map[string]string{"team": "net", v1alpha1.LabelBinding: "forged"},
		Annotations: map[string]string{"note": "n"},
	}
	message := aMessage(`{"target": "a$(HOME)b"}`)
	message.GroupID = "g"
	message.Attributes = queue.Attributes{"n": {DataType: "Number", StringValue: "1"}}
	before := binding.DeepCopy()

	job := rendered(t, binding, message)

	if !equality.Semantic.DeepEqual(before, binding) {
		t.Error("the binding was changed")
	}
	if Owner(job) != binding.UID {
		t.Errorf("owner %q, want %q", Owner(job), binding.UID)
	}
	if want := map[string]string{"team": "net", v1alpha1.LabelBinding: "pings", v1alpha1.LabelMessage: Lineage{Root: message.ID}.MessageLabel()}; !maps.Equal(job.Labels, want) {
		t.Errorf("labels %v, want %v", job.Labels, want)
	}
	if want := map[string]string{
		"note": "n", v1alpha1.AnnotationMessageID: message.ID, v1alpha1.AnnotationAttempt: "1",
		v1alpha1.AnnotationMessageSentAt: message.SentTime.UTC().Format("2006-01-02T15:04:05.000Z"),
		v1alpha1.AnnotationGroupID:       "g", v1alpha1.AnnotationAttributeTypes: `{"n":"Number"}`,
		v1alpha1.AnnotationStoredBytes: job.Annotations[v1alpha1.AnnotationStoredBytes],
	}; !maps.Equal(job.Annotations, want) {
		t.Errorf("annotations %v, want %v", job.Annotations, want)
	}
	pod := job.Spec.Template
	if pod.Annotations[v1alpha1.AnnotationBody] != message.Body || pod.Annotations[v1alpha1.AnnotationAttributes] != `{"n":"1"}` {
		t.Errorf("annotations of the Pod template %v", pod.Annotations)
	}
	want := map[string]string{
		v1alpha1.EnvMessageID:         message.ID,
		v1alpha1.EnvMessageBody:       "<metadata.annotations['queuebinding.dev/body']>",
		v1alpha1.EnvMessageAttributes: "<metadata.annotations['queuebinding.dev/attributes']>",
		v1alpha1.EnvAttempt:           "1",
		v1alpha1.EnvQueueURL:          binding.Spec.Queue.URL,
		v1alpha1.EnvName:              "pings",
		"target":                      "a$$(HOME)b", // which Kubernetes makes a$(HOME)b again, and expands nothing
	}
	for _, container := range []corev1.Container{pod.Spec.InitContainers[0], pod.Spec.Containers[0]} {
		if got := environmentOf(container); !maps.Equal(got, want) {
			t.Errorf("environment of %s is %v, want %v", container.Name, got, want)
		}
	}
}

func TestTheContainersOwnVariablesComeLastAndWin(t *testing.T) {
	binding := aBinding("target", "message.body")
	binding.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "target", Value: "mine"}, {Name: "url", Value: "http://$(QUEUEBINDING_NAME)"}}
	env := rendered(t, binding, aMessage("x")).Spec.Template.Spec.Containers[0].Env
	var names []string
	for _, v := range env {
		names = append(names, v.Name)
	}
	if want := []string{"target", "url"}; !slices.Equal(names[len(names)-2:], want) || slices.Contains(names[:len(names)-2], "target") {
		t.Errorf("got %v, want %v once and last", names, want)
	}
}

// P5: what cannot become a Job is told before the API server is asked.
func TestRenderRejects(t *testing.T) {
	large := strings.Repeat("x", maxEnvironmentString)
	for name, tc := range map[string]struct {
		body       string
		attributes queue.Attributes
		variable   string
		wantReason string
	}{
		"a body of 200 KiB":      {body: strings.Repeat("x", 200<<10), wantReason: v1alpha1.RejectedTooLarge},
		"a variable of 120 KiB":  {body: "x", variable: "'" + strings.Repeat("x", 4000) + "'.replace('x', '0123456789012345678901234567890123456789')", wantReason: v1alpha1.RejectedTooLarge},
		"attributes of 120 KiB":  {body: "x", attributes: queue.Attributes{"a": {DataType: "String", StringValue: large}}, wantReason: v1alpha1.RejectedTooLarge},
		"a NUL in the body":      {body: "a\x00b", wantReason: v1alpha1.RejectedUnusableValue},
		"a variable without key": {body: "{}", variable: "message.json.nope", wantReason: v1alpha1.RejectedExpressionFailed},
	} {
		t.Run(name, func(t *testing.T) {
			binding := aBinding()
			if tc.variable != "" {
				binding = aBinding("v", tc.variable)
			}
			message := aMessage(tc.body)
			message.Attributes = tc.attributes
			_, err := tryRender(t, binding, message)
			var rejection *RejectionError
			if !errors.As(err, &rejection) || rejection.Reason != tc.wantReason {
				t.Fatalf("got %v, want a rejection for %s", err, tc.wantReason)
			}
		})
	}
}

func TestABodyOf119KiBFits(t *testing.T) {
	rendered(t, aBinding(), aMessage(strings.Repeat("x", 119<<10)))
}

// No text of a message can change anything of a Job but the values that are meant for it.
func TestAMessageChangesNothingButItsValues(t *testing.T) {
	blank := func(job *batchv1.Job) *batchv1.Job {
		job.Name = ""
		delete(job.Labels, v1alpha1.LabelMessage)
		delete(job.Spec.Template.Labels, v1alpha1.LabelMessage)
		for _, key := range []string{v1alpha1.AnnotationMessageID, v1alpha1.AnnotationGroupID, v1alpha1.AnnotationAttributeTypes, v1alpha1.AnnotationStoredBytes} {
			delete(job.Annotations, key)
		}
		delete(job.Spec.Template.Annotations, v1alpha1.AnnotationBody)
		delete(job.Spec.Template.Annotations, v1alpha1.AnnotationAttributes)
		for _, containers := range [][]corev1.Container{job.Spec.Template.Spec.InitContainers, job.Spec.Template.Spec.Containers} {
			for i := range containers {
				for j := range containers[i].Env {
					containers[i].Env[j].Value = ""
				}
			}
		}
		return job
	}
	binding := aBinding("all", "message.body", "id", "message.id")
	want := blank(rendered(t, binding, aMessage("plain")))
	rapid.Check(t, func(rt *rapid.T) {
		message := drawMessage(rt)
		job, err := tryRender(t, binding, message)
		if err != nil {
			rt.Fatalf("rejected: %v", err)
		}
		if got := blank(job); !equality.Semantic.DeepEqual(got, want) {
			rt.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

// A message survives into its Job and back through a requeue, byte for byte.
func TestMessageOfIsTheMessage(t *testing.T) { rapid.Check(t, messageOfIsTheMessage(t)) }

func FuzzMessageOfIsTheMessage(f *testing.F) {
	f.Fuzz(func(t *testing.T, input []byte) { rapid.MakeFuzz(messageOfIsTheMessage(t))(t, input) })
}

func messageOfIsTheMessage(t *testing.T) func(*rapid.T) {
	binding := aBinding()
	return func(rt *rapid.T) {
		message := drawMessage(rt)
		job, err := tryRender(t, binding, message)
		if err != nil {
			rt.Fatalf("rejected: %v", err)
		}
		got, err := MessageOf(job, nil)
		if err != nil {
			rt.Fatal(err)
		}
		if got.Body != message.Body || got.GroupID != message.GroupID || !equality.Semantic.DeepEqual(got.Attributes, message.Attributes) {
			rt.Fatalf("got %+v, want %+v", got, message)
		}
		next, tied, err := NextAttempt(testKeys, aBinding().Spec.Queue.URL, job, nil, true)
		if err != nil {
			rt.Fatal(err)
		}
		lineage := testKeys.Lineage(aBinding().Spec.Queue.URL, &queue.Message{ID: "the message sent again", Body: next.Body, Attributes: next.Attributes})
		if want := (Lineage{Root: message.ID, Attempt: 2}); tied && lineage != want {
			rt.Fatalf("lineage %+v, want %+v", lineage, want)
		}
		if tied == (len(message.Attributes) == queue.MaxAttributes) {
			rt.Fatalf("tied is %t with %d attributes", tied, len(message.Attributes))
		}
	}
}

// drawMessage draws messages that SQS would take and that fit a Job.
func drawMessage(rt *rapid.T) *queue.Message {
	text := rapid.StringN(1, 200, -1).Filter(func(s string) bool {
		return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' || r >= 0xFFFE && r <= 0xFFFF })
	})
	message := aMessage(rapid.OneOf(text, rapid.SampledFrom([]string{"$(HOME)", "$$(target)", `{"a": "\u0000"}`, "a: [b]\n", `"'`, "🎉"})).Draw(rt, "body"))
	message.ID = rapid.StringMatching(`[0-9a-f-]{36}`).Draw(rt, "id")
	message.GroupID = rapid.SampledFrom([]string{"", "g", "$(x)"}).Draw(rt, "group")
	for range rapid.IntRange(0, queue.MaxAttributes).Draw(rt, "attributes") {
		name := rapid.StringMatching(`[A-Za-z0-9_-]{1,20}`).Draw(rt, "name")
		attribute := queue.Attribute{DataType: rapid.SampledFrom([]string{"String", "String.x", "Number", "Number.int", "Binary", "Binary.png"}).Draw(rt, "type")}
		if attribute.IsBinary() {
			attribute.BinaryValue = rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(rt, "value")
		} else {
			attribute.StringValue = text.Draw(rt, "value")
		}
		if message.Attributes == nil {
			message.Attributes = queue.Attributes{}
		}
		message.Attributes[name] = attribute
	}
	return message
}

func TestARequeueOnFIFOIsNotTakenForADuplicate(t *testing.T) {
	job := rendered(t, aBinding(), aMessage("x"))
	first, _, err := NextAttempt(testKeys, aBinding().Spec.Queue.URL, job, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	job.Annotations[v1alpha1.AnnotationAttempt] = "2"
	second, _, err := NextAttempt(testKeys, aBinding().Spec.Queue.URL, job, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if first.DeduplicationID == second.DeduplicationID || first.DeduplicationID == "" {
		t.Errorf("deduplication IDs %q and %q", first.DeduplicationID, second.DeduplicationID)
	}
	if standard, _, _ := NextAttempt(testKeys, aBinding().Spec.Queue.URL, job, nil, false); standard.DeduplicationID != "" {
		t.Errorf("a standard queue refuses the deduplication ID %q", standard.DeduplicationID)
	}
}

func TestObserve(t *testing.T) {
	condition := func(kind batchv1.JobConditionType, status corev1.ConditionStatus) batchv1.JobCondition {
		return batchv1.JobCondition{Type: kind, Status: status, Reason: "why"}
	}
	for name, tc := range map[string]struct {
		change      func(*batchv1.Job)
		want        State
		wantPending bool
	}{
		"new":       {func(*batchv1.Job) {}, Active, true},
		"Pod ready": {func(j *batchv1.Job) { j.Status.Ready = new(int32(1)) }, Active, false},
		"suspended": {func(j *batchv1.Job) { j.Spec.Suspend = new(true) }, Active, false},
		"about to fail": {func(j *batchv1.Job) {
			j.Status.Conditions = []batchv1.JobCondition{condition(batchv1.JobFailureTarget, corev1.ConditionTrue)}
		}, Active, true},
		"about to succeed": {func(j *batchv1.Job) {
			j.Status.Conditions = []batchv1.JobCondition{condition(batchv1.JobSuccessCriteriaMet, corev1.ConditionTrue)}
		}, Active, true},
		"failed, but not really": {func(j *batchv1.Job) {
			j.Status.Conditions = []batchv1.JobCondition{condition(batchv1.JobFailed, corev1.ConditionFalse)}
		}, Active, true},
		"failed": {func(j *batchv1.Job) {
			j.Status.Conditions = []batchv1.JobCondition{condition(batchv1.JobFailureTarget, corev1.ConditionTrue), condition(batchv1.JobFailed, corev1.ConditionTrue)}
		}, Failed, false},
		"succeeded": {func(j *batchv1.Job) {
			j.Status.Conditions = []batchv1.JobCondition{condition(batchv1.JobComplete, corev1.ConditionTrue)}
		}, Succeeded, false},
	} {
		t.Run(name, func(t *testing.T) {
			job := rendered(t, aBinding(), aMessage("x"))
			tc.change(job)
			want := Observe(job.DeepCopy())
			if want.State != tc.want || want.Pending != tc.wantPending {
				t.Errorf("got %+v, want %s, pending %t", want, tc.want, tc.wantPending)
			}
			trimmed, err := Trim(job)
			if err != nil {
				t.Fatal(err)
			}
			if got := Observe(trimmed.(*batchv1.Job)); got != want {
				t.Errorf("a trimmed Job is observed as %+v, a whole one as %+v", got, want)
			}
			if Owner(trimmed.(*batchv1.Job)) != aBinding().UID {
				t.Error("a trimmed Job has lost its owner")
			}
		})
	}
}

func TestATemplateThatWasTakenFromAJobBringsNothingOfThatJob(t *testing.T) {
	binding := aBinding()
	forged := map[string]string{v1alpha1.AnnotationRequeuedAt: "x", v1alpha1.AnnotationGroupID: "x", v1alpha1.AnnotationAttributeTypes: "x", "note": "n"}
	binding.Spec.JobTemplate.Metadata.Annotations = forged
	binding.Spec.JobTemplate.Spec.Template.Annotations = forged
	job := rendered(t, binding, aMessage("x"))
	for of, annotations := range map[string]map[string]string{"Job": job.Annotations, "Pod template": job.Spec.Template.Annotations} {
		for key, value := range annotations {
			if value == "x" && key != v1alpha1.AnnotationBody {
				t.Errorf("the %s has %s of the template", of, key)
			}
		}
		if annotations["note"] != "n" {
			t.Errorf("the %s has lost the template's own annotation", of)
		}
	}
}
