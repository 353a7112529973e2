package machine

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// Addresses come from a range that is reserved for benchmarks of networks (RFC 2544), so that hardly anybody routes it.
// Each claim has 1024 of them, named after their place in the range.
var (
	addresses  = netip.MustParsePrefix("198.18.0.0/15")
	claimBits  = 22
	claimCount = 1 << (22 - 15)
)

const (
	// prefix begins the name of every claim, and with it of all that the claim takes.
	prefix = "devenv"
	// diskRoot and runRoot hold the directories of claims. Short paths: a socket's has at most 108 bytes.
	diskRoot  = "/var/lib"
	runRoot   = "/run"
	claimFile = "claim.json"
)

// Claim is what one node took of the machine.
type Claim struct {
	// ID is the name of the device, the control group, the directories and the network.
	ID string `json:"id"`
	// Owner is the state directory of the environment.
	Owner string `json:"owner"`
	// Addresses are the claim's alone.
	Addresses netip.Prefix `json:"addresses"`
	// Settings are those of the kernel that a node changes, as they were before.
	Settings map[string]string `json:"settings,omitempty"`
}

// Address is where Pods reach the machine and the API server the kubelet. Packets from elsewhere have no route to it.
func (c Claim) Address() netip.Addr { return c.Addresses.Addr().Next() }

// Services are the cluster IPs.
func (c Claim) Services() netip.Prefix { return netip.PrefixFrom(c.part(1), 24) }

// Pods are the addresses of Pods.
func (c Claim) Pods() netip.Prefix { return netip.PrefixFrom(c.part(2), 23) }

// part is the first address of one of the four parts of the claim's addresses.
func (c Claim) part(n byte) netip.Addr {
	bytes := c.Addresses.Addr().As4()
	bytes[2] += n
	return netip.AddrFrom4(bytes)
}

// Disk returns a path below the directory for what is large.
func (c Claim) Disk(elements ...string) string {
	return filepath.Join(append([]string{diskRoot, c.ID}, elements...)...)
}

// Run returns a path below the directory for sockets and what is gone after a restart of the machine.
func (c Claim) Run(elements ...string) string {
	return filepath.Join(append([]string{runRoot, c.ID}, elements...)...)
}

// CgroupRoot is the control group of all that the node runs.
func (c Claim) CgroupRoot() string { return "/" + c.ID }

// PodLogs is where the kubelet and the container runtime keep what containers print.
func (c Claim) PodLogs() string { return c.Disk("pod-logs") }

// Runtime is the container runtime's directory for running containers.
func (c Claim) Runtime() string { return c.Run("containerd") }

func claimNumber(n int) Claim {
	base := addresses.Addr().As4()
	base[1] += byte(n >> 6)
	base[2] += byte(n << 2)
	return Claim{ID: fmt.Sprintf("%s%d", prefix, n), Addresses: netip.PrefixFrom(netip.AddrFrom4(base), claimBits)}
}

// Find returns the claims of an owner.
func Find(owner string) ([]Claim, error) {
	return claims(func(c Claim) bool { return c.Owner == owner })
}

// claims are those that match. What cannot be read is somebody else's.
func claims(match func(Claim) bool) ([]Claim, error) {
	files, err := filepath.Glob(filepath.Join(diskRoot, prefix+"*", claimFile))
	if err != nil {
		return nil, fmt.Errorf("looking for claims: %w", err)
	}
	var found []Claim
	for _, file := range files {
		if claim, err := read(file); err == nil && match(claim) {
			found = append(found, claim)
		}
	}
	return found, nil
}

func read(file string) (Claim, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Claim{}, fmt.Errorf("reading a claim: %w", err)
	}
	var claim Claim
	if err := json.Unmarshal(data, &claim); err != nil {
		return Claim{}, fmt.Errorf("reading %s: %w", file, err)
	}
	// All that is named after it is removed in the end.
	if filepath.Base(filepath.Dir(file)) != claim.ID {
		return Claim{}, fmt.Errorf("%s is of another claim, %q", file, claim.ID)
	}
	return claim, nil
}

// write records the claim. Anybody may read it: `status` and `down` look for theirs.
func (c Claim) write() error {
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("recording a claim: %w", err)
	}
	file := c.Disk(claimFile)
	if err := os.WriteFile(file+".new", data, 0o644); err != nil {
		return fmt.Errorf("recording a claim: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("recording a claim: %w", err)
	}
	return nil
}
