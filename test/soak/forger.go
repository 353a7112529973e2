package main

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/crash"
	"github.com/queuebinding/queuebinding/test/rig"
)

// forgeries is the number that the first of the forger's messages has, beyond those of all others.
const forgeries = 1_000_000

// forge sends messages with lineages of other messages: such as the forger makes up, and such as it finds on the queue, on messages
// that were requeued, with a body of its own. Each is a message of its own.
func (s *soak) forge(ctx context.Context, random *rand.Rand) {
	found := map[*binding]map[string]bool{}
	for number := forgeries; ctx.Err() == nil; pause(ctx, 500*time.Millisecond) {
		b := s.any(random)
		held, err := b.queue.Contents(ctx)
		if err != nil {
			continue // the time is over
		}
		if found[b] == nil {
			found[b] = map[string]bool{}
		}
		for _, message := range held {
			if message.Lineage != "" && !s.forged[message.Lineage] {
				found[b][message.Lineage] = true
			}
		}
		number++
		body := rig.Body(number, "127.0.0.1", 0.1)
		signed := slices.Sorted(maps.Keys(found[b]))
		lineage, what := "", "messages with a forged lineage"
		switch roots := b.roots(); {
		case len(signed) > 0 && random.IntN(2) == 0:
			lineage, what = signed[random.IntN(len(signed))], "messages with another's lineage"
		case len(roots) > 0:
			all := crash.ForgedLineages(roots[random.IntN(len(roots))], body)
			lineage = all[random.IntN(len(all))]
			s.forged[lineage] = true
		default:
			continue
		}
		if s.send(ctx, b, random, body, map[string]string{v1alpha1.AttributeLineage: lineage}) != "" {
			s.count(what)
		}
	}
}

// roots are the IDs of the messages that were sent.
func (b *binding) roots() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.sent))
}
