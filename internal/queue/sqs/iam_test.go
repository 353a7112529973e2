package sqs

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/queuebinding/queuebinding/test/grants"
)

// The templates of config/aws grant what the code asks for, statement by statement. TestASessionIsForOneQueueAndNamed compares
// these lists with the requests that it makes, and test/tenants the templates with those of the operator at work.
func TestTemplatesGrantWhatIsAskedFor(t *testing.T) {
	aws := filepath.Join("..", "..", "..", "config", "aws")
	for template, read := range map[string]func(string) (map[string][]string, error){
		"cloudformation.yaml": grants.OfCloudFormation, "terraform/main.tf": grants.OfTerraform,
	} {
		granted, err := read(filepath.Join(aws, template))
		if err != nil {
			t.Fatal(err)
		}
		for sid, want := range map[string][]string{
			"Queue": queueActions, "DeadLetterCount": deadLetterCounts, "DeadLetterRedrive": deadLetterRedrive, "Key": kmsActions,
			"Assume": {"sts:AssumeRole"},
			// A request with a source identity needs the first. EKS Pod Identity's tags go along with every role that is assumed by its
			// sessions, which needs the second.
			"NameSession": {"sts:SetSourceIdentity", "sts:TagSession"},
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
