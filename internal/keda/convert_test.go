package keda

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

const url = "https://sqs.eu-west-1.amazonaws.com/123456789012/renders"

// render is a ScaledJob with a trigger and more lines of its spec, indented by two.
const render = `
apiVersion: keda.sh/v1alpha1
kind: ScaledJob
metadata:
  name: render
  namespace: batch
spec:
  jobTargetRef:
    backoffLimit: 0
    template:
      spec:
        restartPolicy: Never
        containers:
        - name: render
          image: render:1
          env:
          - {name: QUEUE_URL, value: "https://sqs.eu-west-1.amazonaws.com/123456789012/renders"}
          - {name: KEY_ID, valueFrom: {secretKeyRef: {name: aws, key: AWS_ACCESS_KEY_ID}}}
          - {name: KEY, valueFrom: {secretKeyRef: {name: aws, key: AWS_SECRET_ACCESS_KEY}}}
        - name: sidecar
          image: sidecar:1
          env:
          - {name: QUEUE_URL, value: "https://sqs.eu-west-1.amazonaws.com/123456789012/other"}
  triggers:
  - type: aws-sqs-queue
    metadata: {queueLength: "1", identityOwner: operator, queueURL: "https://sqs.eu-west-1.amazonaws.com/123456789012/renders"}
`

func objectsOf(t *testing.T, texts ...string) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	for _, text := range texts {
		object := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(text), &object.Object); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		objects = append(objects, object)
	}
	return objects
}

// with replaces a line's content, which must be there once, in the ScaledJob.
func with(t *testing.T, old, replacement string) string {
	t.Helper()
	if strings.Count(render, old) != 1 {
		t.Fatalf("%q is not once in the ScaledJob", old)
	}
	return strings.Replace(render, old, replacement, 1)
}

// metadata is the trigger with other parameters.
func metadata(t *testing.T, text string) string {
	t.Helper()
	before, _, _ := strings.Cut(render, "    metadata: {queueLength")
	return before + "    metadata: " + text + "\n"
}

// spec adds lines to the spec.
func spec(t *testing.T, lines string) string {
	t.Helper()
	return with(t, "\nspec:\n", "\nspec:\n  "+strings.ReplaceAll(lines, "\n", "\n  ")+"\n")
}

const auth = "\n    authenticationRef: {name: keys}\n"

func authenticationOf(kind, spec string) string {
	return fmt.Sprintf("{apiVersion: keda.sh/v1alpha1, kind: %s, metadata: {name: keys, namespace: batch}, spec: %s}", kind, spec)
}

func TestConvert(t *testing.T) {
	s := loadSchema(t)
	triggered := metadata(t, `{queueLength: "1", queueURL: "`+url+`"}`) + auth
	for name, tc := range map[string]struct {
		input []string
		// wantSpec is JSON that the binding's spec must hold.
		wantSpec string
		// wantRemarks are how remarks must begin. `!` before one says that it must be needed.
		wantRemarks []string
		// unwanted is text that no remark may hold.
		unwanted string
	}{
		"the least": {
			input: []string{render},
			wantSpec: `{"acknowledge": "OnJobSucceeded", "concurrency": {"maxActiveJobs": 100}, "successfulJobsHistoryLimit": 100, "failedJobsHistoryLimit": 100,
				"failedJobsPolicy": "DeleteOldest", "queue": {"url": "` + url + `"}}`,
			wantRemarks: []string{"!spec.jobTargetRef.template: the container must no longer receive", "!spec.triggers[0].metadata.identityOwner: KEDA's operator uses its own"},
			unwanted:    "backoffLimit",
		},
		"numbers": {
			input:       []string{spec(t, "maxReplicaCount: 30000\nminReplicaCount: 3\nsuccessfulJobsHistoryLimit: 5\nfailedJobsHistoryLimit: 0\npollingInterval: 5")},
			wantSpec:    `{"concurrency": {"maxActiveJobs": 20000}, "successfulJobsHistoryLimit": 5, "failedJobsHistoryLimit": 0}`,
			wantRemarks: []string{"spec.maxReplicaCount: 30000 is more", "spec.minReplicaCount: there are no Jobs without a message", "spec.pollingInterval: not needed"},
		},
		"how KEDA scales": {
			input:       []string{spec(t, "scalingStrategy: {strategy: accurate, pendingPodConditions: [Ready]}\nrollout: {strategy: gradual}")},
			wantSpec:    `{}`,
			wantRemarks: []string{"spec.scalingStrategy: not needed", "spec.rollout: a change of a binding never touches"},
		},
		"how KEDA rolled out once": {
			input: []string{spec(t, "rolloutStrategy: gradual")}, wantSpec: `{}`, wantRemarks: []string{"spec.rollout: "},
		},
		"a Job's own fields": {
			input: []string{with(t, "backoffLimit: 0", "{backoffLimit: 4, activeDeadlineSeconds: 60, parallelism: 2, completions: 2, ttlSecondsAfterFinished: 9, manualSelector: true, selector: {},\n"+
				"      template: {metadata: {labels: {a: b, scaledjob.keda.sh/name: render}}, spec: {containers: [{name: a, image: b}]}}}\n  unused:")},
			wantSpec: `{"jobTemplate": {"spec": {"backoffLimit": 4, "activeDeadlineSeconds": 60, "parallelism": 2, "completions": 2, "ttlSecondsAfterFinished": null, "manualSelector": null, "selector": null,
				"template": {"metadata": {"labels": {"a": "b", "scaledjob.keda.sh/name": null}}, "spec": {"restartPolicy": "OnFailure"}}}}}`,
			wantRemarks: []string{"spec.jobTargetRef.ttlSecondsAfterFinished: left out", "spec.jobTargetRef.selector: left out", "!spec.jobTargetRef.parallelism: all Pods of a Job get the same message",
				"spec.jobTargetRef.backoffLimit: a retry", "spec.jobTargetRef.template.spec.restartPolicy: OnFailure", `ScaledJob: unknown field "spec.unused"`},
		},
		"labels and annotations that KEDA gives to Jobs": {
			input:       []string{with(t, "namespace: batch", "namespace: batch\n  labels: {team: a, secret: b, scaledjob.keda.sh/name: render}\n  annotations: {note: c, scaledjob.keda.sh/job-excluded-labels: secret, autoscaling.keda.sh/paused: \"true\"}")},
			wantSpec:    `{"suspend": true, "jobTemplate": {"metadata": {"labels": {"team": "a", "secret": null, "scaledjob.keda.sh/name": null}, "annotations": {"note": "c", "autoscaling.keda.sh/paused": null}}}}`,
			wantRemarks: []string{"metadata.annotations: the ScaledJob is paused"},
		},
		"not paused": {
			input: []string{with(t, "namespace: batch", "namespace: batch\n  annotations: {autoscaling.keda.sh/paused: \"false\"}")}, wantSpec: `{"suspend": null}`,
		},
		"paused, as KEDA reads it": {
			input: []string{with(t, "namespace: batch", "namespace: batch\n  annotations: {autoscaling.keda.sh/paused: please}")}, wantSpec: `{"suspend": true}`,
		},
		"all parameters": {
			input: []string{metadata(t, `{queueLength: "3", queueURL: "`+url+`", awsRegion: eu-west-1, awsEndpoint: "http://x", activationQueueLength: "2", scaleOnInFlight: "false", scaleOnDelayed: "true", identityOwner: operator, other: x}`) +
				"    name: a\n    metricType: Value\n"},
			wantSpec: `{"queue": {"region": "eu-west-1", "credentials": null}, "suspend": null}`,
			wantRemarks: []string{"!spec.triggers[0].metadata.queueLength: KEDA reckons with 3 messages", "spec.triggers[0].metadata.awsEndpoint: not a binding's", "spec.triggers[0].metadata.activationQueueLength: there is no threshold",
				"spec.triggers[0].metadata.scaleOnInFlight: not needed", "spec.triggers[0].metadata.scaleOnDelayed: not needed", "spec.triggers[0].metadata.other: not known", "spec.triggers[0].name: "},
		},
		"KEDA's length of the queue": {
			input: []string{metadata(t, `{queueURL: "`+url+`"}`)}, wantSpec: `{}`, wantRemarks: []string{"!spec.triggers[0].metadata.queueLength: KEDA reckons with 5 messages"},
		},
		"a region that is none": {
			input: []string{metadata(t, `{queueURL: "`+url+`", awsRegion: "Ireland"}`)}, wantSpec: `{"queue": {"region": null}}`, wantRemarks: []string{`!spec.triggers[0].metadata.awsRegion: "Ireland" is no region`},
		},
		"the queue's URL from the first container": {
			input: []string{metadata(t, `{queueURLFromEnv: QUEUE_URL}`)}, wantSpec: `{"queue": {"url": "` + url + `"}, "suspend": null}`,
		},
		"the queue's URL from a container": {
			input:    []string{strings.Replace(metadata(t, `{queueURLFromEnv: QUEUE_URL}`), "\nspec:\n", "\nspec:\n  envSourceContainerName: sidecar\n", 1)},
			wantSpec: `{"queue": {"url": "https://sqs.eu-west-1.amazonaws.com/123456789012/other"}}`,
		},
		"the queue's URL from a Secret": {
			input:       []string{metadata(t, `{queueURLFromEnv: KEY, awsRegion: eu-west-2}`)},
			wantSpec:    `{"queue": {"url": "https://sqs.eu-west-2.amazonaws.com/000000000000/replace-me"}, "suspend": true}`,
			wantRemarks: []string{"!spec.triggers[0].metadata.queueURLFromEnv: the value of KEY is not in the ScaledJob", "!spec.triggers[0].metadata.queueURLFromEnv: there is no queue URL"},
		},
		"a queue's name": {
			input:       []string{metadata(t, `{queueURL: renders.fifo}`)},
			wantSpec:    `{"queue": {"url": "https://sqs.us-east-1.amazonaws.com/000000000000/renders.fifo"}, "suspend": true}`,
			wantRemarks: []string{`!spec.triggers[0].metadata.queueURL: there is no queue URL to be had from "renders.fifo"`},
		},
		"no queue": {
			input: []string{metadata(t, `{queueURL: ""}`)}, wantSpec: `{"suspend": true}`, wantRemarks: []string{"!spec.triggers[0].metadata.queueURL: there is no queue URL"},
		},
		"the Pod's identity": {
			input: []string{metadata(t, `{queueURL: "`+url+`"}`)}, wantSpec: `{"queue": {"credentials": null}}`, wantRemarks: []string{"!spec.triggers[0].metadata.identityOwner: the AWS identity of the ScaledJob's Pod is not in the input"},
		},
		"keys of the container": {
			input:    []string{metadata(t, `{queueURL: "`+url+`", awsAccessKeyIDFromEnv: KEY_ID, awsSecretAccessKeyFromEnv: KEY}`)},
			wantSpec: `{"queue": {"credentials": {"secretRef": {"name": "aws"}}}}`, wantRemarks: []string{"!spec.triggers[0].metadata.identityOwner: the identity in the Secret"}, unwanted: "make a Secret",
		},
		"an authentication that is elsewhere": {
			input: []string{triggered}, wantSpec: `{"queue": {"credentials": null}}`, wantRemarks: []string{"!spec.triggers[0].authenticationRef: TriggerAuthentication keys is not in the input"},
		},
		"keys that fit": {
			input:    []string{triggered, authenticationOf("TriggerAuthentication", "{secretTargetRef: [{parameter: awsAccessKeyID, name: aws, key: AWS_ACCESS_KEY_ID}, {parameter: awsSecretAccessKey, name: aws, key: AWS_SECRET_ACCESS_KEY}, {parameter: awsRegion, name: a, key: b}]}")},
			wantSpec: `{"queue": {"credentials": {"secretRef": {"name": "aws"}}}}`, unwanted: "make a Secret",
		},
		"keys by other names": {
			input:    []string{triggered, authenticationOf("TriggerAuthentication", "{secretTargetRef: [{parameter: awsAccessKeyID, name: aws, key: id}, {parameter: awsSecretAccessKey, name: aws, key: key}]}")},
			wantSpec: `{"queue": {"credentials": {"secretRef": {"name": "render-aws"}}}}`, wantRemarks: []string{"!spec.triggers[0].authenticationRef: make a Secret render-aws"},
		},
		"keys in two Secrets": {
			input:    []string{triggered, authenticationOf("TriggerAuthentication", "{secretTargetRef: [{parameter: awsAccessKeyID, name: a, key: AWS_ACCESS_KEY_ID}, {parameter: awsSecretAccessKey, name: b, key: AWS_SECRET_ACCESS_KEY}]}")},
			wantSpec: `{"queue": {"credentials": {"secretRef": {"name": "render-aws"}}}}`, wantRemarks: []string{"!spec.triggers[0].authenticationRef: make a Secret render-aws"},
		},
		"keys of the cluster": {
			input:    []string{strings.Replace(triggered, "{name: keys}", "{name: keys, kind: ClusterTriggerAuthentication}", 1), authenticationOf("ClusterTriggerAuthentication", "{secretTargetRef: [{parameter: awsAccessKeyID, name: a, key: AWS_ACCESS_KEY_ID}]}")},
			wantSpec: `{"queue": {"credentials": null}}`, wantRemarks: []string{"!spec.triggers[0].authenticationRef: the Secrets of a ClusterTriggerAuthentication are in KEDA's namespace"},
		},
		"a role": {
			input:    []string{triggered, authenticationOf("TriggerAuthentication", "{podIdentity: {provider: aws, roleArn: \"arn:aws:iam::123456789012:role/renders\", externalID: x}}")},
			wantSpec: `{"queue": {"credentials": {"roleARN": "arn:aws:iam::123456789012:role/renders"}}}`, wantRemarks: []string{"!spec.triggers[0].authenticationRef: the role's trust policy has to let the operator's identity assume it, with the external ID queuebinding:batch/render"},
		},
		"no role": {
			input:    []string{triggered, authenticationOf("TriggerAuthentication", "{podIdentity: {provider: aws, roleArn: renders}}")},
			wantSpec: `{"queue": {"credentials": null}}`, wantRemarks: []string{`!spec.triggers[0].authenticationRef: "renders" is no role`},
		},
		"a role in a Secret": {
			input:    []string{triggered, authenticationOf("TriggerAuthentication", "{secretTargetRef: [{parameter: awsRoleArn, name: a, key: b}]}")},
			wantSpec: `{"queue": {"credentials": null}}`, wantRemarks: []string{"!spec.triggers[0].authenticationRef: the role of keys is in a Secret"},
		},
		"the workload's role": {
			input:    []string{triggered, authenticationOf("TriggerAuthentication", "{podIdentity: {provider: aws, identityOwner: workload}}")},
			wantSpec: `{"queue": {"credentials": null}}`, wantRemarks: []string{"!spec.triggers[0].authenticationRef: KEDA takes the role of the ScaledJob's service account"},
		},
		"KEDA's own identity": {
			input:    []string{triggered, authenticationOf("TriggerAuthentication", "{podIdentity: {provider: aws}}")},
			wantSpec: `{"queue": {"credentials": null}}`, wantRemarks: []string{"!spec.triggers[0].authenticationRef: KEDA's operator uses its own"},
		},
		"keys that KEDA does not use": {
			input:    []string{metadata(t, `{queueLength: "1", identityOwner: operator, queueURL: "`+url+`"}`) + auth, authenticationOf("TriggerAuthentication", "{secretTargetRef: [{parameter: awsAccessKeyID, name: aws, key: AWS_ACCESS_KEY_ID}]}")},
			wantSpec: `{"queue": {"credentials": null}}`, wantRemarks: []string{"!spec.triggers[0].authenticationRef: KEDA's operator uses its own"},
		},
		"a vault": {
			input:    []string{triggered, authenticationOf("TriggerAuthentication", "{hashiCorpVault: {address: x, secrets: []}}")},
			wantSpec: `{"queue": {"credentials": null}}`, wantRemarks: []string{"!spec.triggers[0].authenticationRef: TriggerAuthentication keys gets its credentials in a way"},
		},
		"a trigger of another kind beside": {
			input:    []string{render + "  - type: cron\n    metadata: {start: x}\n"},
			wantSpec: `{"queue": {"url": "` + url + `"}}`, wantRemarks: []string{"spec.triggers[1]: a trigger of type cron"},
		},
		"a long name with dots": {
			input: []string{with(t, "name: render\n  namespace", "name: "+strings.Repeat("a.", 30)+"z\n  namespace")}, wantSpec: `{}`, wantRemarks: []string{"metadata.name: a-a-"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			conversions, err := Convert(objectsOf(t, tc.input...))
			if err != nil {
				t.Fatal(err)
			}
			if len(conversions) != 1 {
				t.Fatalf("%d bindings", len(conversions))
			}
			got := conversions[0]
			s.accepts(t, got.Binding)
			holds(t, "spec", specOf(t, got.Binding), tc.wantSpec)
			for _, want := range tc.wantRemarks {
				if !remarked(got.Remarks, want) {
					t.Errorf("no remark %q in %v", want, got.Remarks)
				}
			}
			for _, remark := range got.Remarks {
				if tc.unwanted != "" && strings.Contains(remark.String(), tc.unwanted) {
					t.Errorf("unwanted: %s", remark)
				}
			}
		})
	}
}

func remarked(said []Remark, want string) bool {
	text, needed := strings.CutPrefix(want, "!")
	for _, remark := range said {
		if strings.HasPrefix(remark.String(), text) && remark.Needed == needed {
			return true
		}
	}
	return false
}

func specOf(t *testing.T, binding *v1alpha1.QueueBinding) any {
	t.Helper()
	data, err := json.Marshal(binding.Spec)
	if err != nil {
		t.Fatal(err)
	}
	var spec any
	if err := json.Unmarshal(data, &spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

// holds fails the test unless got has what want has; null is for what must not be there.
func holds(t *testing.T, path string, got any, want any) {
	t.Helper()
	if text, ok := want.(string); ok && path == "spec" {
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
	}
	fields, ok := want.(map[string]any)
	if !ok {
		if got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
		return
	}
	has, _ := got.(map[string]any)
	for name, value := range fields {
		holds(t, path+"."+name, has[name], value)
	}
}

func TestEachQueueHasABindingOfItsOwn(t *testing.T) {
	s := loadSchema(t)
	conversions, err := Convert(objectsOf(t, render+`  - type: aws-sqs-queue
    metadata: {queueURL: "https://sqs.eu-west-1.amazonaws.com/123456789012/second", identityOwner: operator}
`))
	if err != nil || len(conversions) != 2 {
		t.Fatalf("got %v, %v", conversions, err)
	}
	for i, want := range []string{"render-1 renders", "render-2 second"} {
		binding := conversions[i].Binding
		s.accepts(t, binding)
		if got := binding.Name + " " + binding.Spec.Queue.URL[strings.LastIndex(binding.Spec.Queue.URL, "/")+1:]; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if !remarked(conversions[i].Remarks, "!spec.triggers: each of the 2 queues has a binding") {
			t.Errorf("nothing is said of the limit: %v", conversions[i].Remarks)
		}
		for _, remark := range conversions[i].Remarks {
			if strings.HasPrefix(remark.Field, fmt.Sprintf("spec.triggers[%d]", 1-i)) {
				t.Errorf("a remark about the other one: %s", remark)
			}
		}
	}
}

func TestWhatIsNoScaledJobIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		input []string
		want  string
	}{
		"nothing":                       {nil, "there is no ScaledJob in the input"},
		"an authentication alone":       {[]string{authenticationOf("TriggerAuthentication", "{}")}, "there is no ScaledJob in the input"},
		"a Deployment":                  {[]string{"{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}"}, "Deployment web is no ScaledJob of KEDA"},
		"a Job of another group":        {[]string{"{apiVersion: batch/v1, kind: ScaledJob, metadata: {name: a}}"}, "is no ScaledJob of KEDA"},
		"a ScaledObject":                {[]string{"{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: web}}"}, "ScaledObject web scales a workload"},
		"a kind to come":                {[]string{"{apiVersion: keda.sh/v1alpha1, kind: Other, metadata: {name: a}}"}, "Other a is no ScaledJob"},
		"no kind":                       {[]string{"{a: b}"}, "an object without a kind is no ScaledJob"},
		"another trigger":               {[]string{with(t, "type: aws-sqs-queue", "type: rabbitmq")}, "ScaledJob render has no trigger of type aws-sqs-queue"},
		"no template":                   {[]string{"{apiVersion: keda.sh/v1alpha1, kind: ScaledJob, metadata: {name: a}, spec: {triggers: []}}"}, "ScaledJob a has no containers"},
		"what is no number":             {[]string{spec(t, "maxReplicaCount: many")}, "ScaledJob render cannot be read"},
		"two that would become one":     {[]string{render, with(t, "name: render\n  namespace", "name: Render\n  namespace")}, "would both become the binding render"},
		"something else beside the one": {[]string{render, "{apiVersion: v1, kind: Secret, metadata: {name: a}}"}, "Secret a is no ScaledJob"},
	} {
		t.Run(name, func(t *testing.T) {
			conversions, err := Convert(objectsOf(t, tc.input...))
			if err == nil || !strings.Contains(err.Error(), tc.want) || conversions != nil {
				t.Errorf("got %v, %v; want %q", conversions, err, tc.want)
			}
		})
	}
}
