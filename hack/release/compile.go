package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The programs of a release, and the packages that they are built from.
const (
	plugin  = "kubectl-queuebinding"
	manager = "manager"
	server  = "queuebinding-apiserver"
)

var packages = map[string]string{plugin: "./cmd/kubectl-queuebinding", manager: "./cmd", server: "./cmd/queuebinding-apiserver"}

// program is one that was built.
type program struct {
	platform
	name, path string
	info       *buildinfo.BuildInfo
}

// compile builds a program from the commit that is checked out. What it is called and which commit it is made of is in it: Go writes
// that down.
func compile(ctx context.Context, root, dir string, p platform, name string) (program, error) {
	path, err := filepath.Abs(filepath.Join(dir, p.os+"_"+p.arch, p.file(name)))
	if err != nil {
		return program{}, err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=true", "-ldflags=-s -w", "-o", path, packages[name])
	cmd.Dir = root
	// What else the caller's environment could say of how to build would be in the program.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch, "GOFLAGS=", "GOWORK=off",
		"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GODEBUG=", "GOFIPS140=off")
	if output, err := cmd.CombinedOutput(); err != nil {
		return program{}, fmt.Errorf("building %s for %s: %w\n%s", name, p, err, output)
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return program{}, fmt.Errorf("reading what %s is made of: %w", name, err)
	}
	return program{p, name, path, info}, nil
}

// identify says which release a program belongs to.
func identify(p program) (release, error) {
	settings := map[string]string{}
	for _, setting := range p.info.Settings {
		settings[setting.Key] = setting.Value
	}
	if settings["vcs"] == "" {
		return release{}, errors.New("there is no Git repository that Go knows: a release is made in a clone, and not in what `git worktree` makes")
	}
	if settings["vcs.modified"] != "false" {
		return release{}, errors.New("there are changes that are not committed, or files that Git does not know: a release is made of a commit")
	}
	date, err := time.Parse(time.RFC3339, settings["vcs.time"])
	if err != nil {
		return release{}, fmt.Errorf("reading the commit's time: %w", err)
	}
	made := release{Version: p.info.Main.Version, Commit: settings["vcs.revision"], Date: date.UTC()}
	if !strings.HasPrefix(made.Version, "v") || made.Commit == "" {
		return release{}, fmt.Errorf("no version of commit %q is known to Go, which says %q", made.Commit, made.Version)
	}
	return made, nil
}
