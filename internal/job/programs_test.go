package job

import (
	"fmt"
	"strings"
	"testing"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

func TestProgramsAreKeptWithinTheirBound(t *testing.T) {
	p := newPrograms(10 * bytesPerProgram)
	for i := range 100 {
		if _, err := p.get(fmt.Sprintf("message.json.a%d", i)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.get("message.body"); err != nil { // in use all the time
			t.Fatal(err)
		}
	}
	if p.bytes > p.most || p.recent.Len() != len(p.known) || len(p.known) < 2 {
		t.Errorf("%d programs of %d bytes are kept, want at most %d bytes", len(p.known), p.bytes, p.most)
	}
	for _, expression := range []string{"message.body", "message.json.a99"} {
		if p.find(expression) == nil {
			t.Errorf("the program of %s was dropped", expression)
		}
	}
	if p.find("message.json.a0") != nil {
		t.Error("the oldest program was kept")
	}
}

func TestAProgramIsKeptOnce(t *testing.T) {
	p := newPrograms(maxPrograms)
	first, err := p.get("message.body + 'x'")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := p.get("message.body + 'x'"); again != first || p.bytes != first.bytes {
		t.Errorf("%d bytes are kept, want one program of %d", p.bytes, first.bytes)
	}
	if p.check("message.body + 'y'") != "" || len(p.known) != 1 {
		t.Error("a program that was only checked is kept")
	}
}

// 10 MiB of expressions must not become gibibytes, neither while they are compiled nor after.
func TestExpressionsAreBounded(t *testing.T) {
	list := func(item string, n int) string { return "[" + strings.Repeat(item+",", n) + item + "]" }
	long := list("1", 2000)
	for name, tc := range map[string]struct {
		expressions []string
		want        string // part of the error
	}{
		"one that is too long":         {[]string{list("1", 2100)}, "it may have 4096"},
		"many that are":                {[]string{long, long, long, long, long}, "all of a binding may have 16384"},
		"macros":                       {[]string{list("[].map(x,x)", 300)}, "macros"},
		"empty maps":                   {[]string{list("{}", 1000)}, "empty maps"},
		"parentheses":                  {[]string{strings.Repeat("(", 2000)}, "recursion"},
		"operators":                    {[]string{"1" + strings.Repeat("+1", 2000)}, "recursion"},
		"the longest that is accepted": {[]string{long, long, long, long}, ""},
		"macros that are accepted":     {[]string{list("[1].map(x,x)", 40)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var variables []v1alpha1.Variable
			for i, expression := range tc.expressions {
				variables = append(variables, v1alpha1.Variable{Name: fmt.Sprintf("v%d", i), Expression: expression})
			}
			var err error
			got := allocated(func() { _, err = CompileVariables(variables) })
			if most := int64(48 << 20); got > most {
				t.Errorf("allocated %d MiB, want at most %d", got>>20, most>>20)
			}
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}
