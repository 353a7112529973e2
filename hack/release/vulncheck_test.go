package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// advisory is of a function that every program has.
const advisory = `{"schema_version":"1.3.1","id":"GO-0000-0001","modified":"2026-01-01T00:00:00Z","summary":"made up","database_specific":{"url":"https://example.com/GO-0000-0001"},"affected":[
{"package":{"name":"stdlib","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],"ecosystem_specific":{"imports":[{"path":"os","symbols":["Exit"]}]}}]}`

// database writes a database of vulnerabilities, with the advisory or without any.
func database(t *testing.T, advised bool) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"index/db.json": `{"modified":"2026-01-01T00:00:00Z"}`, "index/modules.json": `[]`, "index/vulns.json": `[]`}
	if advised {
		files["index/modules.json"] = `[{"path":"stdlib","vulns":[{"id":"GO-0000-0001","modified":"2026-01-01T00:00:00Z"}]}]`
		files["index/vulns.json"] = `[{"id":"GO-0000-0001","modified":"2026-01-01T00:00:00Z"}]`
		files["ID/GO-0000-0001.json"] = advisory
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return "file://" + dir
}

func TestVulncheck(t *testing.T) {
	govulncheck, dir := tool(t, "golang.org/x/vuln/cmd/govulncheck"), t.TempDir()
	source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	if err := os.WriteFile(source, []byte("package main\n\nimport \"os\"\n\nfunc main() { os.Exit(0) }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for name, test := range map[string]struct {
		env    string
		passes bool
		want   string
	}{
		"what is known fails":                   {"VULNDB=" + database(t, true), false, "VULNERABLE: " + program},
		"nothing known passes":                  {"VULNDB=" + database(t, false), true, "No known vulnerability in " + program},
		"no network is said, and passes":        {"HTTPS_PROXY=http://127.0.0.1:1", true, "LEFT OUT: the search for known vulnerabilities"},
		"a database that answers wrongly fails": {"VULNDB=http://" + localRegistry(t), false, "failed (exit code 1)"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), filepath.Join("..", "vulncheck.sh"), govulncheck, program)
			cmd.Env = append(os.Environ(), "VULNDB=", "HTTPS_PROXY=", "https_proxy=", "NO_PROXY=", "no_proxy=", test.env)
			output, err := cmd.CombinedOutput()
			if passed := err == nil; passed != test.passes || !strings.Contains(string(output), test.want) {
				t.Errorf("got %v and\n%s\nwant %q", err, output, test.want)
			}
		})
	}
}
