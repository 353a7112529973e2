package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// nodeSettings are those of the kernel that a node changes, below /proc/sys, and to what: the kubelet sets all but the
// last, which the network plugin turns on.
var nodeSettings = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
	"net/ipv4/ip_forward":       "1",
}

// readSettings returns the settings that will be changed. One that is as a node wants it is left out: another node may
// have set it, and it is that one's to set back.
func readSettings() (map[string]string, error) {
	before := map[string]string{}
	for name, want := range nodeSettings {
		value, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading a setting of the kernel: %w", err)
		}
		if was := strings.TrimSpace(string(value)); was != want {
			before[name] = was
		}
	}
	return before, nil
}

// recordSettings notes how the settings were before this node.
func (c *Claim) recordSettings() error {
	unlock, err := lockSettings()
	if err != nil {
		return err
	}
	defer unlock()
	if c.Settings, err = readSettings(); err != nil {
		return err
	}
	return c.write()
}

// restoreSettings sets back what still is as the node set it. Where another node runs that needs it so, that one gets
// the duty.
func (c Claim) restoreSettings() error {
	unlock, err := lockSettings()
	if err != nil {
		return err
	}
	defer unlock()
	others, err := claims(func(other Claim) bool { return other.ID != c.ID })
	if err != nil {
		return err
	}
	if len(others) > 0 {
		heir := others[0]
		if heir.Settings == nil {
			heir.Settings = map[string]string{}
		}
		maps.Copy(heir.Settings, c.Settings)
		return heir.write()
	}
	var failures []error
	for name, was := range c.Settings {
		path := filepath.Join("/proc/sys", name)
		value, err := os.ReadFile(path)
		if err == nil && strings.TrimSpace(string(value)) == nodeSettings[name] {
			err = os.WriteFile(path, []byte(was), 0o644)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("restoring a setting of the kernel: %w", err))
		}
	}
	return errors.Join(failures...)
}

// lockSettings keeps two nodes from reading and writing records of settings at once.
func lockSettings() (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(runRoot, prefix+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the settings of the kernel: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("locking the settings of the kernel: %w", err), file.Close())
	}
	return func() { _ = file.Close() }, nil
}
