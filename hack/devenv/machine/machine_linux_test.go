package machine

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestClaimsShareNoAddresses(t *testing.T) {
	var all []netip.Prefix
	for n := range claimCount {
		claim := claimNumber(n)
		if !addresses.Overlaps(claim.Addresses) || overlaps(all, claim.Addresses) {
			t.Errorf("claim %d has %s, of others or from elsewhere", n, claim.Addresses)
		}
		all = append(all, claim.Addresses)
		if !claim.Addresses.Contains(claim.Address()) {
			t.Errorf("address %s is not of claim %s", claim.Address(), claim.Addresses)
		}
		for _, part := range []netip.Prefix{claim.Services(), claim.Pods()} {
			if !claim.Addresses.Overlaps(part) || part.Bits() < claimBits || part.Masked() != part || part.Contains(claim.Address()) {
				t.Errorf("%s is not a proper part of claim %s", part, claim.Addresses)
			}
		}
		if claim.Services().Overlaps(claim.Pods()) {
			t.Errorf("Services and Pods of claim %d overlap", n)
		}
		// The kernel's limit for names of devices is 15 bytes, and the other end of the pair bears one more.
		if len(claim.ID) > 14 {
			t.Errorf("%s is too long a name for a device", claim.ID)
		}
	}
}

func TestParseMount(t *testing.T) {
	for name, test := range map[string]struct {
		line string
		want mount
		ok   bool
	}{
		"a file system": {
			`22 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard`,
			mount{"/", "ext4", "rw,discard"}, true,
		},
		"with optional fields": {
			`36 35 0:33 / /sys/fs/cgroup/pids rw shared:9 master:2 - cgroup cgroup rw,pids`,
			mount{"/sys/fs/cgroup/pids", "cgroup", "rw,pids"}, true,
		},
		"a space and a backslash in the path": {
			`40 22 0:40 / /a\040b\134c rw - tmpfs tmpfs rw`,
			mount{`/a b\c`, "tmpfs", "rw"}, true,
		},
		"nonsense": {"36 35 0:33", mount{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := parseMount(test.line); got != test.want || ok != test.ok {
				t.Errorf("got %+v, %t; want %+v, %t", got, ok, test.want, test.ok)
			}
		})
	}
}

func TestTracking(t *testing.T) {
	legacy := []tree{{root: "cpu", controllers: []string{"rw", "cpu", "cpuacct"}}, {root: "pids", controllers: []string{"rw", "pids"}}, {root: "unified", unified: true}}
	if got := tracking(legacy).root; got != "pids" {
		t.Errorf("got %s, want pids", got)
	}
	if got := tracking([]tree{{root: "unified", unified: true}}).root; got != "unified" {
		t.Errorf("got %s, want unified", got)
	}
}

func TestFindProgramsNamesPackages(t *testing.T) {
	previous, previousNetworks := folders, networkFolders
	t.Cleanup(func() { folders, networkFolders = previous, previousNetworks })
	empty := t.TempDir()
	t.Setenv("PATH", empty)
	folders, networkFolders = nil, []string{empty}
	_, missing := FindPrograms()
	if want := []string{"containerd", "runc", "busybox-static", "containernetworking-plugins"}; !slices.Equal(missing, want) {
		t.Errorf("got %q, want %q", missing, want)
	}

	// A script is no static program, as a busybox that needs libraries is none.
	if err := os.WriteFile(filepath.Join(empty, "busybox"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, missing := FindPrograms(); !slices.Contains(missing, "busybox-static") {
		t.Errorf("got %q, want busybox-static among them", missing)
	}
}
