package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// isInstalled applies install.yaml on a real node, whose containerd pulls the image from the registry that it was pushed to. The
// namespace takes restricted Pods only.
func isInstalled(t *testing.T, dist string, made release) {
	ctl, dir := filepath.Join(t.TempDir(), "devenvctl"), filepath.Join(t.TempDir(), "state")
	run := func(program string, args ...string) string {
		t.Helper()
		output, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", filepath.Base(program), args[0], err, output)
		}
		return string(output)
	}
	kubectl := func(args ...string) string {
		t.Helper()
		return run("sh", append([]string{"-euc", `. "$0"; kubectl "$@"`, filepath.Join(dir, "env")}, args...)...)
	}
	run("go", "build", "-C", filepath.Join("..", "devenv"), "-o", ctl, "./cmd/devenvctl")
	if output, err := exec.Command(ctl, "node", "--node=real").CombinedOutput(); err != nil {
		t.Skipf("no containers can run here: %s", output)
	}
	t.Cleanup(func() {
		if output, err := exec.Command(ctl, "down", "--root="+filepath.Join("..", ".."), "--dir="+dir).CombinedOutput(); err != nil { // the test's context is over
			t.Errorf("%v\n%s", err, output)
		}
	})
	run(ctl, "up", "--root="+filepath.Join("..", ".."), "--dir="+dir, "--node=real", "--fast")
	kubectl("apply", "--server-side", "-f", filepath.Join(dist, "install.yaml"))
	for deployment, program := range map[string]string{"queuebinding-controller-manager": manager, "queuebinding-apiserver": server} {
		status := exec.CommandContext(t.Context(), "sh", "-euc", `. "$0"; kubectl "$@"`, filepath.Join(dir, "env"),
			"rollout", "status", "-n", "queuebinding-system", "deployment/"+deployment, "--timeout=4m")
		if output, err := status.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s\n%s", err, output, kubectl("get", "pods,events", "-n", "queuebinding-system"))
		}
		if got := kubectl("exec", "-n", "queuebinding-system", "deployment/"+deployment, "--", "/"+program, "--version"); !strings.Contains(got, " "+tagged+" (commit "+made.Commit) {
			t.Errorf("got %q, want version %s", got, tagged)
		}
	}
	ids := kubectl("get", "pods", "-n", "queuebinding-system", "-o=jsonpath={.items[*].status.containerStatuses[*].imageID}")
	_, digest, _ := strings.Cut(made.Image, "@")
	if got := strings.Count(ids, digest); got != 4 {
		t.Errorf("got images %s, want four times %s", ids, digest)
	}
}
