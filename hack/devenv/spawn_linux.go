package devenv

import "syscall"

// childAttributes puts a part into a process group of its own, so that Ctrl-C in a terminal reaches the supervisor only,
// and has the kernel kill it when the supervisor dies without ending it.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
