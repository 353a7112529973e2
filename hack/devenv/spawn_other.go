//go:build unix && !linux

package devenv

import "syscall"

// childAttributes puts a part into a process group of its own, so that Ctrl-C in a terminal reaches the supervisor only.
// A supervisor that is killed leaves its parts running here; [Down] ends them by what was recorded.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
