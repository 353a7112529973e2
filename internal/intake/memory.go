package intake

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/creator"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// What messages may take in memory, over all bindings, in bytes. docs/scaling.md has the sum.
const (
	// mostHeld bounds what is received, until it is a Job or given back: with the Job and the Secrets that it was rendered to.
	mostHeld = 96 << 20
	// mostEvaluated bounds what evaluations take: bodies as JSON, and what expressions make of them.
	mostEvaluated = 96 << 20
	// heavyEvaluation is where a binding evaluates one message at a time, so that each binding has one in the line for room.
	heavyEvaluation = 4 << 20

	// bytesPerJob and bytesPerContainer are what a rendered Job takes beside its message.
	bytesPerJob, bytesPerContainer = 16 << 10, 2 << 10
	// bytesPerVariable is what a variable takes in each container.
	bytesPerVariable = 80
	// patience is how long a receive waits for room before also the first of those that wait at a closed gate goes back, and what takes
	// little.
	patience = time.Minute
	// littleHeld is what a binding may hold while others wait for room.
	littleHeld = 1 << 20
	// copiesOfAnswer is how often the text of an answer of SQS is in memory while it is read, the garbage of that included.
	copiesOfAnswer = 6
)

// Memory bounds what messages take, over all bindings. Nothing is received that there is no room for: it stays with SQS, and in the
// kernel, until there is.
type Memory struct {
	held, evaluated         *semaphore.Weighted
	mostHeld, mostEvaluated int64

	mu sync.Mutex
	// waiting are the receives that wait for room, starved those that have waited for long.
	waiting, starved atomic.Int32
	// creators are asked to give back what they can do without while there are any.
	creators map[*creator.Creator]struct{}
}

// NewMemory makes a Memory that nothing is in.
func NewMemory() *Memory { return newMemory(mostHeld, mostEvaluated) }

func newMemory(mostHeld, mostEvaluated int64) *Memory {
	return &Memory{
		held: semaphore.NewWeighted(mostHeld), evaluated: semaphore.NewWeighted(mostEvaluated),
		mostHeld: mostHeld, mostEvaluated: mostEvaluated, creators: map[*creator.Creator]struct{}{},
	}
}

// mostHeldByOne is where a binding receives no more: others need room too.
func (m *Memory) mostHeldByOne() int64 { return m.mostHeld / 4 }

// mostOfAnswer is what is taken for the largest answer: with more, one binding that keeps something would be in its way for ever.
func (m *Memory) mostOfAnswer() int64 { return m.mostHeld / 4 * 3 }

func (m *Memory) join(c *creator.Creator) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.creators[c] = struct{}{}
}

func (m *Memory) leave(c *creator.Creator) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.creators, c)
}

// isShort reports whether a receive waits for room, isStarved whether one has waited for long.
func (m *Memory) isShort() bool   { return m.waiting.Load() > 0 }
func (m *Memory) isStarved() bool { return m.starved.Load() > 0 }

// hold waits for room for what is received. What waits behind a closed gate makes room for it: at first all but the first in line of
// each binding, and after a while that one too, or bindings that can make no Jobs would keep all others from receiving.
func (m *Memory) hold(ctx context.Context, bytes int64) error {
	if m.held.TryAcquire(bytes) {
		return nil
	}
	m.waiting.Add(1)
	defer m.waiting.Add(-1)
	late := time.AfterFunc(patience, func() {
		m.starved.Add(1)
		m.reconsider()
	})
	defer func() {
		if !late.Stop() {
			m.starved.Add(-1)
		}
	}()
	m.reconsider()
	return m.held.Acquire(ctx, bytes)
}

// reconsider has what waits at closed gates look whether it is to make room.
func (m *Memory) reconsider() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.creators {
		c.Reconsider()
	}
}

// evaluate waits for room for an evaluation; release gives it back.
func (m *Memory) evaluate(ctx context.Context, bytes int64) (release func(), err error) {
	bytes = min(bytes, m.mostEvaluated) // what takes more than there is goes alone
	if bytes == 0 {
		return func() {}, nil
	}
	if !m.evaluated.TryAcquire(bytes) {
		if err := m.evaluated.Acquire(ctx, bytes); err != nil {
			return nil, err
		}
	}
	return func() { m.evaluated.Release(bytes) }, nil
}

// holding is what one binding holds.
type holding struct {
	memory *Memory
	bytes  atomic.Int64
	// largest is the most that a message of the last batch took.
	largest atomic.Int64
	// freed is called where the binding may receive again.
	freed func()
}

// room is how many messages there is room for by the binding's share, at most want, if they are as large as those before.
func (h *holding) room(want int) int {
	left := h.memory.mostHeldByOne() - h.bytes.Load()
	if left <= 0 {
		return 0
	}
	if largest := h.largest.Load(); largest > 0 {
		want = min(want, max(1, int(left/largest)))
	}
	return want
}

// batch is what a receive holds, and its messages until each is done with.
type batch struct {
	holding *holding
	// limit is the most messages that are received, perMessage what one takes beside its size, and copies how often that is in memory.
	limit, perMessage, copies int64
	// answer is what was taken for an answer that is being read.
	answer int64
}

// newBatch is for a receive of up to limit messages by the settings of a binding.
func (h *holding) newBatch(settings *Settings, limit int) *batch {
	spec := &settings.Binding.Spec
	pod := &spec.JobTemplate.Spec.Template.Spec
	containers := int64(len(pod.Containers) + len(pod.InitContainers))
	b := &batch{
		holding:    h,
		limit:      int64(limit),
		perMessage: bytesPerJob + containers*(bytesPerContainer+bytesPerVariable*int64(len(spec.Message.Variables))),
		copies:     1,
	}
	if spec.Message.Delivery == v1alpha1.DeliverFile {
		b.copies = 2 // as a message, and in a Secret
	}
	return b
}

// admit waits for room for an answer. It is a queue.Admit.
func (b *batch) admit(ctx context.Context, bytes int64) error {
	b.give(b.answer)
	b.answer = 0
	wanted := min(copiesOfAnswer*bytes+b.limit*b.perMessage, b.holding.memory.mostOfAnswer())
	if err := b.holding.memory.hold(ctx, wanted); err != nil {
		return err
	}
	b.holding.bytes.Add(wanted)
	b.answer = wanted
	return nil
}

// received gives back what the messages that were received do not take.
func (b *batch) received(messages []queue.Message) {
	kept, largest := int64(0), int64(0)
	for i := range messages {
		bytes := b.bytesOf(&messages[i])
		kept, largest = kept+bytes, max(largest, bytes)
	}
	if kept > b.answer { // such as of an answer that did not tell its length
		b.perMessage, b.copies = b.answer/int64(len(messages)), 0
		kept = b.perMessage * int64(len(messages))
	}
	b.give(b.answer - kept)
	if len(messages) > 0 {
		b.holding.largest.Store(largest)
	}
}

// done lets go of a message.
func (b *batch) done(message *queue.Message) {
	bytes := b.bytesOf(message)
	*message = queue.Message{}
	b.give(bytes)
}

// bytesOf is what a message takes until it is done with.
func (b *batch) bytesOf(message *queue.Message) int64 {
	return b.perMessage + b.copies*int64(message.Size())
}

func (b *batch) give(bytes int64) {
	if bytes == 0 {
		return
	}
	b.holding.memory.held.Release(bytes)
	share := b.holding.memory.mostHeldByOne()
	if left := b.holding.bytes.Add(-bytes); left < share && left+bytes >= share {
		b.holding.freed()
	}
}
