package rig

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Edit replaces text in one of the repository's files, for one build only. Text that is not there exactly once is an
// error: an edit that changes nothing would prove nothing.
type Edit struct{ File, Old, New string }

// Build builds the operator, with edits, into a folder of the cluster's own and returns the program's path. No source
// file is changed.
func (c *Cluster) Build(name string, edits ...Edit) (string, error) {
	program := filepath.Join(c.Work, name)
	overlay, err := c.overlay(name, edits)
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-trimpath", "-overlay", overlay, "-o", program, "./cmd")
	build.Dir = c.Root
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the operator as %s: %w\n%s", name, err, output)
	}
	return program, nil
}

func (c *Cluster) overlay(name string, edits []Edit) (string, error) {
	changed := map[string]string{}
	for _, edit := range edits {
		file := filepath.Join(c.Root, edit.File)
		text, ok := changed[file]
		if !ok {
			data, err := os.ReadFile(file)
			if err != nil {
				return "", fmt.Errorf("editing for a build: %w", err)
			}
			text = string(data)
		}
		if n := strings.Count(text, edit.Old); n != 1 {
			return "", fmt.Errorf("%s holds %d times, not once, what is to be replaced for %s:\n%s", edit.File, n, name, edit.Old)
		}
		changed[file] = strings.Replace(text, edit.Old, edit.New, 1)
	}

	replace := map[string]string{}
	for file, text := range changed {
		replacement := filepath.Join(c.Work, name+"-"+filepath.Base(file))
		if err := os.WriteFile(replacement, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("writing a file to build with: %w", err)
		}
		replace[file] = replacement
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(c.Work, name+"-overlay.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return "", fmt.Errorf("writing a build's overlay: %w", err)
	}
	return path, nil
}
