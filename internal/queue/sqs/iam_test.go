package sqs

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"go.yaml.in/yaml/v3"
)

// The templates of config/aws grant what the code asks for, statement by statement. TestASessionIsForOneQueueAndNamed compares
// these lists with the requests that it makes.
func TestTemplatesGrantWhatIsAskedFor(t *testing.T) {
	for template, granted := range map[string]map[string][]string{
		"cloudformation.yaml": grantsOfCloudFormation(t, filepath.Join("..", "..", "..", "config", "aws", "cloudformation.yaml")),
		"terraform/main.tf":   grantsOfTerraform(t, filepath.Join("..", "..", "..", "config", "aws", "terraform", "main.tf")),
	} {
		for sid, want := range map[string][]string{
			"Queue": queueActions, "DeadLetterCount": deadLetterCounts, "DeadLetterRedrive": deadLetterRedrive, "Key": kmsActions,
		} {
			if got := granted[sid]; !slices.Equal(got, want) {
				t.Errorf("%s: statement %s grants %v, want %v", template, sid, got, want)
			}
			delete(granted, sid)
		}
		for sid, actions := range granted {
			t.Errorf("%s: statement %s grants %v, which nothing asks for", template, sid, actions)
		}
	}
}

// grantsOfCloudFormation returns the actions of each statement that has a Sid.
func grantsOfCloudFormation(t *testing.T, file string) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
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
	return grants
}

// grantsOfTerraform returns the same of a module's file.
func grantsOfTerraform(t *testing.T, file string) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parsed, diagnostics := hclsyntax.ParseConfig(data, file, hcl.InitialPos)
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	grants := map[string][]string{}
	var visit func(*hclsyntax.Body)
	visit = func(body *hclsyntax.Body) {
		if sid, ok := body.Attributes["sid"]; ok {
			name, _ := sid.Expr.Value(nil)
			actions, diagnostics := body.Attributes["actions"].Expr.Value(nil)
			if diagnostics.HasErrors() {
				t.Fatal(diagnostics)
			}
			for _, action := range actions.AsValueSlice() {
				grants[name.AsString()] = append(grants[name.AsString()], action.AsString())
			}
		}
		for _, block := range body.Blocks {
			visit(block.Body)
		}
	}
	visit(parsed.Body.(*hclsyntax.Body))
	return grants
}
