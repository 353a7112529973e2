package main

import (
	"strings"
	"testing"
)

// kubectl explain wraps each line of a description by itself, so that a line must be a whole paragraph or list item.
func TestParagraphs(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"one line":                      {in: "limit is a limit.", want: "limit is a limit."},
		"the lines of a paragraph":      {in: "limit is\na limit\nof Jobs.", want: "limit is a limit of Jobs."},
		"a blank line between two":      {in: "first\nhalf\n\nsecond\nhalf", want: "first half\n\nsecond half"},
		"several blank lines":           {in: "first\n\n\nsecond\n", want: "first\n\nsecond"},
		"list items":                    {in: "one of\n- a long\n  item\n- another\n* a third", want: "one of\n- a long item\n- another\n* a third"},
		"numbered items":                {in: "in order:\n1. take\nit\n2. leave it", want: "in order:\n1. take it\n2. leave it"},
		"items as gofmt indents them":   {in: "one of\n  - a long\n    item\n  - another\n\nin order:\n 1. take\n    it", want: "one of\n  - a long item\n  - another\n\nin order:\n 1. take it"},
		"an example with a dash":        {in: "such as\n\n\t- a: 1\n\t  b: 2", want: "such as\n\n\t- a: 1\n\t  b: 2"},
		"text after a list":             {in: "- item\n\nthe rest\nof it", want: "- item\n\nthe rest of it"},
		"an example, which is indented": {in: "such as\n\n    a:\n      b: 1\n\nand so\non", want: "such as\n\n    a:\n      b: 1\n\nand so on"},
		"a dash that begins a line":     {in: "from one\n-1 to two", want: "from one -1 to two"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := paragraphs(test.in)
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if again := paragraphs(got); again != got {
				t.Errorf("a second pass made %q of %q", again, got)
			}
		})
	}
}

func TestFitJoinsTheLinesOfAllDescriptions(t *testing.T) {
	split := strings.NewReplacer(
		"the binding's spec", `"the binding's\nspec"`,
		"the metadata", `"the\nmetadata"`,
		"the Job's spec", `"the Job's\nspec"`,
	).Replace(crd)
	out, err := fit([]byte(split))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := fit([]byte(crd))
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != string(whole) {
		t.Errorf("got\n%s\nwant\n%s", out, whole)
	}
}
