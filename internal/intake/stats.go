package intake

import (
	"context"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/timer"
)

// busyInterval and idleInterval are how often a queue is asked for its statistics: each answer costs a request.
const (
	busyInterval = 10 * time.Second
	idleInterval = time.Minute
)

// statsPoller asks a queue for its statistics, soon while some messages wait, else seldom.
type statsPoller struct {
	ctx    context.Context
	clock  clock.Clock
	queue  queue.Queue
	report *reporter
	oldest *oldest
	timer  *timer.Timer
	// polled is when the queue was last asked, in Unix nanoseconds.
	polled atomic.Int64
	// receives reports whether receives are being tried.
	receives atomic.Bool
}

func newStatsPoller(ctx context.Context, c clock.WithDelayedExecution, q queue.Queue, report *reporter, oldest *oldest) *statsPoller {
	p := &statsPoller{ctx: ctx, clock: c, queue: q, report: report, oldest: oldest}
	p.timer = timer.New(c, p.poll)
	return p
}

func (p *statsPoller) start() { p.timer.FireBy(p.clock.Now()) }

func (p *statsPoller) stop() { p.timer.Stop() }

// pollSoon has the queue asked soon, as messages came.
func (p *statsPoller) pollSoon() { p.timer.FireBy(time.Unix(0, p.polled.Load()).Add(busyInterval)) }

// receiving says whether receives are being tried.
func (p *statsPoller) receiving(now bool) { p.receives.Store(now) }

// poll asks the queue, and returns when to ask again.
func (p *statsPoller) poll() time.Time {
	if p.ctx.Err() != nil {
		return time.Time{}
	}
	p.polled.Store(p.clock.Now().UnixNano())
	stats, err := p.queue.Stats(p.ctx)
	if p.ctx.Err() != nil {
		return time.Time{}
	}
	p.report.polled(stats, err, p.receives.Load())
	if err == nil {
		p.oldest.polled(stats, p.clock.Now())
	}
	interval := idleInterval
	if err == nil && (stats.VisibleMessages > 0 || stats.InFlightMessages > 0) {
		interval = busyInterval
	}
	return p.clock.Now().Add(wait.Jitter(interval, 0.1))
}
