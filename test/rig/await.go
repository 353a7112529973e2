package rig

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Timeout is how long a busy machine may take for anything.
const Timeout = time.Minute

// ErrTimeout is what Await returns after Timeout.
var ErrTimeout = errors.New("did not come in time")

// Await waits until missing says nothing, at most for Timeout.
func Await(ctx context.Context, what string, missing func() string) error {
	return AwaitFor(ctx, Timeout, what, missing)
}

// AwaitFor waits until missing says nothing, at most for a time.
func AwaitFor(ctx context.Context, timeout time.Duration, what string, missing func() string) error {
	deadline := time.Now().Add(timeout)
	for {
		said := missing()
		if said == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s %w: after %s, %s", what, ErrTimeout, timeout, said)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Problem is an error's text, or nothing.
func Problem(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
