package rig

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Released is the commit of version 0.1.0, as CHANGELOG.md has it. Tags may be missing in a clone.
const Released = "c86380094b667253b13660f554e70fca0e29e52c"

// Checkout writes the files of a commit of the repository at root into a folder, which is made. It changes nothing in the
// repository, and registers nothing there that a test which is killed could leave behind, as a worktree does.
func Checkout(root, commit, folder string) error {
	if _, err := git(root, "cat-file", "-e", commit+"^{commit}"); err != nil {
		return fmt.Errorf("commit %s is not in this clone, which is perhaps a shallow one: `git fetch --unshallow` gets all: %w", commit, err)
	}
	archive, err := git(root, "archive", "--format=tar", commit)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("making a folder for commit %s: %w", commit, err)
	}
	unpack := exec.Command("tar", "-x", "-f", "-", "-C", folder)
	unpack.Stdin = bytes.NewReader(archive)
	if output, err := unpack.CombinedOutput(); err != nil {
		return fmt.Errorf("unpacking commit %s: %w\n%s", commit, err, output)
	}
	return nil
}

func git(root string, args ...string) ([]byte, error) {
	command := exec.Command("git", args...)
	command.Dir = root
	var said bytes.Buffer
	command.Stderr = &said
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(said.Bytes()))
	}
	return output, nil
}

// BuildAll builds main packages of the module in a folder into another one, each under the name of its package's folder, but for
// ./cmd, which is named manager.
func BuildAll(module, into string, targets ...string) error {
	for _, target := range targets {
		name := filepath.Base(target)
		if target == "./cmd" {
			name = "manager"
		}
		build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(into, name), target)
		build.Dir = module
		build.Env = append(os.Environ(), "GOWORK=off")
		if output, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s in %s: %w\n%s", target, module, err, output)
		}
	}
	return nil
}
