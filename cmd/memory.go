package main

import (
	"fmt"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// memoryRatio is how much of the container's limit Go may take before it collects garbage without end: the rest is for the kernel's
// buffers and for what Go does not count.
const memoryRatio = 0.85

// followMemoryLimit has Go's memory limit follow the container's, unless GOMEMLIMIT sets it. Outside a container it sets none.
func followMemoryLimit() error {
	if _, err := memlimit.Set(memlimit.WithRatio(memoryRatio)); err != nil {
		return fmt.Errorf("follow the container's memory limit: %w", err)
	}
	return nil
}
