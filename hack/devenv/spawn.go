package devenv

import (
	"os/exec"
	"runtime"
)

// spawner starts processes from one thread that lives as long as it does. The kernel's signal on the parent's death
// counts the thread that forked as the parent, and Go may end any other thread.
type spawner struct {
	starts chan start
}

type start struct {
	cmd    *exec.Cmd
	result chan error
}

func newSpawner() *spawner {
	s := &spawner{starts: make(chan start)}
	go func() {
		runtime.LockOSThread()
		for request := range s.starts {
			request.result <- request.cmd.Start()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	request := start{cmd: cmd, result: make(chan error, 1)}
	s.starts <- request
	return <-request.result
}

// close ends the thread and with it, on Linux, every process that it started.
func (s *spawner) close() { close(s.starts) }
