package main

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const crd = `
spec:
  versions:
  - name: v1alpha1
    schema:
      openAPIV3Schema:
        description: the binding
        properties:
          spec:
            description: the binding's spec
            properties:
              jobTemplate:
                description: the template
                properties:
                  metadata: {description: the metadata, type: object}
                  spec:
                    description: the Job's spec
                    properties:
                      backoffLimit: {description: retries, maximum: 2147483647, type: integer}
                      description:
                        description: a field that is called description
                        type: string
                      template:
                        description: the Pods
                        properties:
                          args:
                            description: a list
                            items: {description: an item, type: string}
                            type: array
                          limits:
                            additionalProperties:
                              anyOf: [{description: a number, type: integer}, {type: string}]
                              description: a quantity
                            type: object
                          spec:
                            description: a Pod
                            properties:
                              ephemeralContainers: {items: {type: object}, type: array}
                              restartPolicy: {type: string}
`

func TestFitStripsBelowTheJobSpecOnly(t *testing.T) {
	out, err := fit([]byte(crd))
	if err != nil {
		t.Fatal(err)
	}
	for _, kept := range []string{"the binding", "the binding's spec", "the template", "the metadata", "the Job's spec", "maximum: 2147483647", "restartPolicy"} {
		if !strings.Contains(string(out), kept) {
			t.Errorf("%q is gone", kept)
		}
	}
	for _, gone := range []string{"retries", "called description", "the Pods", "a list", "an item", "a number", "a quantity", "a Pod", "ephemeralContainers"} {
		if strings.Contains(string(out), gone) {
			t.Errorf("%q is still there", gone)
		}
	}
	if !strings.HasPrefix(string(out), "---\n") {
		t.Error("the document marker is gone")
	}

	var parsed map[string]any
	if err := yaml.Unmarshal(out, &parsed); err != nil {
		t.Fatal(err)
	}
	versions := parsed["spec"].(map[string]any)["versions"].([]any)
	jobSpec, err := descend(versions[0], "schema", "openAPIV3Schema", "properties", "spec", "properties", "jobTemplate", "properties", "spec", "properties")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := jobSpec["description"]; !ok {
		t.Error("the property that is called description is gone")
	}

	again, err := fit(out)
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != string(out) {
		t.Error("a second pass changed the file")
	}
}

func TestFitRefuses(t *testing.T) {
	tests := map[string]struct {
		in        string
		wantError string
	}{
		"a file that is no CRD":    {in: "kind: ConfigMap", wantError: "no versions"},
		"a CRD without a template": {in: "spec: {versions: [{schema: {openAPIV3Schema: {properties: {}}}}]}", wantError: `no "spec"`},
		"a CRD that is too large":  {in: crd + "      x-padding: " + strings.Repeat("x", maxBytes), wantError: "must be less than"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := fit([]byte(test.in))
			if err == nil || !strings.Contains(err.Error(), test.wantError) {
				t.Errorf("got error %v, want one that says %q", err, test.wantError)
			}
		})
	}
}
