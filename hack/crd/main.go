// Command crd makes a generated CRD fit for `kubectl apply` and `kubectl explain`. It removes the descriptions below the
// Job template's spec, which are Kubernetes' own and make up most of the file, and makes each paragraph of the others a
// single line. It also removes ephemeral containers, which no Pod template may have.
//
// It fails where the result is still too large, so that the limit cannot be passed unseen.
package main

import (
	"bytes"
	"fmt"
	"os"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// maxBytes is well below the 256 KiB that an object's annotations may hold together, because `kubectl apply` stores
// the whole file in one of them.
const maxBytes = 200_000

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: crd <file>")
		os.Exit(2)
	}
	if err := rewrite(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "crd:", err)
		os.Exit(1)
	}
}

func rewrite(path string) error {
	in, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	out, err := fit(in)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, out, 0o644)
}

// fit returns the CRD with fewer and unwrapped descriptions, in all its versions.
func fit(in []byte) ([]byte, error) {
	var crd map[string]any
	if err := yaml.Unmarshal(in, &crd); err != nil {
		return nil, err
	}
	spec, _ := crd["spec"].(map[string]any)
	versions, _ := spec["versions"].([]any)
	if len(versions) == 0 {
		return nil, fmt.Errorf("no versions: not a CustomResourceDefinition")
	}
	for i, version := range versions {
		schema, err := descend(version, "schema", "openAPIV3Schema")
		if err != nil {
			return nil, fmt.Errorf("version %d: %w", i, err)
		}
		jobSpec, err := descend(schema, "properties", "spec", "properties", "jobTemplate", "properties", "spec")
		if err != nil {
			return nil, fmt.Errorf("version %d: %w", i, err)
		}
		// The spec's own description is ours and stays.
		own, described := jobSpec["description"]
		stripDescriptions(jobSpec)
		if described {
			jobSpec["description"] = own
		}
		unwrapDescriptions(schema)
		// No Pod template may have them, and their schema is as long as that of all other containers.
		podSpec, err := descend(jobSpec, "properties", "template", "properties", "spec", "properties")
		if err != nil {
			return nil, fmt.Errorf("version %d: %w", i, err)
		}
		delete(podSpec, "ephemeralContainers")
	}
	out, err := write(crd)
	if err != nil {
		return nil, err
	}
	if len(out) >= maxBytes {
		return nil, fmt.Errorf("%d bytes, must be less than %d for `kubectl apply`", len(out), maxBytes)
	}
	return out, nil
}

// write gives each field of the Job template's spec a single line: two thirds of the file would be indentation.
func write(crd map[string]any) ([]byte, error) {
	plain, err := yaml.Marshal(crd)
	if err != nil {
		return nil, err
	}
	var document yamlv3.Node
	if err := yamlv3.Unmarshal(plain, &document); err != nil {
		return nil, err
	}
	flatten(&document, "jobTemplate", "properties", "spec", "properties")
	var out bytes.Buffer
	out.WriteString("---\n")
	encoder := yamlv3.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return nil, err
	}
	return out.Bytes(), encoder.Close()
}

// flatten puts on one line each what is below a path of keys, wherever that begins.
func flatten(node *yamlv3.Node, path ...string) {
	if len(path) == 0 {
		for i := 1; i < len(node.Content); i += 2 {
			node.Content[i].Style = yamlv3.FlowStyle
		}
		return
	}
	for i, child := range node.Content {
		if node.Kind != yamlv3.MappingNode {
			flatten(child, path...)
		} else if i%2 == 1 {
			if node.Content[i-1].Value == path[0] {
				flatten(child, path[1:]...)
			} else if path[0] == "jobTemplate" {
				flatten(child, path...)
			}
		}
	}
}

// descend follows keys through nested maps.
func descend(node any, keys ...string) (map[string]any, error) {
	for _, key := range keys {
		fields, ok := node.(map[string]any)
		if !ok || fields[key] == nil {
			return nil, fmt.Errorf("no %q on the way to the Job template's spec", key)
		}
		node = fields[key]
	}
	fields, ok := node.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the Job template's spec is no schema")
	}
	return fields, nil
}
