package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// buildSupervisor builds bin/devenvctl, which takes no time while it is up to date, and returns its path. It is a module
// of its own, so that its dependencies are not the operator's.
func buildSupervisor() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(root, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", fmt.Errorf("making bin: %w", err)
	}
	// Test packages run side by side.
	lock, err := os.OpenFile(filepath.Join(bin, ".devenvctl.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("locking the build of devenvctl: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("locking the build of devenvctl: %w", err)
	}
	program := filepath.Join(bin, "devenvctl")
	cmd := exec.Command("go", "build", "-trimpath", "-o", program, "./cmd/devenvctl")
	cmd.Dir = filepath.Join(root, "hack", "devenv")
	// As the Makefile builds it, or the two would replace each other's. The caller's own settings may be those of a build of
	// something else, such as a cross-compiled or an instrumented one.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=", "GOOS=", "GOARCH=")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building devenvctl: %w\n%s", err, output)
	}
	return program, nil
}

// Program returns the path of a program that is built with a neighbour, such as promtool with [Prometheus], and builds it if
// need be. It needs no environment.
func Program(neighbour, name string) (string, error) {
	supervisor, err := buildSupervisor()
	if err != nil {
		return "", err
	}
	command := exec.Command(supervisor, "program", neighbour, name)
	path, err := command.Output()
	if err != nil {
		if failed, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, failed.Stderr)
		}
		return "", fmt.Errorf("building %s: %w", name, err)
	}
	return strings.TrimSpace(string(path)), nil
}

// Root returns the repository's root: the nearest directory upwards whose go.mod is the main module's.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if first, _, _ := strings.Cut(string(data), "\n"); err == nil &&
			strings.TrimSpace(first) == "module github.com/queuebinding/queuebinding" {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("finding the repository: no go.mod of it here or in a parent directory")
		}
		dir = parent
	}
}
