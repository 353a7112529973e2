package devenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/mod/semver"
)

// Stage is one program to build.
type Stage struct {
	// Name is the program.
	Name string
	// Minutes is about how long the first build takes on two cores. Later ones find most in Go's cache.
	Minutes int

	done  func() bool
	build func(ctx context.Context, log io.Writer) error
}

// heartbeat is how often a stage says that it goes on.
const heartbeat = 20 * time.Second

// Plan returns what is missing for the groups, in the order of building.
func (l Layout) Plan(groups []string, node Node) []Stage {
	programs := map[string][]string{
		ControlPlane: {"etcd", "kube-apiserver", "kubectl"},
		Controllers:  {"kube-controller-manager"},
		Scheduler:    {"kube-scheduler"},
		Nodes:        node.Programs(),
	}
	var missing []Stage
	for _, group := range groups {
		if group == Queue {
			missing = append(missing, l.queueStage(), l.toolStage("sqs"))
		}
		for _, program := range programs[group] {
			missing = append(missing, l.programStage(program))
		}
		if n, found := findNeighbour(group); found {
			if n.machines && !slices.Contains(node.Programs(), "kwok") {
				missing = append(missing, l.programStage("kwok"))
			}
			missing = append(missing, l.neighbourStage(n))
		}
	}
	return unbuilt(missing)
}

func unbuilt(stages []Stage) []Stage {
	var missing []Stage
	for _, stage := range stages {
		if !stage.done() {
			missing = append(missing, stage)
		}
	}
	return missing
}

// goProgram says where a program comes from.
type goProgram struct {
	module  string // below hack/devenv
	target  string
	minutes int
}

var goPrograms = map[string]goProgram{
	"etcd":                    {"kubernetes", "./etcd", 1},
	"kube-apiserver":          {"kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", 9},
	"kubectl":                 {"kubernetes", "k8s.io/kubernetes/cmd/kubectl", 1},
	"kube-controller-manager": {"kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager", 3},
	"kube-scheduler":          {"kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler", 1},
	"kubelet":                 {"kubernetes", "k8s.io/kubernetes/cmd/kubelet", 1},
	"kwok":                    {"kwok", "sigs.k8s.io/kwok/cmd/kwok", 3},
}

func (l Layout) programStage(name string) Stage {
	program := goPrograms[name]
	return Stage{
		Name:    name,
		Minutes: program.minutes,
		done:    func() bool { return isProgram(l.Asset(name)) },
		build: func(ctx context.Context, log io.Writer) error {
			flags := "-s -w"
			if program.module == "kubernetes" {
				flags += " " + versionFlags(l.Version)
			}
			return l.goBuild(ctx, log, filepath.Join("hack", "devenv", program.module), program.target, filepath.Join(l.Assets, name), flags)
		},
	}
}

// versionFlags make Kubernetes' programs say their version, which they do not know when they are built from a module.
func versionFlags(version string) string {
	major, minor, _ := strings.Cut(strings.TrimPrefix(semver.MajorMinor(version), "v"), ".")
	return fmt.Sprintf("-X k8s.io/component-base/version.gitVersion=%[1]s -X k8s.io/component-base/version.gitMajor=%[2]s"+
		" -X k8s.io/component-base/version.gitMinor=%[3]s -X k8s.io/client-go/pkg/version.gitVersion=%[1]s", version, major, minor)
}

// toolStage builds a program of this module. It is small and changes with the checkout, so its age is compared.
func (l Layout) toolStage(name string) Stage {
	path := filepath.Join(l.Tools, name)
	source := filepath.Join(l.Root, "hack", "devenv", "cmd", name)
	return Stage{
		Name:    name,
		Minutes: 1,
		done:    func() bool { return isProgram(path) && !changedSince(path, source) },
		build: func(ctx context.Context, log io.Writer) error {
			return l.goBuild(ctx, log, filepath.Join("hack", "devenv"), "./cmd/"+name, path, "-s -w")
		},
	}
}

func changedSince(path, source string) bool {
	built, err := os.Stat(path)
	if err != nil {
		return true
	}
	entries, err := os.ReadDir(source)
	if err != nil {
		return true
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err != nil || info.ModTime().After(built.ModTime()) {
			return true
		}
	}
	return false
}

// goBuild builds into a temporary name first, so that an interrupted build leaves nothing that looks built.
func (l Layout) goBuild(ctx context.Context, log io.Writer, module, target, path, flags string, more ...string) error {
	temporary := filepath.Join(filepath.Dir(path), ".building-"+filepath.Base(path))
	args := append([]string{"build", "-trimpath", "-ldflags", flags, "-o", temporary}, more...)
	cmd := exec.CommandContext(ctx, "go", append(args, target)...)
	cmd.Dir = filepath.Join(l.Root, module)
	// A workspace of the user's would change the modules' versions.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS=", "GOARCH=")
	if err := run(cmd, log); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("putting %s in place: %w", filepath.Base(path), err)
	}
	return nil
}

func (l Layout) queueStage() Stage {
	return Stage{Name: "fauxqs (the SQS emulator)", Minutes: 1, done: l.queueInstalled, build: l.installQueue}
}

func (l Layout) installQueue(ctx context.Context, log io.Writer) error {
	temporary := filepath.Join(filepath.Dir(l.Queue), ".building-"+filepath.Base(l.Queue))
	if err := os.RemoveAll(temporary); err != nil {
		return fmt.Errorf("clearing an interrupted installation: %w", err)
	}
	if err := os.MkdirAll(temporary, 0o755); err != nil {
		return fmt.Errorf("installing the emulator: %w", err)
	}
	for _, name := range queueFiles {
		data, err := os.ReadFile(filepath.Join(l.queueSource(), name))
		if err != nil {
			return fmt.Errorf("installing the emulator: %w", err)
		}
		if err := os.WriteFile(filepath.Join(temporary, name), data, 0o644); err != nil {
			return fmt.Errorf("installing the emulator: %w", err)
		}
	}
	// Node itself is one of the packages, so no script has to run and the caller's Node only has to run npm.
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = temporary
	if err := run(cmd, log); err != nil {
		return err
	}
	if err := os.RemoveAll(l.Queue); err != nil {
		return fmt.Errorf("replacing the emulator: %w", err)
	}
	if err := os.Rename(temporary, l.Queue); err != nil {
		return fmt.Errorf("putting the emulator in place: %w", err)
	}
	return nil
}

// run runs a build command in a process group of its own and ends the whole group with ctx: compilers are grandchildren.
func run(cmd *exec.Cmd, log io.Writer) error {
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(cmd.Args[:2], " "), err)
	}
	return nil
}

// Build builds the stages one after the other and says on out what it does. Only one process builds at a time; what
// another one has built meanwhile is not built again.
func (l Layout) Build(ctx context.Context, stages []Stage, out io.Writer) error {
	if len(stages) == 0 {
		return nil
	}
	if err := requirements(stages); err != nil {
		return err
	}
	for _, dir := range []string{l.Assets, l.Tools} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making the directory for programs: %w", err)
		}
	}
	unlock, err := l.buildLock(out)
	if err != nil {
		return err
	}
	defer unlock()
	if stages = unbuilt(stages); len(stages) > 0 {
		fmt.Fprint(out, announce(stages))
	}
	for i, stage := range stages {
		fmt.Fprintf(out, "stage %d of %d: %s (the first time about %s)\n", i+1, len(stages), stage.Name, minutes(stage.Minutes))
		begun := time.Now()
		if err := stage.run(ctx, out); err != nil {
			return err
		}
		fmt.Fprintf(out, "stage %d of %d: %s done after %s\n", i+1, len(stages), stage.Name, time.Since(begun).Round(time.Second))
	}
	return nil
}

// announce says in one line what is ahead.
func announce(stages []Stage) string {
	total := 0
	for _, stage := range stages {
		total += stage.Minutes
	}
	things := "programs"
	if len(stages) == 1 {
		things = "program"
	}
	return fmt.Sprintf("Building %d %s for the development environment, once; the first time about %s on two cores.\n",
		len(stages), things, minutes(total))
}

func minutes(n int) string {
	if n == 1 {
		return "1 minute"
	}
	return fmt.Sprintf("%d minutes", n)
}

func (s Stage) run(ctx context.Context, out io.Writer) error {
	var log bytes.Buffer
	result := make(chan error, 1)
	go func() { result <- s.build(ctx, &log) }()
	begun := time.Now()
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case err := <-result:
			if ctx.Err() != nil {
				return fmt.Errorf("building %s: %w", s.Name, ctx.Err())
			}
			if err != nil {
				return fmt.Errorf("building %s: %w\n%s", s.Name, err, lastLines(log.String(), 30))
			}
			return nil
		case <-tick.C:
			fmt.Fprintf(out, "  still building %s, %s so far\n", s.Name, time.Since(begun).Round(time.Second))
		}
	}
}

func (l Layout) buildLock(out io.Writer) (func(), error) {
	path := filepath.Join(l.Root, "bin", ".devenv-build.lock")
	unlock, err := lockFile(path, false)
	if errors.Is(err, errLocked) {
		fmt.Fprintln(out, "Another process builds the same; waiting for it.")
		return lockFile(path, true)
	}
	return unlock, err
}

// requirements says what has to be installed before the stages can be built.
func requirements(stages []Stage) error {
	var missing []string
	if _, err := exec.LookPath("go"); err != nil {
		missing = append(missing, "go is not on the PATH: install Go 1.26 or later, see https://go.dev/doc/install")
	}
	for _, stage := range stages {
		if !strings.HasPrefix(stage.Name, "fauxqs") {
			continue
		}
		if _, err := exec.LookPath("npm"); err != nil {
			missing = append(missing, "npm is not on the PATH: install it with your system's packages (Debian: apt install npm; macOS: brew install node)")
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("cannot build: %s", strings.Join(missing, "; "))
	}
	return nil
}
