package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"github.com/queuebinding/queuebinding/test/testenv"
	"github.com/queuebinding/queuebinding/test/webhook"
)

// event is something that is planned.
type event struct {
	at   time.Duration
	name string
	do   func(context.Context)
}

// kind is what can be planned. It takes what it needs to be random from the event's own source.
type kind struct {
	name string
	do   func(context.Context, *rand.Rand)
}

// overlaps are the kinds that have two operators at work at once. What that excuses must not excuse all, so that a round
// has one of them.
func (s *soak) overlaps() []kind {
	return []kind{
		{"freeze the leader beyond its Lease", s.freeze},
		{"let a second operator work at once", s.secondOperator},
		{"keep the leader from its Lease", s.depose},
	}
}

// kinds are all others.
func (s *soak) kinds() []kind {
	return []kind{
		{"kill the leader", func(context.Context, *rand.Rand) { s.operators.kill(s.faults.leading()) }},
		{"kill both operators", func(context.Context, *rand.Rand) { s.operators.kill(s.operators.names()...) }},
		{"restart the API server", s.restartAPIServer},
		{string(throttledSQS), s.during(throttledSQS)},
		{string(brokenSQS), s.during(brokenSQS)},
		{string(throttledAPI), s.during(throttledAPI)},
		{string(brokenAPI), s.during(brokenAPI)},
		{string(slowAPI), s.during(slowAPI)},
		{"webhook flaps", s.flap},
		{"webhook fails for some Jobs", s.failAtSome(webhook.Error, 4)},
		{"webhook does not answer for some Jobs", s.failAtSome(webhook.Hang, 6)},
		{"webhook fails for all Jobs", s.failAtSome(webhook.Cut, 1)},
		{"user changes credentials", s.changeCredentials},
		{"user changes credentials", s.changeCredentials},
		{"user deletes Jobs", s.deleteJobs},
		{"user deletes Jobs", s.deleteJobs},
		{"Pods die", s.killPods},
		{"Pods die", s.killPods},
		{"user requeues some", s.requeueSome},
		{"user requeues some", s.requeueSome},
		{"user requeues all", s.requeueAll},
		{"user suspends a binding", s.suspend},
		{"user changes a limit", s.changeLimit},
		{"user changes a limit", s.changeLimit},
	}
}

// plan is what happens in a time: round after round of all kinds, shuffled.
func (s *soak) plan(duration time.Duration) []event {
	random := s.random(1)
	overlaps := s.overlaps()
	var events []event
	at := 5 * time.Second
	for round := 0; ; round++ {
		kinds := append(s.kinds(), overlaps[round%len(overlaps)])
		for _, i := range random.Perm(len(kinds)) {
			kind, own := kinds[i], rand.New(rand.NewPCG(random.Uint64(), 0))
			at += time.Duration(1000+random.IntN(2500)) * time.Millisecond
			if at >= duration {
				return events
			}
			events = append(events, event{at: at, name: kind.name, do: func(ctx context.Context) { kind.do(ctx, own) }})
		}
	}
}

// during has an outage for some seconds.
func (s *soak) during(which outage) func(context.Context, *rand.Rand) {
	return func(ctx context.Context, random *rand.Rand) {
		defer s.faults.begin(which)()
		pause(ctx, time.Duration(2000+random.IntN(4000))*time.Millisecond)
	}
}

// freeze halts the leader until another leads, and lets it go on then with what it had in its hands.
func (s *soak) freeze(ctx context.Context, _ *rand.Rand) {
	defer s.overlap.begin()()
	operator := s.operators.get(s.faults.leading())
	if operator == nil || operator.Signal(syscall.SIGSTOP) != nil {
		return
	}
	pause(ctx, 10*time.Second)
	_ = operator.Signal(syscall.SIGCONT) // it may have been killed
}

// depose cuts the leader's requests for its Lease until another leads.
func (s *soak) depose(ctx context.Context, _ *rand.Rand) {
	defer s.overlap.begin()()
	defer s.faults.begin(noLease + outage(s.faults.leading()))()
	pause(ctx, 9*time.Second)
}

// secondOperator runs an operator that does not ask for the Lease beside the one that has it, and kills it.
func (s *soak) secondOperator(ctx context.Context, _ *rand.Rand) {
	defer s.overlap.begin()()
	endpoints, err := s.cluster.ProxiedEndpoints("operator-"+rogue, "", s.faults.decideFor(rogue))
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		return
	}
	defer endpoints.Close()
	operator, err := s.cluster.StartOperator(s.operators.program, endpoints)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		return
	}
	defer operator.Kill()
	pause(ctx, 7*time.Second)
}

func (s *soak) restartAPIServer(context.Context, *rand.Rand) {
	if err := s.cluster.StopPart(testenv.APIServer); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
	}
	time.Sleep(time.Second)
	if err := s.cluster.StartPart(testenv.APIServer); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
	}
}
