package job

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// P2: a message and attempt have one name, and another message, attempt or binding has another.
func TestJobNameIsTheLineages(t *testing.T) {
	first := Lineage{Root: "m1", Attempt: 1}
	name := first.JobName("pings", "u1")
	if again := first.JobName("pings", "u1"); again != name {
		t.Errorf("the same lineage gives %s and %s", name, again)
	}
	for what, other := range map[string]string{
		"another message":               Lineage{Root: "m2", Attempt: 1}.JobName("pings", "u1"),
		"another attempt":               first.Next().JobName("pings", "u1"),
		"a binding with another UID":    first.JobName("pings", "u2"),
		"root and attempt that run on":  Lineage{Root: "m11", Attempt: 1}.JobName("pings", "u1"),
		"root and attempt that run on2": Lineage{Root: "m1", Attempt: 11}.JobName("pings", "u1"),
	} {
		if other == name {
			t.Errorf("%s gives the same name %s", what, name)
		}
	}
}

func TestJobNameIsADNSLabelForAnyMessage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		binding := rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?`).Draw(t, "binding")
		lineage := Lineage{Root: rapid.String().Draw(t, "root"), Attempt: rapid.IntRange(1, 1<<30).Draw(t, "attempt")}
		if problems := validation.IsDNS1123Label(lineage.JobName(binding, types.UID(rapid.String().Draw(t, "uid")))); len(problems) > 0 {
			t.Fatal(problems)
		}
		if problems := validation.IsValidLabelValue(lineage.MessageLabel()); len(problems) > 0 {
			t.Fatal(problems)
		}
	})
}

func TestLineageOf(t *testing.T) {
	attributes := queue.Attributes{"color": {DataType: "String", StringValue: "red"}}
	carried := Lineage{Root: "root", Attempt: 3}
	with := func(body string, lineage queue.Attribute) *queue.Message {
		m := aMessage(body)
		m.Attributes = queue.Attributes{"color": attributes["color"], v1alpha1.AttributeLineage: lineage}
		return m
	}
	own := Lineage{Root: aMessage("").ID, Attempt: 1}
	valid := carried.Attribute("body", attributes)
	text := func(s string) queue.Attribute { return queue.Attribute{DataType: "String", StringValue: s} }
	for name, tc := range map[string]struct {
		message *queue.Message
		want    Lineage
	}{
		"plain message":                      {aMessage("body"), own},
		"requeued message":                   {with("body", valid), carried},
		"attributes copied to another body":  {with("other body", valid), own},
		"attribute of another message":       {with("body", carried.Attribute("body", nil)), own},
		"no digest":                          {with("body", text("root/3")), own},
		"no attempt":                         {with("body", text("root/x/"+strings.Split(valid.StringValue, "/")[2])), own},
		"attempt 0":                          {with("body", Lineage{Root: "root"}.Attribute("body", attributes)), own},
		"no root":                            {with("body", Lineage{Attempt: 1}.Attribute("body", attributes)), own},
		"a root that is longer than any ID":  {with("body", Lineage{Root: strings.Repeat("x", 129), Attempt: 1}.Attribute("body", attributes)), own},
		"a root that would end before it is": {with("body", Lineage{Root: "a/b", Attempt: 1}.Attribute("body", attributes)), own},
	} {
		t.Run(name, func(t *testing.T) {
			if got := LineageOf(tc.message); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}
