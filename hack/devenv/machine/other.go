//go:build !linux

package machine

import (
	"errors"
	"net/netip"
)

var errNotLinux = errors.New("real containers need Linux")

// Lacks says what keeps a node with real containers from running here.
func Lacks() string { return "it needs Linux" }

// Obtain fails: real containers need Linux.
func Obtain(string) (Claim, error) { return Claim{}, errNotLinux }

// Release does nothing: there are no claims.
func Release(string) error { return nil }

// AddAddress fails: real containers need Linux.
func (c Claim) AddAddress(netip.Addr) error { return errNotLinux }

// RemoveAddress fails: real containers need Linux.
func (c Claim) RemoveAddress(netip.Addr) error { return errNotLinux }

// RuntimeProcs fails: real containers need Linux.
func (c Claim) RuntimeProcs() (string, error) { return "", errNotLinux }
