package machine

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Lacks says what keeps a node with real containers from running here, apart from programs; nothing where all is there.
func Lacks() string {
	if os.Geteuid() != 0 {
		return "it needs root"
	}
	// Root of an ordinary container may neither mount nor make network devices.
	capabilities, err := effectiveCapabilities()
	if err != nil {
		return err.Error()
	}
	for _, needed := range []struct {
		bit  uint
		name string
	}{{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, {unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}} {
		if capabilities&(1<<needed.bit) == 0 {
			return "root lacks the capability " + needed.name + " here, as in a container"
		}
	}
	found, err := trees()
	if err != nil {
		return err.Error()
	}
	for _, t := range found {
		if unix.Access(t.root, unix.W_OK) != nil {
			return "control groups at " + t.root + " cannot be written, as in a container"
		}
	}
	return ""
}

func effectiveCapabilities() (uint64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("reading the capabilities of this process: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "CapEff:"); ok {
			capabilities, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			if err != nil {
				return 0, fmt.Errorf("reading the capabilities of this process: %w", err)
			}
			return capabilities, nil
		}
	}
	return 0, fmt.Errorf("found no capabilities of this process")
}
