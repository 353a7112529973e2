package rig

import "syscall"

// childAttributes keeps Ctrl-C in a terminal from the operator, and has the kernel kill it when the test dies.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
