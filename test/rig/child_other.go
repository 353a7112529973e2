//go:build unix && !linux

package rig

import "syscall"

// childAttributes keeps Ctrl-C in a terminal from the operator. A test that is killed leaves it running here.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
