//go:build unix && !linux

package process

import "syscall"

// attributes keep Ctrl-C in a terminal from the process. A parent that is killed leaves it running here.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
