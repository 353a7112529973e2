package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jmespath/go-jmespath"
)

// presentation is how an answer is printed.
type presentation struct {
	query, output string
}

func (p presentation) print(out io.Writer, answer any) error {
	encoded, err := encode(answer)
	if err != nil {
		return err
	}
	// A query needs plain maps; without one the fields keep the order that the AWS command line prints them in.
	if p.query == "" && p.output == "json" {
		_, err = out.Write(encoded)
		return err
	}
	var plain any
	if err := json.Unmarshal(encoded, &plain); err != nil {
		return fmt.Errorf("printing the answer: %w", err)
	}
	if p.query != "" {
		if plain, err = jmespath.Search(p.query, plain); err != nil {
			return fmt.Errorf("--query: %w", err)
		}
	}
	switch p.output {
	case "json":
		if encoded, err = encode(plain); err == nil {
			_, err = out.Write(encoded)
		}
		return err
	case "text":
		_, err = fmt.Fprintln(out, text(plain))
		return err
	default:
		return fmt.Errorf("--output is json or text, not %q", p.output)
	}
}

func encode(value any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "    ")
	if err := encoder.Encode(value); err != nil {
		return nil, fmt.Errorf("printing the answer: %w", err)
	}
	return buffer.Bytes(), nil
}

// text prints a value for scripts: what is in one object or list stands in one line, with tabs between. The AWS command
// line also prints labels for nested objects, which nobody should rely on.
func text(value any) string {
	var fields []string
	switch v := value.(type) {
	case nil:
		return "None"
	case string:
		return v
	case []any:
		for _, element := range v {
			fields = append(fields, text(element))
		}
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			fields = append(fields, text(v[name]))
		}
	default:
		return fmt.Sprint(v)
	}
	return strings.Join(fields, "\t")
}
