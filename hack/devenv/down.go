package devenv

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/queuebinding/queuebinding/hack/devenv/machine"
)

// downGrace is how long a supervisor may take to end its parts one after the other.
const downGrace = 45 * time.Second

// TakeDown ends the environment in dir: its supervisor, which ends the parts, and then every recorded part that
// outlived it. It then removes dir. It does nothing where nothing is.
func TakeDown(dir string, out io.Writer) error {
	if !isStateDir(dir) {
		// Somebody may have removed the directory, which does not end a node.
		if err := machine.Release(dir); err != nil {
			return err
		}
		fmt.Fprintf(out, "Nothing runs in %s.\n", dir)
		return nil
	}
	unlock, err := endSupervisor(dir, out)
	if err != nil {
		return err
	}
	// Held until all is removed, so that nobody starts in between.
	defer unlock()
	state, err := readState(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, part := range slices.Backward(state.Parts) {
		if !part.Process.Alive() {
			continue
		}
		fmt.Fprintf(out, "Ending %s (process %d), which its supervisor left…\n", part.Name, part.Process.PID)
		if err := part.Process.End(10 * time.Second); err != nil {
			return err
		}
	}
	if err := machine.Release(dir); err != nil {
		return err
	}
	if err := emptyStateDir(dir); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil {
		return fmt.Errorf("removing the state directory: %w", err)
	}
	fmt.Fprintln(out, "Down.")
	return nil
}

// endSupervisor ends the supervisor of dir, if there is one, and takes its lock.
func endSupervisor(dir string, out io.Writer) (unlock func(), err error) {
	deadline := time.Now().Add(10 * time.Second)
	for {
		unlock, err := lockFile(filepath.Join(dir, lockName), false)
		if !errors.Is(err, errLocked) {
			return unlock, err
		}
		// One that has just started may not have written its record yet.
		if state, err := readState(dir); err == nil && state.Supervisor.Alive() {
			fmt.Fprintf(out, "Ending the supervisor (process %d) and its parts…\n", state.Supervisor.PID)
			if err := state.Supervisor.End(downGrace); err != nil {
				return nil, err
			}
			continue
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("an unknown process uses %s", dir)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// adopt makes dir a state directory. It refuses one that holds anything else.
func adopt(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking into the state directory: %w", err)
	}
	if len(entries) > 0 && !isStateDir(dir) {
		return fmt.Errorf("%s holds other files than those of an environment; choose another directory", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the state directory: %w", err)
	}
	return writeFile(filepath.Join(dir, markerFile), nil)
}

// isStateDir tells whether dir was adopted.
func isStateDir(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, markerFile))
	return err == nil
}

// emptyStateDir removes what is in a state directory, except the named entries.
func emptyStateDir(dir string, keep ...string) error {
	if !isStateDir(dir) {
		return fmt.Errorf("%s is not the state directory of an environment", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("clearing the state directory: %w", err)
	}
	for _, entry := range entries {
		if slices.Contains(keep, entry.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return fmt.Errorf("clearing the state directory: %w", err)
		}
	}
	return nil
}
