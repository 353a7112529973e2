package keda

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// examples are what KEDA's module publishes: the objects that its own end-to-end tests apply, and a sample.
type examples struct {
	scaledJobs map[string]*unstructured.Unstructured
	// sqs are the objects of each test of the SQS scaler: a ScaledObject with a trigger, and a TriggerAuthentication.
	sqs map[string][]*unstructured.Unstructured
}

// loadExamples reads KEDA's module, at the version that testdata/keda pins.
func loadExamples(t *testing.T) examples {
	t.Helper()
	download := exec.Command("go", "mod", "download", "-json", "github.com/kedacore/keda/v2")
	download.Dir = filepath.Join("testdata", "keda")
	output, err := download.Output()
	var module struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(output, &module); jsonErr != nil || module.Dir == "" {
		t.Fatalf("KEDA's module cannot be had: %v, %v, %s", err, jsonErr, module.Error)
	}
	found := examples{scaledJobs: map[string]*unstructured.Unstructured{}, sqs: map[string][]*unstructured.Unstructured{}}
	err = filepath.WalkDir(filepath.Join(module.Dir, "tests"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		where := strings.TrimPrefix(filepath.Dir(path), module.Dir+"/tests/")
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sqs := strings.Contains(string(source), sqsTrigger)
		var objects []*unstructured.Unstructured
		ast.Inspect(file, func(node ast.Node) bool {
			literal, ok := node.(*ast.BasicLit)
			isObject := ok && literal.Kind == token.STRING && strings.Contains(literal.Value, "apiVersion: "+Group+"/")
			if !isObject || !sqs && !strings.Contains(literal.Value, "kind: "+kindScaledJob) {
				return true
			}
			object := parse(t, path, literal)
			objects = append(objects, object)
			if object.GetKind() == kindScaledJob {
				found.scaledJobs[fmt.Sprintf("%s/%s-%d", where, object.GetName(), len(objects))] = object
			}
			return true
		})
		if sqs {
			found.sqs[where] = objects
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sample, err := os.ReadFile(filepath.Join(module.Dir, "config", "samples", "keda_v1alpha1_scaledjob.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(sample, &object.Object); err != nil {
		t.Fatal(err)
	}
	found.scaledJobs["config/samples"] = object
	if len(found.scaledJobs) < 20 || len(found.sqs) < 5 {
		t.Fatalf("found %d ScaledJobs and %d tests of the SQS scaler: look for them anew", len(found.scaledJobs), len(found.sqs))
	}
	return found
}

var placeholder = regexp.MustCompile(`\{\{\s*\.(\w+)\s*\}\}`)

// parse reads an object out of a template in Go code, as one of KEDA's tests might fill it.
func parse(t *testing.T, path string, literal *ast.BasicLit) *unstructured.Unstructured {
	t.Helper()
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		t.Fatal(err)
	}
	text = placeholder.ReplaceAllStringFunc(text, func(field string) string {
		switch name := placeholder.FindStringSubmatch(field)[1]; {
		case name == "SqsQueue":
			return "https://sqs.eu-west-1.amazonaws.com/123456789012/keda"
		case name == "AwsRegion":
			return "eu-west-1"
		case name == "RoleArn":
			return "arn:aws:iam::123456789012:role/keda"
		case strings.HasSuffix(name, "Count"), strings.HasSuffix(name, "Replicas"):
			return "2"
		default:
			return strings.ToLower(name)
		}
	})
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
		t.Fatalf("%s: %v\n%s", path, err, text)
	}
	return object
}

// KEDA has no example of a ScaledJob that follows an SQS queue. So each ScaledJob gets the trigger of each of KEDA's tests of the
// SQS scaler, which are ScaledObjects there, and the TriggerAuthentication of the same.
func TestKEDAsExamplesBecomeBindings(t *testing.T) {
	s, found := loadSchema(t), loadExamples(t)
	for job, scaledJob := range found.scaledJobs {
		for test, objects := range found.sqs {
			t.Run(job+"/"+test, func(t *testing.T) {
				input := []*unstructured.Unstructured{scaledJob.DeepCopy()}
				var triggers []any
				for _, object := range objects {
					if object.GetKind() != "ScaledObject" {
						input = append(input, object)
						continue
					}
					triggers, _, _ = unstructured.NestedSlice(object.Object, "spec", "triggers")
				}
				if err := unstructured.SetNestedSlice(input[0].Object, triggers, "spec", "triggers"); err != nil {
					t.Fatal(err)
				}
				conversions, err := Convert(input)
				if job == "config/samples" { // its template is left for the reader to write
					if err == nil || !strings.Contains(err.Error(), "has no containers") {
						t.Errorf("got %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if len(conversions) != 1 {
					t.Fatalf("%d bindings for one trigger", len(conversions))
				}
				binding := conversions[0].Binding
				s.accepts(t, binding)
				if got := binding.Spec.Queue; got.URL != "https://sqs.eu-west-1.amazonaws.com/123456789012/keda" || got.Region != "eu-west-1" {
					t.Errorf("the queue is %+v", got)
				}
				for _, remark := range conversions[0].Remarks {
					if strings.Contains(remark.Text, "is not in the input") {
						t.Errorf("the TriggerAuthentication was not found: %s", remark)
					}
					if strings.Contains(remark.Text, "unknown field") {
						t.Errorf("a field of KEDA's is not known: %s", remark)
					}
				}
			})
		}
	}
}

// As they are, they follow something else, and say so.
func TestKEDAsOtherScaledJobsAreRefused(t *testing.T) {
	for job, scaledJob := range loadExamples(t).scaledJobs {
		if job == "config/samples" {
			continue
		}
		if _, err := Convert([]*unstructured.Unstructured{scaledJob}); err == nil || !strings.Contains(err.Error(), "has no trigger of type aws-sqs-queue") {
			t.Errorf("%s: got %v", job, err)
		}
	}
}
