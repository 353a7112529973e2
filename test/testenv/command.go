package testenv

import (
	"context"
	"os"
	"os/exec"
)

// Command returns a command of a program that finds this environment, such as kubectl.
func (e *Environment) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	// By env, which looks the program up in the PATH that it is given.
	command := exec.CommandContext(ctx, "/usr/bin/env", append([]string{name}, args...)...)
	command.Env = append(os.Environ(), e.Env...)
	return command
}
