package devenv

import (
	"context"
	"fmt"
	"strings"
	"syscall"
)

// Verbs are what [Supervisor.Control] does to a part: stop kills it and start runs the same command again, on the same
// port and with the same data, this time with more arguments where some are given; pause and resume stop and continue its process. The queue keeps its messages in memory,
// so only pausing preserves them.
var Verbs = []string{"stop", "start", "pause", "resume"}

// Control does a verb to a part and returns once that is done, for start once the part answers again.
func (s *Supervisor) Control(ctx context.Context, verb, name string, args ...string) error {
	if len(args) > 0 && verb != "start" {
		return fmt.Errorf("only start takes arguments: got %s for %s", strings.Join(args, " "), verb)
	}
	c, err := s.child(name)
	if err != nil {
		return err
	}
	s.say("Told to %s %s", verb, name)
	switch verb {
	case "stop":
		if err := s.kill(c); err != nil {
			return err
		}
		return s.mark(c, PartStopped)
	case "start":
		return s.startAgain(ctx, c, args)
	case "pause":
		if err := c.process.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		return s.mark(c, PartPaused)
	case "resume":
		if err := c.process.Signal(syscall.SIGCONT); err != nil {
			return err
		}
		return s.mark(c, PartRunning)
	default:
		return fmt.Errorf("there is no verb %q: use one of %s", verb, strings.Join(Verbs, ", "))
	}
}

// startAgain starts a part that was stopped or has ended.
func (s *Supervisor) startAgain(ctx context.Context, c *child, args []string) error {
	s.mu.Lock()
	runs := c.status == PartRunning || c.status == PartPaused
	if !runs {
		c.more = args
	}
	s.mu.Unlock()
	if runs {
		return fmt.Errorf("%s runs already", c.part.Name)
	}
	if err := s.launch(c); err != nil {
		return err
	}
	if err := s.awaitReady(ctx, c); err != nil {
		return err
	}
	if c.part.Name != "kube-apiserver" {
		return nil
	}
	// In a real cluster these end when they lose their lease, and are started again. Here they have none and would wait
	// in their watches' growing backoff for up to a minute longer.
	for _, name := range []string{"kube-controller-manager", "kube-scheduler"} {
		follower, err := s.child(name)
		if err != nil {
			continue // not chosen
		}
		s.mu.Lock()
		runs := follower.status == PartRunning
		s.mu.Unlock()
		if !runs {
			continue
		}
		if err := s.kill(follower); err != nil {
			return err
		}
		if err := s.launch(follower); err != nil {
			return err
		}
		if err := s.awaitReady(ctx, follower); err != nil {
			return err
		}
	}
	return nil
}

func (s *Supervisor) child(name string) (*child, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, c := range s.children {
		if c.part.Name == name {
			return c, nil
		}
		names = append(names, c.part.Name)
	}
	return nil, fmt.Errorf("no part %q runs here: there are %s", name, strings.Join(names, ", "))
}

func (s *Supervisor) mark(c *child, status PartStatus) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A process that has ended by itself stays so.
	if status != PartStopped && closed(c.ended) {
		return fmt.Errorf("%s does not run", c.part.Name)
	}
	c.status, c.detail = status, ""
	return s.recordLocked()
}
