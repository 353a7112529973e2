package devenv

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"time"
)

// child is one part as the supervisor runs it. Its fields are guarded by the supervisor's mutex.
type child struct {
	part    Part
	command Command
	// more are arguments of the last start beyond the command's.
	more    []string
	logFile string
	process Process
	status  PartStatus
	detail  string
	// offset is the length of the log before the last start.
	offset int64
	// wanted is set before the supervisor ends the process itself.
	wanted bool
	// ended is closed when the process was waited for.
	ended chan struct{}
}

// taken matches what programs say when a port is in use.
var taken = regexp.MustCompile(`(?i)address already in use|EADDRINUSE`)

func (c *child) run(spawner *spawner, dir string) (*exec.Cmd, error) {
	log, err := os.OpenFile(c.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", c.part.Name, err)
	}
	// The child has its own descriptor.
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", c.part.Name, err)
	}
	c.offset = info.Size()
	cmd := exec.Command(c.command.Path, slices.Concat(c.command.Args, c.more)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), c.command.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttributes()
	if err := spawner.start(cmd); err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.part.Name, err)
	}
	return cmd, nil
}

// said returns what the part has logged since its last start.
func (c *child) said() string {
	log, err := os.ReadFile(c.logFile)
	if err != nil || int64(len(log)) < c.offset {
		return ""
	}
	return string(log[c.offset:])
}

func (c *child) portTaken() bool { return taken.MatchString(c.said()) }

// grace is how long a part may take to end before it is killed.
func grace(fast bool) time.Duration {
	if fast {
		// Nothing of a fast environment is kept.
		return 0
	}
	return 10 * time.Second
}
