package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Places outside the claim's directories where programs leave things, whatever their configuration says. They are shared
// with other engines: only what leads to the claim is removed.
const (
	networkResults = "/var/lib/cni/results"
	logLinks       = "/var/log/containers"
	helperSockets  = "/run/containerd/s"
)

// Release ends all that runs for owner's claims and gives them back. It does nothing where owner has none. The processes
// that it started itself owner has to have ended before.
func Release(owner string) error {
	owned, err := Find(owner)
	if err != nil {
		return err
	}
	for _, claim := range owned {
		if os.Geteuid() != 0 {
			return fmt.Errorf("the node %s was started by root and only root can take it away", claim.ID)
		}
		if err := claim.release(); err != nil {
			return fmt.Errorf("taking the node %s away: %w", claim.ID, err)
		}
	}
	return nil
}

// release goes on after a failure, so that as little as possible stays; the claim stays for another try.
func (c Claim) release() error {
	if err := c.endProcesses(); err != nil {
		return err
	}
	failure := errors.Join(
		c.removeStrays(),
		unmountBelow(c.Run()),
		unmountBelow(c.Disk()),
		c.removeDevices(),
		c.removeCgroups(),
		c.restoreSettings(),
	)
	if failure != nil {
		return failure
	}
	if err := os.RemoveAll(c.Run()); err != nil {
		return fmt.Errorf("removing the node's directory: %w", err)
	}
	if err := os.RemoveAll(c.Disk()); err != nil {
		return fmt.Errorf("removing the node's directory: %w", err)
	}
	return nil
}

// removeStrays removes what is outside the claim's directories.
func (c Claim) removeStrays() error {
	var strays []string
	results, err := filepath.Glob(filepath.Join(networkResults, c.ID+"-*"))
	failure := err
	strays = append(strays, results...)
	for _, result := range results {
		// Every Pod's own loopback device has a record too, which bears the Pod's name but not the network's.
		pod := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(result), c.ID+"-"), "-eth0")
		strays = append(strays, filepath.Join(networkResults, "cni-loopback-"+pod+"-lo"))
	}

	links, err := filepath.Glob(filepath.Join(logLinks, "*.log"))
	failure = errors.Join(failure, err)
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, c.Disk()+"/") {
			strays = append(strays, link)
		}
	}

	// Each running container's directory names the socket of its helper.
	records, err := filepath.Glob(filepath.Join(c.Runtime(), "io.containerd.runtime.v2.task", "*", "*", "address"))
	failure = errors.Join(failure, err)
	for _, record := range records {
		address, err := os.ReadFile(record)
		socket, ok := strings.CutPrefix(strings.TrimSpace(string(address)), "unix://")
		if err == nil && ok && filepath.Dir(socket) == helperSockets {
			strays = append(strays, socket)
		}
	}
	for _, stray := range strays {
		failure = errors.Join(failure, ignoreNotExist(os.Remove(stray)))
	}
	return failure
}
