package machine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A tree of control groups: all of version 2, or one controller, or some, of version 1.
type tree struct {
	root string
	// controllers are those of a tree of version 1.
	controllers []string
	unified     bool
}

func trees() ([]tree, error) {
	all, err := mounts()
	if err != nil {
		return nil, err
	}
	var found []tree
	for _, m := range all {
		switch m.kind {
		case "cgroup":
			found = append(found, tree{root: m.point, controllers: strings.Split(m.options, ",")})
		case "cgroup2":
			found = append(found, tree{root: m.point, unified: true})
		}
	}
	if len(found) == 0 {
		return nil, errors.New("no control groups are mounted")
	}
	return found, nil
}

func (t tree) has(controller string) bool { return slices.Contains(t.controllers, controller) }

// makeCgroups makes the claim's control group in every tree: the kubelet makes its own below it, and wants it to be there.
func (c Claim) makeCgroups() error {
	found, err := trees()
	if err != nil {
		return err
	}
	for _, t := range found {
		if t.unified {
			// What can be shared out below a group has to be allowed by each above it. Without a controller the kubelet
			// says what it misses.
			_ = os.WriteFile(filepath.Join(t.root, "cgroup.subtree_control"), []byte("+cpu +cpuset +memory +pids"), 0o644)
		}
		if err := t.makeGroup(c.ID); err != nil {
			return err
		}
		if t.unified {
			_ = os.WriteFile(filepath.Join(t.root, c.ID, "cgroup.subtree_control"), []byte("+cpu +cpuset +memory +pids"), 0o644)
		}
	}
	t := tracking(found)
	return t.makeGroup(filepath.Join(c.ID, runtimeGroup))
}

// runtimeGroup is the group, below the claim's, of the container runtime and its helpers, which outlive it.
const runtimeGroup = "runtime"

// tracking is the tree in which the container runtime's processes are put, to be found again: one suffices.
func tracking(found []tree) tree {
	for _, wanted := range []string{"pids", "freezer", "name=systemd"} {
		for _, t := range found {
			if t.has(wanted) {
				return t
			}
		}
	}
	return found[0]
}

// RuntimeProcs is the file by which a process puts itself, and so all that it will start, into the claim's control group.
func (c Claim) RuntimeProcs() (string, error) {
	found, err := trees()
	if err != nil {
		return "", err
	}
	return filepath.Join(tracking(found).root, c.ID, runtimeGroup, "cgroup.procs"), nil
}

func (t tree) makeGroup(path string) error {
	dir := filepath.Join(t.root, path)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making control group %s: %w", dir, err)
	}
	if !t.has("cpuset") {
		return nil
	}
	// In version 1 a new group has no processors, and no process can join it.
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		above, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name))
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), bytes.TrimSpace(above), 0o644); err != nil {
			return fmt.Errorf("setting %s of %s: %w", name, dir, err)
		}
	}
	return nil
}

// endPatience bounds how long the kernel may take to end what was killed.
const endPatience = 20 * time.Second

// endProcesses kills all processes in the claim's control groups: containers and what watches over them.
func (c Claim) endProcesses() error {
	deadline := time.Now().Add(endPatience)
	for {
		ids, err := c.processes()
		if err != nil || len(ids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v of the node do not end", ids)
		}
		for _, id := range ids {
			if err := unix.Kill(id, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("killing process %d: %w", id, err)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (c Claim) processes() ([]int, error) {
	groups, err := c.groups()
	if err != nil {
		return nil, err
	}
	var ids []int
	for _, group := range groups {
		data, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("reading the processes of %s: %w", group, err)
		}
		for word := range strings.FieldsSeq(string(data)) {
			id, err := strconv.Atoi(word)
			// Others' namespaces show as 0, which would address our own process group.
			if err == nil && id > 1 && id != os.Getpid() && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// groups are the directories of the claim's control groups in all trees, outer before inner.
func (c Claim) groups() ([]string, error) {
	found, err := trees()
	if err != nil {
		return nil, err
	}
	var groups []string
	for _, t := range found {
		err := filepath.WalkDir(filepath.Join(t.root, c.ID), func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && entry.IsDir() {
				groups = append(groups, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("looking for control groups: %w", err)
		}
	}
	return groups, nil
}

func (c Claim) removeCgroups() error {
	deadline := time.Now().Add(endPatience)
	for {
		groups, err := c.groups()
		if err != nil || len(groups) == 0 {
			return err
		}
		for _, group := range slices.Backward(groups) {
			err = errors.Join(err, ignoreNotExist(unix.Rmdir(group)))
		}
		if err == nil {
			return nil
		}
		// A group stays busy for a moment after its last process.
		if time.Now().After(deadline) {
			return fmt.Errorf("removing control groups: %w", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
