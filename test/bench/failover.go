package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/queuebinding/queuebinding/test/rig"
)

const (
	// streamEvery is how often a message comes while leaders change.
	streamEvery = 50 * time.Millisecond
	// leads is how long a standby may take to be one, and a new leader to be known as such.
	leads = 3 * time.Second
)

// measureFailover ends leaders while messages come, and tells for how long no Job was created.
func measureFailover(ctx context.Context, s *suite, r *report) error {
	busy, err := s.newWorkspace(ctx, nil)
	if err != nil {
		return err
	}
	for range s.amounts.neighbours {
		if _, err := s.newWorkspace(ctx, nil); err != nil {
			return err
		}
	}
	var replicas []*operator
	defer func() {
		for _, replica := range replicas {
			replica.Kill()
		}
	}()
	replica := func() error {
		name := fmt.Sprintf("operator-replica-%d", len(replicas))
		started, err := s.startOperator(ctx, name, s.DirectEndpoints(name), "--leader-elect", "--namespace=default")
		if err == nil {
			replicas = append(replicas, started)
		}
		return err
	}
	if err := replica(); err != nil {
		return err
	}
	if err := s.polling(ctx, busy.binding); err != nil {
		return err
	}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for i := 0; sending.Err() == nil; i++ {
			if _, err := busy.queue.Send(sending, body(i)); err != nil {
				return // it shows as Jobs that do not come
			}
			time.Sleep(streamEvery)
		}
	}()

	for _, change := range []struct {
		name string
		goal goal
		end  func(*operator) error
	}{
		// Open long polls are waited for, up to 20 s, then the Lease is released.
		{fmt.Sprintf("without intake on a rolling restart, %d idle bindings beside", s.amounts.neighbours), atMost(25), func(o *operator) error { return o.Signal(syscall.SIGTERM) }},
		// The Lease has to run out, 15 s.
		{"without intake after SIGKILL of the leader", atMost(20), func(o *operator) error { o.Kill(); return nil }},
	} {
		if err := replica(); err != nil { // the standby
			return err
		}
		time.Sleep(leads)
		had := len(s.creations.of(busy.operator()))
		ended := time.Now()
		leader := replicas[len(replicas)-2]
		if err := change.end(leader); err != nil {
			return fmt.Errorf("ending a leader: %w", err)
		}
		gap, err := s.gap(ctx, busy.operator(), had, ended, leader.Ended())
		if err != nil {
			return err
		}
		r.add(change.name, gap.Seconds(), "s", change.goal)
	}
	return nil
}

// gap is the longest time without a new Job since a moment, told once the old leader is gone and Jobs come again.
func (s *suite) gap(ctx context.Context, by owner, had int, since time.Time, gone <-chan struct{}) (time.Duration, error) {
	const steady = 3 * time.Second
	var goneAt time.Time
	longest := time.Duration(0)
	err := rig.Await(ctx, "a new leader", func() string {
		select {
		case <-gone:
			if goneAt.IsZero() {
				goneAt = time.Now()
			}
		default:
			return "the old leader has not ended"
		}
		last := since
		longest = 0
		for _, at := range s.creations.of(by)[had:] {
			longest, last = max(longest, at.Sub(last)), at
		}
		if time.Since(goneAt) < steady || last.Before(goneAt) {
			return "there are no Jobs of a new one"
		}
		return ""
	})
	return longest, err
}
