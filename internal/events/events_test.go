package events

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// reasons returns the API's reasons of events, by the names of their constants.
func reasons(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../api/v1alpha1/reasons.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	ast.Inspect(file, func(node ast.Node) bool {
		if value, ok := node.(*ast.ValueSpec); ok && strings.HasPrefix(value.Names[0].Name, "Event") {
			found[value.Names[0].Name] = strings.Trim(value.Values[0].(*ast.BasicLit).Value, `"`)
		}
		return true
	})
	if len(found) < 7 {
		t.Fatalf("found %v", found)
	}
	return found
}

// An owner who reads an event finds it in the docs, with whether it is a warning, and nothing that is never recorded.
func TestEveryEventIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (Normal|Warning|Normal, Warning) \\|").FindAllStringSubmatch(string(page), -1) {
		for kind := range strings.SplitSeq(row[2], ", ") {
			documented = append(documented, kind+" "+row[1])
		}
	}
	source, err := os.ReadFile("events.go")
	if err != nil {
		t.Fatal(err)
	}
	known := reasons(t)
	unused := maps.Clone(known)
	var recorded []string
	for _, made := range regexp.MustCompile(`(normal|warning)\(v1alpha1\.(\w+),`).FindAllStringSubmatch(string(source), -1) {
		kind := map[string]string{"normal": "Normal", "warning": "Warning"}[made[1]]
		recorded = append(recorded, kind+" "+known[made[2]])
		delete(unused, made[2])
	}
	for name := range unused {
		t.Errorf("no constructor makes an event with the reason %s", name)
	}
	slices.Sort(documented)
	slices.Sort(recorded)
	recorded = slices.Compact(recorded) // a reason may have several constructors
	if !slices.Equal(documented, recorded) {
		t.Errorf("docs/events.md has %q, and recorded are %q", documented, recorded)
	}
}

func TestNotesFitIntoAnEvent(t *testing.T) {
	const most = 1024 // of the API server
	long := strings.Repeat("é", most)
	names := slices.Repeat([]string{strings.Repeat("n", 63)}, 1000)
	for _, event := range []Event{
		MessageRejected(strings.Repeat("m", 100), "CreateFails", long), Stopped(strings.Repeat("r", 100), long), Resumed(strings.Repeat("r", 100)),
		PodsNotStarting(strings.Repeat("r", 128)), RequeueAsked(long, false, names), Requeued(names), RequeuedUntied(names),
	} {
		if len(event.Note) > most || len(event.Action) > 128 {
			t.Errorf("%s has a note of %d bytes, and an action of %d", event.Reason, len(event.Note), len(event.Action))
		}
	}
}
