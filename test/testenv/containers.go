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

// DeployOperator builds the operator and installs it in the cluster as users do, two replicas with config/default's own
// manifests. It needs all parts and a real node.
func (e *Environment) DeployOperator() error {
	root, err := Root()
	if err != nil {
		return err
	}
	program, archive := filepath.Join(e.root, "manager"), filepath.Join(e.root, "operator.tar")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./cmd")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	for _, command := range []*exec.Cmd{
		build,
		exec.Command(e.supervisor.Path, "pack", "--name=queuebinding:dev", "--program="+program, "--out="+archive),
		exec.Command(e.supervisor.Path, "deploy", "--dir="+e.Dir, archive),
	} {
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
