package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

const scaledJob = `apiVersion: keda.sh/v1alpha1
kind: ScaledJob
metadata:
  name: render
  namespace: batch
spec:
  pollingInterval: 5
  jobTargetRef:
    template:
      spec:
        restartPolicy: Never
        volumes: [{name: scratch, emptyDir: {}}]
        containers: [{name: render, image: "render:1"}]
  triggers:
  - type: aws-sqs-queue
    metadata: {queueLength: "1", identityOwner: operator, queueURL: "https://sqs.eu-west-1.amazonaws.com/123456789012/renders"}
`

// runConvert runs the command on a standard input, and returns what it wrote and its exit code.
func runConvert(t *testing.T, input string, args ...string) (out, messages string, code int) {
	t.Helper()
	p, outBuffer, messageBuffer := fake(false)
	p.In = strings.NewReader(input)
	code = Run(context.Background(), p.Env, append([]string{"convert"}, args...))
	return outBuffer.String(), messageBuffer.String(), code
}

// bindingsOf reads the documents of an output.
func bindingsOf(t *testing.T, out string) []v1alpha1.QueueBinding {
	t.Helper()
	var bindings []v1alpha1.QueueBinding
	for document := range strings.SplitSeq(out, "---\n") {
		if document == "" {
			continue
		}
		binding := v1alpha1.QueueBinding{}
		if err := yaml.UnmarshalStrict([]byte(document), &binding); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		bindings = append(bindings, binding)
	}
	return bindings
}

func TestConvertReadsWhatKubectlWrites(t *testing.T) {
	file := filepath.Join(t.TempDir(), "scaledjob.yaml")
	if err := os.WriteFile(file, []byte(scaledJob), 0o600); err != nil {
		t.Fatal(err)
	}
	second := strings.Replace(scaledJob, "name: render\n", "name: other\n", 1)
	asJSON, err := yaml.YAMLToJSON([]byte(scaledJob))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		input, file string
		want        []string
	}{
		"a file":             {"", file, []string{"render"}},
		"the standard input": {scaledJob, "-", []string{"render"}},
		"several documents":  {"---\n" + scaledJob + "---\n---\n# nothing\n---\n" + second, "-", []string{"render", "other"}},
		"a list":             {"apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(scaledJob), "\n", "\n  "), "-", []string{"render"}},
		"JSON":               {string(asJSON), "-", []string{"render"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, messages, code := runConvert(t, tc.input, "-f", tc.file)
			if code != codeDone {
				t.Fatalf("exit code %d: %s", code, messages)
			}
			bindings := bindingsOf(t, out)
			if len(bindings) != len(tc.want) {
				t.Fatalf("got %d bindings:\n%s", len(bindings), out)
			}
			for i, binding := range bindings {
				if binding.Name != tc.want[i] || binding.Namespace != "batch" || binding.Spec.JobTemplate.Spec.Template.Spec.Volumes[0].EmptyDir == nil {
					t.Errorf("got %+v", binding)
				}
			}
			if strings.Contains(out, "status:") || strings.Contains(out, "message: {}") {
				t.Errorf("what is empty is written:\n%s", out)
			}
		})
	}
}

// What is said is on the standard error, and stays with the file.
func TestConvertSaysWhatItCouldNotTakeOver(t *testing.T) {
	out, messages, _ := runConvert(t, scaledJob, "-f", "-")
	unfolded := strings.ReplaceAll(out, "\n#   ", " ")
	for _, want := range []string{
		"to do: spec.jobTargetRef.template: the container must no longer receive from the queue",
		"note: spec.pollingInterval: not needed",
	} {
		_, text, _ := strings.Cut(want, ": ")
		if !strings.Contains(messages, want) || !strings.Contains(unfolded, "# - "+text) {
			t.Errorf("%q is missing in\n%s\nor in\n%s", want, messages, out)
		}
	}
}

// A ScaledJob comes from somebody else: no text of it may become a line of the binding, or play tricks on a terminal.
func TestConvertLetsNothingOutOfAComment(t *testing.T) {
	hostile := strings.Replace(scaledJob, "type: aws-sqs-queue", `type: "cron\nspec: {suspend: true}\n\x1b[2J\u2028kind: X"
    metadata: {}
  - type: aws-sqs-queue
    name: a`, 1)
	hostile = strings.Replace(hostile, "name: render\n", `name: "render\nkind: Pod"`+"\n", 1)
	out, messages, code := runConvert(t, hostile, "-f", "-")
	if code != codeDone {
		t.Fatalf("exit code %d: %s", code, messages)
	}
	if bindings := bindingsOf(t, out); len(bindings) != 1 || bindings[0].Kind != "QueueBinding" || bindings[0].Spec.Suspend {
		t.Errorf("got %+v", bindings)
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "spec: {") || strings.HasPrefix(line, "kind: Pod") || strings.HasPrefix(line, "kind: X") {
			t.Errorf("a line of the ScaledJob's own: %q", line)
		}
	}
	if strings.ContainsRune(messages+out, 0x1b) {
		t.Error("an escape sequence reaches the terminal")
	}
}

func TestConvertWritesJSON(t *testing.T) {
	out, _, code := runConvert(t, scaledJob, "-f", "-", "-o", "json")
	binding := v1alpha1.QueueBinding{}
	decoder := json.NewDecoder(bytes.NewReader([]byte(out)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&binding); err != nil || code != codeDone || binding.Name != "render" {
		t.Errorf("got %v, %d, %s", err, code, out)
	}
}

// Nothing is written where something cannot be converted, so that half of the input is never applied.
func TestConvertRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		input string
		args  []string
		want  string
		code  int
	}{
		"what is no ScaledJob":              {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n", []string{"-f", "-"}, "error: Deployment web is no ScaledJob of KEDA", codeError},
		"no trigger of SQS":                 {strings.Replace(scaledJob, "aws-sqs-queue", "kafka", 1), []string{"-f", "-"}, "error: ScaledJob render has no trigger of type aws-sqs-queue", codeError},
		"one of two":                        {scaledJob + "---\n" + strings.Replace(scaledJob, "aws-sqs-queue", "kafka", 1), []string{"-f", "-"}, "has no trigger of type aws-sqs-queue", codeError},
		"nothing":                           {"", []string{"-f", "-"}, "error: there is no ScaledJob in the input", codeError},
		"what is no YAML":                   {"a: b: c", []string{"-f", "-"}, "error: read -: ", codeError},
		"a file that is not there":          {"", []string{"-f", "/none"}, "error: open /none: no such file", codeError},
		"no file":                           {"", nil, "at least one of the flags", codeMisuse},
		"a name instead of a flag":          {"", []string{"scaledjob.yaml"}, "takes no arguments", codeMisuse},
		"an input without end":              {strings.Repeat("#\n", maxConvertBytes/2+1), []string{"-f", "-"}, "has more than 64 MiB", codeError},
		"a format that there is not, whole": {scaledJob, []string{"-f", "-", "-o", "xml"}, "xml", codeMisuse},
	} {
		t.Run(name, func(t *testing.T) {
			out, messages, code := runConvert(t, tc.input, tc.args...)
			if code != tc.code || out != "" || !strings.Contains(messages, tc.want) {
				t.Errorf("got %d, %q, %q; want %d, %q", code, out, messages, tc.code, tc.want)
			}
		})
	}
}
