// Package grants reads what the templates of config/aws grant, statement by statement, for tests that compare it with what is asked
// for. Statements have names (Sid); those without are not read.
package grants

import (
	"fmt"
	"os"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"go.yaml.in/yaml/v3"
)

// OfCloudFormation returns the actions of each statement of a CloudFormation template.
func OfCloudFormation(file string) (map[string][]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading a template: %w", err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	grants := map[string][]string{}
	var visit func(*yaml.Node)
	visit = func(node *yaml.Node) {
		if node.Kind == yaml.MappingNode {
			values := map[string]*yaml.Node{}
			for i := 0; i < len(node.Content); i += 2 {
				values[node.Content[i].Value] = node.Content[i+1]
			}
			if sid, ok := values["Sid"]; ok {
				for _, action := range values["Action"].Content {
					grants[sid.Value] = append(grants[sid.Value], action.Value)
				}
			}
		}
		for _, child := range node.Content {
			visit(child)
		}
	}
	visit(&document)
	return grants, nil
}

// OfTerraform returns the same of a module's file.
func OfTerraform(file string) (map[string][]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading a module: %w", err)
	}
	parsed, diagnostics := hclsyntax.ParseConfig(data, file, hcl.InitialPos)
	if diagnostics.HasErrors() {
		return nil, diagnostics
	}
	grants := map[string][]string{}
	var visit func(*hclsyntax.Body) error
	visit = func(body *hclsyntax.Body) error {
		if sid, ok := body.Attributes["sid"]; ok {
			name, _ := sid.Expr.Value(nil)
			actions, diagnostics := body.Attributes["actions"].Expr.Value(nil)
			if diagnostics.HasErrors() {
				return diagnostics
			}
			for _, action := range actions.AsValueSlice() {
				grants[name.AsString()] = append(grants[name.AsString()], action.AsString())
			}
		}
		for _, block := range body.Blocks {
			if err := visit(block.Body); err != nil {
				return err
			}
		}
		return nil
	}
	if err := visit(parsed.Body.(*hclsyntax.Body)); err != nil {
		return nil, err
	}
	return grants, nil
}
