package main

import "errors"

// errUnmet ends the walk where a later step could only fail too. The check that it stands for is on the scorecard.
var errUnmet = errors.New("a check failed that the rest depends on")

// check is one thing that was looked at.
type check struct {
	name   string
	ok     bool
	detail string
}

// scorecard collects checks and prints each as it is made.
type scorecard struct {
	page   *page
	checks []check
}

func (s *scorecard) record(ok bool, name, detail string) {
	s.checks = append(s.checks, check{name: name, ok: ok, detail: detail})
	s.line(s.checks[len(s.checks)-1])
}

func (s *scorecard) line(c check) {
	if c.detail == "" {
		s.page.say("  %s  %s", s.page.verdict(c.ok), c.name)
		return
	}
	s.page.say("  %s  %s (%s)", s.page.verdict(c.ok), c.name, c.detail)
}

func (s *scorecard) failed() int {
	count := 0
	for _, c := range s.checks {
		if !c.ok {
			count++
		}
	}
	return count
}

// summary repeats all checks as a table and tells whether every one held. Nothing checked is no success.
func (s *scorecard) summary() bool {
	if len(s.checks) == 0 {
		s.page.say("\nNothing was checked.")
		return false
	}
	s.page.heading("What was checked")
	for _, c := range s.checks {
		s.line(c)
	}
	s.page.say("\n%d checks, %d failed, %s", len(s.checks), s.failed(), s.page.elapsed())
	return s.failed() == 0
}
