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

// DeployOperator builds the operator and the server of the requeue subresource, and installs both in the cluster as users do, with
// config/default's own manifests. It needs all parts and a real node.
func (e *Environment) DeployOperator() error {
	root, err := Root()
	if err != nil {
		return err
	}
	operator, server := filepath.Join(e.root, "manager"), filepath.Join(e.root, "queuebinding-apiserver")
	build := func(program, source string) *exec.Cmd {
		command := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, source)
		command.Dir = root
		command.Env = append(os.Environ(), "CGO_ENABLED=0")
		return command
	}
	archive := filepath.Join(e.root, "operator.tar")
	for _, command := range []*exec.Cmd{
		build(operator, "./cmd"),
		build(server, "./cmd/queuebinding-apiserver"),
		exec.Command(e.supervisor.Path, "pack", "--name=queuebinding:dev", "--program="+operator, "--program="+server, "--out="+archive),
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
