package rig

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Patience is how long a busy machine may take for anything.
const Patience = time.Minute

// ErrImpatient is what Await returns after Patience.
var ErrImpatient = errors.New("did not come in time")

// Await waits until missing says nothing, at most for Patience.
func Await(ctx context.Context, what string, missing func() string) error {
	return AwaitFor(ctx, Patience, what, missing)
}

// AwaitFor waits until missing says nothing, at most for a time.
func AwaitFor(ctx context.Context, patience time.Duration, what string, missing func() string) error {
	deadline := time.Now().Add(patience)
	for {
		said := missing()
		if said == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s %w: after %s, %s", what, ErrImpatient, patience, said)
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
