package grants_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"go.yaml.in/yaml/v3"
)

var (
	root = filepath.Join("..", "..")
	// stackParameter finds what a command gives a stack, stackOutput what is read of it, and moduleArgument what a Terraform module is given.
	stackParameter = regexp.MustCompile(`[ ` + "`" + `]([A-Z][A-Za-z]*[a-z][A-Za-z]*)=[A-Za-z"]`)
	stackOutput    = regexp.MustCompile(`\$\(output ([A-Za-z]+)\)`)
	moduleArgument = regexp.MustCompile(`(?m)^      ([a-z_]+) += `)
)

// What docs/eks.md gives the templates, and reads of them, is there.
func TestTheWalkOnEKSUsesTheTemplatesAsTheyAre(t *testing.T) {
	doc := read(t, "docs", "eks.md")
	var template struct {
		Parameters map[string]yaml.Node `yaml:"Parameters"`
		Outputs    map[string]yaml.Node `yaml:"Outputs"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "config", "aws", "cloudformation.yaml")), &template); err != nil {
		t.Fatal(err)
	}
	parameters := names(stackParameter, doc)
	for _, name := range parameters {
		if _, ok := template.Parameters[name]; !ok {
			t.Errorf("docs/eks.md gives the stack %s, which has no such parameter", name)
		}
	}
	outputs := names(stackOutput, doc)
	for _, name := range outputs {
		if _, ok := template.Outputs[name]; !ok {
			t.Errorf("docs/eks.md reads %s of the stack, which has no such output", name)
		}
	}
	variables := variablesOf(t, "variables.tf")
	arguments := names(moduleArgument, doc)
	for _, name := range arguments {
		if name != "source" && !slices.Contains(variables, name) {
			t.Errorf("docs/eks.md gives the module %s, which has no such variable", name)
		}
	}
	if len(parameters) < 5 || len(outputs) < 2 || len(arguments) < 4 {
		t.Errorf("found only the parameters %v, the outputs %v and the arguments %v", parameters, outputs, arguments)
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// names are what an expression finds, each once.
func names(expression *regexp.Regexp, in string) []string {
	var found []string
	for _, match := range expression.FindAllStringSubmatch(in, -1) {
		found = append(found, match[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// variablesOf are the variables that a file of the Terraform module declares.
func variablesOf(t *testing.T, file string) []string {
	t.Helper()
	parsed, diagnostics := hclsyntax.ParseConfig([]byte(read(t, "config", "aws", "terraform", file)), file, hcl.InitialPos)
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	var declared []string
	for _, block := range parsed.Body.(*hclsyntax.Body).Blocks {
		if block.Type == "variable" {
			declared = append(declared, block.Labels[0])
		}
	}
	return declared
}
