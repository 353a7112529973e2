package devenv_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/queuebinding/queuebinding/hack/devenv"
)

// program is a devenvctl with a state directory of its own.
type program struct {
	t    *testing.T
	path string
	dir  string
}

// newProgram builds devenvctl and has whatever it starts ended with the test.
func newProgram(t *testing.T) program {
	t.Helper()
	// -short is for a quick look at the rest; neither make test nor CI gives it.
	if testing.Short() {
		t.Skip("it starts a whole environment")
	}
	path := filepath.Join(t.TempDir(), "devenvctl")
	if output, err := exec.Command("go", "build", "-o", path, "./cmd/devenvctl").CombinedOutput(); err != nil {
		t.Fatalf("building devenvctl: %v\n%s", err, output)
	}
	p := program{t: t, path: path, dir: filepath.Join(t.TempDir(), "a state")}
	t.Cleanup(func() { p.run("down") })
	return p
}

func (p program) run(command string, args ...string) (output string, exitCode int) {
	p.t.Helper()
	cmd := exec.Command(p.path, append([]string{command, "--root", "../..", "--dir", p.dir}, args...)...)
	combined, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		p.t.Fatalf("devenvctl %s: %v", command, err)
	}
	p.t.Logf("devenvctl %s\n%s", command, combined)
	return string(combined), cmd.ProcessState.ExitCode()
}

func (p program) expect(wantCode int, wantOutput, command string, args ...string) {
	p.t.Helper()
	output, code := p.run(command, args...)
	if code != wantCode || !strings.Contains(output, wantOutput) {
		p.t.Fatalf("devenvctl %s: exit code %d, want %d and %q in\n%s", command, code, wantCode, wantOutput, output)
	}
}

// expectSoon is expect for what takes a moment to show, such as the end of a killed process.
func (p program) expectSoon(wantCode int, wantOutput, command string, args ...string) {
	p.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		output, code := p.run(command, args...)
		if code == wantCode && strings.Contains(output, wantOutput) {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("devenvctl %s: exit code %d, want %d and %q in\n%s", command, code, wantCode, wantOutput, output)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// sh runs a script in a shell that has sourced the env file, as a user would.
func (p program) sh(script, stdin string) string {
	p.t.Helper()
	cmd := exec.Command("sh", "-euc", `. "$1"; eval "$2"`, "sh", filepath.Join(p.dir, "env"), script)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		p.t.Fatalf("%s: %v\n%s%s", script, err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

func (p program) processes() map[string]devenv.Process {
	p.t.Helper()
	report, err := devenv.Inspect(p.dir)
	if err != nil {
		p.t.Fatal(err)
	}
	processes := map[string]devenv.Process{"supervisor": report.State.Supervisor}
	for _, part := range report.State.Parts {
		processes[part.Name] = part.Process
	}
	return processes
}

func (p program) expectGone(processes map[string]devenv.Process) {
	p.t.Helper()
	for name, process := range processes {
		if process.Alive() {
			p.t.Errorf("%s (process %d) still runs", name, process.PID)
		}
	}
	if _, err := os.Stat(p.dir); !os.IsNotExist(err) {
		p.t.Errorf("the state directory is still there: %v", err)
	}
}

const jobs = `
apiVersion: batch/v1
kind: Job
metadata: {name: good}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: ping, image: alpine, env: [{name: duration, value: "1"}, {name: target, value: 127.0.0.1}]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: bad}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: ping, image: alpine, env: [{name: duration, value: "1"}, {name: target, value: x.invalid}]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: odd}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: OnFailure
      initContainers: [{name: first, image: alpine}]
      containers:
      - {name: plain, image: alpine}
      - {name: ping, image: alpine, env: [{name: duration, value: soon}, {name: pod, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: restarting}
spec:
  backoffLimit: 1
  template:
    spec:
      restartPolicy: OnFailure
      containers: [{name: ping, image: alpine, env: [{name: target, value: Host.Invalid.}]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: long}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: ping, image: alpine, env: [{name: duration, value: "600"}]}]
`

// The walk of a user: up, work, down.
func TestAnEnvironmentFromUpToDown(t *testing.T) {
	p := newProgram(t)
	p.expect(1, "is down", "status")
	p.expect(0, "To use it", "up", "--fast", "--node", "simulated")
	p.expect(0, "It is up already", "up")
	p.expect(0, "kube-scheduler", "status")
	processes := p.processes()
	if len(processes) != 7 {
		t.Errorf("got %d processes, want 7", len(processes))
	}

	t.Run("Jobs end as their environment says", func(t *testing.T) {
		p.sh("kubectl apply -f -", jobs)
		p.sh("kubectl wait --for=condition=Complete job/good job/odd --timeout=30s", "")
		p.sh("kubectl wait --for=condition=Failed job/bad job/restarting --timeout=30s", "")
		for job, want := range map[string]string{"good": "Succeeded 0 Completed", "bad": "Failed 1 Error", "odd": "Succeeded 0 Completed"} {
			const outcome = `{.items[0].status.phase}{" "}{.items[0].status.containerStatuses[0].state.terminated.exitCode}` +
				`{" "}{.items[0].status.containerStatuses[0].state.terminated.reason}`
			if got := p.sh("kubectl get pods -l job-name="+job+" -o jsonpath='"+outcome+"'", ""); got != want {
				t.Errorf("Pod of Job %s: got %q, want %q", job, got, want)
			}
		}
	})
	t.Run("logs say that a Pod is simulated", func(t *testing.T) {
		if got := p.sh("kubectl logs job/good", ""); !strings.Contains(got, "This Pod is simulated") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("deleted Pods go", func(_ *testing.T) {
		p.sh("kubectl delete job long --timeout=20s && kubectl wait --for=delete pod -l job-name=long --timeout=20s", "")
	})
	t.Run("the queue keeps a message", func(t *testing.T) {
		got := p.sh(`
			url=$(sqs create-queue --queue-name pings --query QueueUrl --output text)
			sqs send-message --queue-url "$url" --message-body '{"target": "<&>"}' >/dev/null
			sqs send-message --queue-url "$url" --message-body copy --count 12 >/dev/null
			sqs get-queue-attributes --queue-url "$url" --attribute-names ApproximateNumberOfMessages QueueArn \
			  --query Attributes.ApproximateNumberOfMessages --output text
			sqs receive-message --queue-url "$url" --query 'Messages[0].Body' --output text`, "")
		if want := "13\n{\"target\": \"<&>\"}\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("the audit log names the caller", func(t *testing.T) {
		log, err := os.ReadFile(filepath.Join(p.dir, "audit.log"))
		if err != nil || !strings.Contains(string(log), `"username":"devenv-admin"`) {
			t.Errorf("no request of the admin in it (%v)", err)
		}
	})

	p.expect(0, "Down.", "down")
	p.expectGone(processes)
	p.expect(0, "Nothing runs", "down")
}

// Karpenter stands here for all neighbours.
func TestANeighbourRunsWhereItIsNamed(t *testing.T) {
	p := newProgram(t)
	p.expect(0, "To use it", "up", "--fast", "--node", "simulated", "--parts", "karpenter")
	processes := p.processes()
	if !processes["karpenter"].Alive() {
		t.Error("karpenter does not run")
	}
	// Its CRDs are there, and one that its readiness does not speak of.
	p.sh("kubectl get nodepools,nodeclaims,kwoknodeclasses && kubectl wait --for=condition=Ready node --all --timeout=10s", "")
	p.expect(1, "it is up already, without queue", "up", "--parts", "all")
	p.expect(0, "It is up already", "up")
	if _, err := os.Stat(filepath.Join(p.dir, "logs", "karpenter.log")); err != nil {
		t.Error(err)
	}
	p.expect(0, "Down.", "down")
	p.expectGone(processes)
}

// A part that dies is told of, and nothing of the rest stays.
func TestAHalfDeadEnvironmentIsSaidAndMended(t *testing.T) {
	p := newProgram(t)
	p.expect(0, "To use it", "up", "--fast", "--node", "simulated", "--parts", "control-plane,queue")
	processes := p.processes()
	if err := processes["queue"].End(0); err != nil {
		t.Fatal(err)
	}
	p.expect(2, "half-dead", "status")
	p.expect(1, "end them first", "up")
	log, err := os.ReadFile(filepath.Join(p.dir, "devenvctl.log"))
	if err != nil || !strings.Contains(string(log), "queue ended unexpectedly") {
		t.Errorf("the log does not tell of it (%v):\n%s", err, log)
	}
	p.expect(0, "Down.", "down")
	p.expectGone(processes)
}

// Whatever ends the supervisor, its parts do not stay, and the next environment is not taken for ready too early.
func TestAKilledSupervisorLeavesNothingForLong(t *testing.T) {
	p := newProgram(t)
	p.expect(0, "To use it", "up", "--fast", "--node", "simulated", "--parts", "control-plane")
	before := p.processes()
	if err := before["supervisor"].Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.expect(0, "Down.", "down")
	p.expectGone(before)
}
