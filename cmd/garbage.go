package main

import (
	"os"
	"runtime/debug"
)

const (
	// collectAt is how much the heap may grow, in percent, before garbage is collected. By Go's default, 100, most of what an
	// operator with many bindings keeps resident would be room for garbage.
	collectAt = 50
	// ballast counts as heap and is never touched, so that it is not resident. Without it a small heap, that of an operator
	// which drains a queue, would be collected more than once a second.
	ballast = 32 << 20
)

// paceGarbage sets how often garbage is collected, unless GOGC does. What it returns has to be kept.
func paceGarbage() []byte {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	debug.SetGCPercent(collectAt)
	return make([]byte, ballast)
}
