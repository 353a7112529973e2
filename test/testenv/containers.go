package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// NoContainersError says why a node whose Pods have containers cannot run here, or is not wished for.
type NoContainersError string

func (e NoContainersError) Error() string { return string(e) }

// NeedContainers returns nil where Options.RealNode can be had. Else it returns a [NoContainersError], unless
// NODE=real asks for it all the same, which is then another error.
func NeedContainers() error {
	program, err := buildSupervisor()
	if err != nil {
		return err
	}
	output, err := exec.Command(program, "node").CombinedOutput()
	if err != nil {
		return fmt.Errorf("choosing a node: %w: %s", err, output)
	}
	kind, why, _ := strings.Cut(string(output), "\n")
	if kind != realNode {
		return NoContainersError(strings.TrimSpace(why))
	}
	return nil
}

// OperatorImage is the image that overlays name.
const OperatorImage = "queuebinding:dev"

// Overlays that DeployOperator takes.
const (
	Default = "hack/devenv/operator" // config/default
	Tenancy = "hack/devenv/tenancy"  // config/default with config/tenancy
)

// DeployOperator builds the operator and the server of the requeue subresource, and installs both in the cluster as users do, with
// the manifests of an overlay. It needs all parts and a real node.
func (e *Environment) DeployOperator(overlay string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	archive, err := e.packOperator(root, OperatorImage)
	if err != nil {
		return err
	}
	return runAll(exec.Command(e.supervisor.Path, "deploy", "--dir="+e.Dir, "--overlay="+overlay, archive))
}

// LoadOperator builds the operator of the repository's files in a folder, which may be those of an earlier version, and gives it to the
// real node as an image of a name, for a test that installs it in a way of its own.
func (e *Environment) LoadOperator(files, image string) error {
	archive, err := e.packOperator(files, image)
	if err != nil {
		return err
	}
	return runAll(exec.Command(e.supervisor.Path, "load", "--dir="+e.Dir, archive))
}

// packOperator packs the operator, with the server of the requeue subresource where there is one.
func (e *Environment) packOperator(files, image string) (archive string, err error) {
	programs := []program{{"manager", "./cmd"}}
	if _, err := os.Stat(filepath.Join(files, "cmd", "queuebinding-apiserver")); err == nil {
		programs = append(programs, program{"queuebinding-apiserver", "./cmd/queuebinding-apiserver"})
	}
	return e.pack(image, files, programs...)
}

// LoadNeighbour builds the program of a neighbour, such as [Kueue], from its main package and gives it to the real node as an
// image of a name, which holds it as /manager and nothing else.
func (e *Environment) LoadNeighbour(neighbour, target, image string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	archive, err := e.pack(image, filepath.Join(root, "hack", "devenv", neighbour), program{"manager", target})
	if err != nil {
		return err
	}
	return runAll(exec.Command(e.supervisor.Path, "load", "--dir="+e.Dir, archive))
}

// program is one to pack: its name, and its main package.
type program struct{ name, target string }

// pack builds static programs of the module in a directory and packs them into an image, where they stand in the root; the first is
// the entrypoint. It returns the archive's path.
func (e *Environment) pack(image, module string, programs ...program) (archive string, err error) {
	dir, err := os.MkdirTemp(e.root, "image-")
	if err != nil {
		return "", fmt.Errorf("packing %s: %w", image, err)
	}
	archive = filepath.Join(dir, "image.tar")
	packed := exec.Command(e.supervisor.Path, "pack", "--name="+image, "--out="+archive)
	for _, p := range programs {
		path := filepath.Join(dir, p.name)
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, p.target)
		build.Dir = module
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
		if err := runAll(build); err != nil {
			return "", err
		}
		packed.Args = append(packed.Args, "--program="+path)
	}
	return archive, runAll(packed)
}

func runAll(commands ...*exec.Cmd) error {
	for _, command := range commands {
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(command.Args, " "), err, output)
		}
	}
	return nil
}

// clear ends what outlived a supervisor that did not end in order, such as containers. Files below mounts must not be
// removed before.
func (e *Environment) clear() error {
	output, err := exec.Command(e.supervisor.Path, "down", "--dir="+e.Dir).CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("clearing away the environment: %w", err), errors.New(string(output)))
	}
	return nil
}
