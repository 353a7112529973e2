package main

import "time"

// amounts are how much is measured.
type amounts struct {
	// few reports whether beginnings and ends make up so much of a drain that some goals say nothing.
	few bool
	// drains is how often either side drains drained messages.
	drains, drained int
	// samples is how many single messages are timed on either side, slots how many times a slot gets free.
	samples, slots int
	// bursts is how often either side gets a hundred messages at once.
	bursts int
	// each is how many messages each of the bindings has that drain at once.
	each int
	// counted is how many messages pass while requests are counted.
	counted int
	// idle is how many bindings have nothing to do, for idleFor.
	idle    int
	idleFor time.Duration
	// kept is how many Jobs one binding keeps, and waiting how many messages wait behind them.
	kept, waiting int
	// churn is how many of them go, one by one, while the status is refreshed.
	churn int
	// neighbours is how many idle bindings are beside the busy one while leaders change. A leader waits for the answers to
	// their long polls.
	neighbours int
	peers      peerAmounts
}

// peerAmounts are how much is measured beside another operator.
type peerAmounts struct {
	// turns is how many turns a contender gets, slow how many one whose settings make it take minutes for its work.
	turns, slow int
	// started is how many messages get a suspended Job each.
	started int
	// worked is how many are worked off, atOnce how many of them at a time.
	worked, atOnce int
}

var full = amounts{
	drains: 4, drained: 5000,
	samples: 100, slots: 20,
	bursts:  10,
	each:    250,
	counted: 2000,
	idle:    1000, idleFor: 65 * time.Second, // longer than all that an idle binding does by itself
	kept: 10_000, waiting: 40_000, churn: 100,
	neighbours: 1,
	peers:      peerAmounts{turns: 3, slow: 1, started: 500, worked: 150, atOnce: 50},
}

var small = amounts{
	few:    true,
	drains: 2, drained: 300,
	samples: 5, slots: 3,
	bursts:  1,
	each:    40,
	counted: 200,
	idle:    50, idleFor: 5 * time.Second,
	kept: 500, waiting: 200, churn: 20,
	peers: peerAmounts{turns: 1, started: 100, worked: 60, atOnce: 20},
}

// unlessFew is a goal, but none where there is too little to judge by.
func (a amounts) unlessFew(g goal) goal {
	if a.few {
		return goalless
	}
	return g
}
