package creator

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	"github.com/queuebinding/queuebinding/internal/timer"
)

// gate lets creates pass while the API server takes them. Once it refuses, all wait, and one at a time tries again, with a
// growing, jittered delay: whoever has waited longest, so that it is never the same one for ever.
type gate struct {
	clock clock.Clock
	// changed is called when the gate closes, opens or has a new reason.
	changed func(reason, message string)
	// crowded reports whether those who wait are to leave, the first or the others.
	crowded func(first bool) bool

	mu      sync.Mutex
	closed  bool
	backoff wait.Backoff
	until   time.Time
	probing bool
	// refusedProbes is how many tries in a row were refused since the gate closed.
	refusedProbes int
	// waiting are the tickets of those who wait to enter, in their order.
	waiting []int
	tickets int
	// moved is closed and replaced when waiting ones should look again.
	moved chan struct{}
}

func newGate(c clock.Clock, changed func(reason, message string), crowded func(first bool) bool) *gate {
	return &gate{clock: c, changed: changed, crowded: crowded, backoff: timer.Backoff(), moved: make(chan struct{})}
}

// isClosed reports whether the last create was refused.
func (g *gate) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// probesRefused returns how many tries in a row were refused since the gate closed.
func (g *gate) probesRefused() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refusedProbes
}

// enter waits until a create may be tried. It returns false when ctx ends before that, or where there is no room to wait. probe
// reports whether this one tries for all. Each enter that succeeds must be followed by pass, refuse or abandon.
func (g *gate) enter(ctx context.Context) (probe, entered bool) {
	ticket := g.queue()
	defer g.leave(ticket)
	for {
		g.mu.Lock()
		if !g.closed {
			g.mu.Unlock()
			return false, true
		}
		if ctx.Err() != nil {
			g.mu.Unlock()
			return false, false
		}
		delay := g.until.Sub(g.clock.Now())
		if delay <= 0 && !g.probing && g.waiting[0] == ticket {
			g.probing = true
			g.mu.Unlock()
			return true, true
		}
		if first := g.waiting[0] == ticket; g.crowded(first) {
			// Where nobody is left to try, what is received next does, in its turn for room.
			opens := first && len(g.waiting) == 1 && !g.probing
			if opens {
				g.closed = false
			}
			g.mu.Unlock()
			if opens {
				g.changed("", "")
			}
			return false, false
		}
		moved := g.moved
		g.mu.Unlock()

		if delay <= 0 {
			delay = timer.LongestRetry // somebody else is trying and will move the gate
		}
		look := g.clock.NewTimer(delay)
		select {
		case <-ctx.Done():
		case <-moved:
		case <-look.C():
		}
		look.Stop()
	}
}

// queue takes a ticket, behind all who wait.
func (g *gate) queue() (ticket int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tickets++
	g.waiting = append(g.waiting, g.tickets)
	return g.tickets
}

// leave gives a ticket back. Where it was the first, the next one may try.
func (g *gate) leave(ticket int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := g.waiting[0] == ticket
	i, _ := slices.BinarySearch(g.waiting, ticket)
	g.waiting = slices.Delete(g.waiting, i, i+1)
	if first && g.closed && !g.probing {
		g.move()
	}
}

// reconsider has those who wait look whether there is room to.
func (g *gate) reconsider() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		g.move()
	}
}

// pass says that the API server answered as it should.
func (g *gate) pass() {
	g.mu.Lock()
	was := g.closed
	g.closed, g.probing, g.backoff, g.refusedProbes = false, false, timer.Backoff(), 0
	if was {
		g.move()
	}
	g.mu.Unlock()
	if was {
		g.changed("", "")
	}
}

// refuse says that the API server takes no Jobs now, and why.
func (g *gate) refuse(reason, message string) {
	g.mu.Lock()
	now := g.clock.Now()
	// Those who entered before the gate closed come back together: they count as one.
	if !g.closed || g.probing {
		g.until = now.Add(g.backoff.Step())
	}
	if g.probing {
		g.refusedProbes++
	}
	g.closed, g.probing = true, false
	g.move()
	g.mu.Unlock()
	g.changed(reason, message)
}

// abandon says that nothing was tried after all. Where nobody is left to try, the gate opens, or it would stay closed
// for ever; the backoff goes on from where it was.
func (g *gate) abandon() {
	g.mu.Lock()
	g.probing = false
	opens := g.closed && len(g.waiting) == 0
	if opens {
		g.closed = false
	}
	g.move()
	g.mu.Unlock()
	if opens {
		g.changed("", "")
	}
}

func (g *gate) move() {
	close(g.moved)
	g.moved = make(chan struct{})
}
