package devenv_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/queuebinding/queuebinding/hack/devenv"
	"github.com/queuebinding/queuebinding/hack/devenv/machine"
)

// needContainers skips a test where real containers cannot run, and says why.
func needContainers(t *testing.T) {
	t.Helper()
	if _, err := devenv.ChooseNode(devenv.Real); err != nil {
		t.Skip(err)
	}
}

// claim is what the environment took of the machine.
func (p program) claim() machine.Claim {
	p.t.Helper()
	claims, err := machine.Find(p.dir)
	if err != nil || len(claims) != 1 {
		p.t.Fatalf("got claims %v (%v), want one", claims, err)
	}
	return claims[0]
}

// expectReleased looks for all that a node could leave behind.
func expectReleased(t *testing.T, claim machine.Claim) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, claim.ID+"/") {
			t.Errorf("still mounted: %s", line)
		}
	}
	for _, pattern := range []string{
		"/sys/fs/cgroup/" + claim.ID, "/sys/fs/cgroup/*/" + claim.ID, claim.Disk(), claim.Run(),
		"/var/lib/cni/results/" + claim.ID + "-*", "/run/netns/" + claim.ID + "*",
	} {
		if left, err := filepath.Glob(pattern); err != nil || len(left) > 0 {
			t.Errorf("still there: %q (%v)", left, err)
		}
	}
	links, err := filepath.Glob("/var/log/containers/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, claim.Disk()) {
			t.Errorf("still there: %s", link)
		}
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range commands {
		if command, err := os.ReadFile(file); err == nil && strings.Contains(string(command), "/"+claim.ID+"/") {
			t.Errorf("still runs: %s", strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	devices, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, device := range devices {
		if strings.HasPrefix(device.Name, claim.ID) {
			t.Errorf("device %s is still there", device.Name)
		}
	}
}

// expectSettings looks whether the kernel's settings are as before, unless another node on this machine needs them so.
func expectSettings(t *testing.T, before map[string]string) {
	t.Helper()
	if others, err := filepath.Glob("/var/lib/devenv*/claim.json"); err != nil || len(others) > 0 {
		t.Logf("not looked at, as other nodes run: %q (%v)", others, err)
		return
	}
	for name, was := range before {
		if now, err := os.ReadFile("/proc/sys/" + name); err != nil || strings.TrimSpace(string(now)) != was {
			t.Errorf("setting %s is %s (%v), and was %s", name, now, err, was)
		}
	}
}

const containers = `
apiVersion: batch/v1
kind: Job
metadata: {name: good}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: ping, image: "alpine:3.22", command: [ping, -c, "1", 127.0.0.1]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: bad}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: exit, image: "busybox:1.37", command: [sh, -c, "echo sorry >&2; exit 42"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: long}
spec:
  containers: [{name: sleep, image: "busybox:1.37", command: [sleep, "3600"]}]
`

// Two real nodes share a machine, and neither its crash nor its end is the other's.
func TestRealNodesSideBySide(t *testing.T) {
	needContainers(t)
	first, second := newProgram(t), newProgram(t)
	for _, p := range []program{first, second} {
		p.expect(0, "Pods run in real containers", "up", "--fast", "--node", "real", "--parts", "controllers,scheduler,node")
		p.sh("kubectl apply -f -", containers)
	}
	for _, p := range []program{first, second} {
		p.sh("kubectl wait --for=condition=Complete job/good --timeout=60s", "")
		p.sh("kubectl wait --for=condition=Failed job/bad --timeout=60s", "")
		p.sh("kubectl wait --for=condition=Ready pod/long --timeout=60s", "")
		if got := p.sh("kubectl logs job/good", ""); !strings.Contains(got, "1 packets transmitted, 1 packets received") {
			t.Errorf("the log of a container is %q", got)
		}
		const outcome = `{.items[0].status.phase}{" "}{.items[0].status.containerStatuses[0].state.terminated.exitCode}`
		if got := p.sh("kubectl get pods -l job-name=bad -o jsonpath='"+outcome+"'", ""); got != "Failed 42" {
			t.Errorf("got %q, want the exit code of the container", got)
		}
		if got := p.sh("kubectl exec long -- hostname", ""); got != "long\n" {
			t.Errorf("got %q from inside a container", got)
		}
	}
	firstClaim, secondClaim := first.claim(), second.claim()
	if firstClaim.Addresses == secondClaim.Addresses {
		t.Errorf("both nodes have the addresses %s", firstClaim.Addresses)
	}

	// All at once, with containers running.
	processes := first.processes()
	for _, name := range []string{"containerd", "kubelet", "supervisor"} {
		if err := processes[name].Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	first.expect(0, "Down.", "down")
	first.expectGone(processes)
	expectReleased(t, firstClaim)

	if got := second.sh("kubectl exec long -- hostname", ""); got != "long\n" {
		t.Errorf("after the other's end: got %q from inside a container", got)
	}
	processes = second.processes()
	second.expect(0, "Down.", "down")
	second.expectGone(processes)
	expectReleased(t, secondClaim)
	// The first had found them so, and left the duty to the second.
	expectSettings(t, firstClaim.Settings)
}

// A part that dies is said, and another environment in the same place begins with nothing of the first.
func TestARealNodeAfterACrash(t *testing.T) {
	needContainers(t)
	p := newProgram(t)
	p.expect(0, "To use it", "up", "--fast", "--node", "real", "--parts", "controllers,scheduler,node")
	p.sh("kubectl apply -f - && kubectl wait --for=condition=Ready pod/long --timeout=60s", containers)
	claim, processes := p.claim(), p.processes()
	if err := processes["containerd"].Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.expectSoon(2, "half-dead", "status")
	if err := processes["supervisor"].Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.expectSoon(0, "Clearing away", "up", "--fast", "--node", "simulated", "--parts", "controllers,scheduler,node")
	expectReleased(t, claim)
	p.expect(0, "simulated", "status")
	p.expect(1, "it is up already, with a node that is simulated", "up", "--node", "real")
	p.expect(0, "Down.", "down")
}
