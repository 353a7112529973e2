package devenv

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// startTolerance bounds how far two readings of one process's start time may lie apart. On Linux it is counted from the
// boot time, which moves a little when the clock is set; ids are not reused that fast.
const startTolerance = 2 * time.Second

// Process names one process for good: an id alone may be given to another one later.
type Process struct {
	PID int `json:"pid"`
	// Started is the start time in milliseconds since 1970.
	Started int64 `json:"started"`
}

// Identify names the process that has the id now.
func Identify(pid int) (Process, error) {
	p, err := process.NewProcess(int32(pid))
	if err != nil {
		return Process{}, fmt.Errorf("finding process %d: %w", pid, err)
	}
	started, err := p.CreateTime()
	if err != nil {
		return Process{}, fmt.Errorf("reading the start time of process %d: %w", pid, err)
	}
	return Process{PID: pid, Started: started}, nil
}

// Alive tells whether this very process still runs. One that has ended and was not waited for does not.
func (p Process) Alive() bool {
	// Ids below 2 would address init, the own group or everything.
	if p.PID < 2 {
		return false
	}
	now, err := Identify(p.PID)
	if err != nil {
		return false
	}
	apart := time.Duration(now.Started-p.Started) * time.Millisecond
	if apart.Abs() > startTolerance {
		return false
	}
	handle := process.Process{Pid: int32(p.PID)}
	status, err := handle.Status()
	return err != nil || !slices.Contains(status, process.Zombie)
}

// Signal sends sig if this very process still runs. A process that has ended is no error.
func (p Process) Signal(sig syscall.Signal) error {
	if !p.Alive() {
		return nil
	}
	if err := syscall.Kill(p.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("sending %s to process %d: %w", sig, p.PID, err)
	}
	return nil
}

// End asks the process to end and kills it when it has not done so within grace. It returns once the process is gone.
func (p Process) End(grace time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	// A stopped process acts on nothing else.
	if err := p.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	if p.gone(grace) {
		return nil
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	if !p.gone(10 * time.Second) {
		return fmt.Errorf("process %d does not end", p.PID)
	}
	return nil
}

func (p Process) gone(within time.Duration) bool {
	deadline := time.Now().Add(within)
	for p.Alive() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
	return true
}

// self names the calling process.
func self() (Process, error) { return Identify(os.Getpid()) }
