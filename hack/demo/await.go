package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const pollInterval = 200 * time.Millisecond

// until polls a condition and records whether it came true in time; if not, the walk is to end. The condition's detail
// is what was last seen.
func (w *walk) until(ctx context.Context, name string, timeout time.Duration, condition func() (met bool, detail string, err error)) error {
	deadline := time.Now().Add(timeout)
	for {
		met, detail, err := condition()
		if err != nil {
			return fmt.Errorf("waiting until %s: %w", name, err)
		}
		if met {
			return w.need(ctx, true, name, detail)
		}
		if w.operator != nil {
			if err := w.operator.Alive(); err != nil {
				return fmt.Errorf("the operator ended by itself: %w", err)
			}
		}
		if time.Now().After(deadline) {
			return w.need(ctx, false, name, fmt.Sprintf("%s after %s", detail, timeout))
		}
		if err := pause(ctx, pollInterval); err != nil {
			return err
		}
	}
}

// need records a check that the rest of the walk depends on. An interruption is no failed check.
func (w *walk) need(ctx context.Context, ok bool, name, detail string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	w.score.record(ok, name, detail)
	if !ok {
		return errUnmet
	}
	return nil
}

// await waits for a condition on the Jobs that the API server's watch has told.
func (w *walk) await(ctx context.Context, name string, timeout time.Duration, condition func(tally) (bool, string)) error {
	return w.awaitJobs(ctx, w.jobs, name, timeout, condition)
}

func (w *walk) awaitJobs(ctx context.Context, jobs *jobLog, name string, timeout time.Duration, condition func(tally) (bool, string)) error {
	return w.until(ctx, name, timeout, func() (bool, string, error) {
		t, err := jobs.read()
		if err != nil {
			return false, "", err
		}
		met, detail := condition(t)
		return met, detail, nil
	})
}

// awaitAttempts waits until, of each message, the Job of the wanted attempt is the only one that is there.
func (w *walk) awaitAttempts(ctx context.Context, name string, want map[string]int) error {
	return w.await(ctx, name, 30*time.Second, func(t tally) (bool, string) {
		for id, attempt := range want {
			var present []int
			for _, job := range t.of(id) {
				if !job.Gone {
					present = append(present, job.Attempt)
				}
			}
			if !slices.Equal(present, []int{attempt}) {
				return false, fmt.Sprintf("message %s has attempts %d, want %d", id, present, attempt)
			}
		}
		return true, ""
	})
}

// awaitField waits until a field of the binding has a value.
func (w *walk) awaitField(ctx context.Context, name, path, want string) error {
	return w.until(ctx, name, 30*time.Second, func() (bool, string, error) {
		got, err := w.shell.ask(ctx, "kubectl get queuebinding pings -n demo -o jsonpath='"+path+"'")
		return got == want, "", err
	})
}

// awaitQueue waits until a queue has no visible messages and this number of hidden ones.
func (w *walk) awaitQueue(ctx context.Context, name, urlVariable, wantHidden string) error {
	return w.until(ctx, name, 15*time.Second, func() (bool, string, error) {
		visible, hidden, err := w.counts(ctx, urlVariable)
		return visible == "0" && hidden == wantHidden, fmt.Sprintf("%s visible, %s in flight", visible, hidden), err
	})
}

// pause waits, unless the demo is interrupted.
func pause(ctx context.Context, duration time.Duration) error {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
