package devenv

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever characters a path has, a shell that sources the file gets it back.
func TestEnvScriptSurvivesAnyPath(t *testing.T) {
	for name, dir := range map[string]string{
		"plain":   "/srv/checkout",
		"space":   "/srv/my checkout",
		"quote":   "/srv/it's",
		"dollar":  "/srv/$HOME/`id`/\"x\"",
		"newline": "/srv/a\nb",
		"unicode": "/srv/ünïcode",
		"dash":    "-n",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "env")
			script := envScript(variables(Access{Kubeconfig: dir, SQSEndpoint: "http://127.0.0.1:1", Node: Real}), []string{dir})
			if err := writeFile(file, []byte(script)); err != nil {
				t.Fatal(err)
			}
			shell := exec.Command("sh", "-euc", `. "$1"; printf '%s|%s|%s' "$KUBECONFIG" "$PATH" "$AWS_ENDPOINT_URL_SQS"`, "sh", file)
			shell.Env = []string{"PATH=/usr/bin:/bin", "AWS_PROFILE=mine"}
			output, err := shell.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, output, script)
			}
			if want := dir + "|" + dir + ":/usr/bin:/bin|http://127.0.0.1:1"; string(output) != want {
				t.Errorf("got %q, want %q", output, want)
			}
		})
	}
}

func TestVariablesNameOnlyWhatRuns(t *testing.T) {
	for name, test := range map[string]struct {
		kubeconfig, endpoint string
		want                 string
	}{
		"all":            {"/k", "http://q", "KUBECONFIG AWS_ENDPOINT_URL_SQS AWS_REGION AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY"},
		"no queue":       {"/k", "", "KUBECONFIG"},
		"only the queue": {"", "http://q", "AWS_ENDPOINT_URL_SQS AWS_REGION AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY"},
	} {
		t.Run(name, func(t *testing.T) {
			var names []string
			for _, v := range variables(Access{Kubeconfig: test.kubeconfig, SQSEndpoint: test.endpoint}) {
				names = append(names, v.name)
			}
			if got := strings.Join(names, " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
