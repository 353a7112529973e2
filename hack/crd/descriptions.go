package main

import (
	"regexp"
	"strings"
)

// stripDescriptions removes the description of a schema and of all schemas within.
func stripDescriptions(schema map[string]any) {
	visit(schema, func(each map[string]any) { delete(each, "description") })
}

// unwrapDescriptions makes each paragraph a single line in the description of a schema and of all schemas within.
func unwrapDescriptions(schema map[string]any) {
	visit(schema, func(each map[string]any) {
		if text, ok := each["description"].(string); ok {
			each["description"] = paragraphs(text)
		}
	})
}

// visit calls do for a schema and for all schemas within. It knows where schemas are, so that a property which is called
// description is not taken for one.
func visit(schema map[string]any, do func(map[string]any)) {
	do(schema)
	for _, key := range []string{"items", "additionalProperties", "not"} {
		if within, ok := schema[key].(map[string]any); ok {
			visit(within, do)
		}
	}
	for _, key := range []string{"allOf", "anyOf", "oneOf"} {
		list, _ := schema[key].([]any)
		for _, each := range list {
			if within, ok := each.(map[string]any); ok {
				visit(within, do)
			}
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	for _, each := range properties {
		if within, ok := each.(map[string]any); ok {
			visit(within, do)
		}
	}
}

// listItem matches the beginning of a list item, which gofmt indents by two spaces or, before a number, by one. What is
// indented by more is an example.
var listItem = regexp.MustCompile(`^ {0,2}([-*]|\d+\.) `)

// paragraphs joins the lines of each paragraph and of each list item. Go comments are wrapped for editors and
// controller-gen keeps their line breaks, but kubectl explain wraps every line again, to the terminal's width.
// Indented lines stay as they are, unless they continue a list item.
func paragraphs(text string) string {
	var lines []string
	open, inItem := false, false // whether the last line can be continued, and whether it is a list item
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\n")
		trimmed := strings.TrimLeft(line, " \t")
		indented := trimmed != line
		switch {
		case trimmed == "":
			if len(lines) > 0 && lines[len(lines)-1] != "" {
				lines = append(lines, "")
			}
			open, inItem = false, false
		case listItem.MatchString(line):
			lines = append(lines, line)
			open, inItem = true, true
		case open && (!indented || inItem):
			lines[len(lines)-1] += " " + trimmed
		default:
			lines = append(lines, line)
			open = !indented
		}
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}
