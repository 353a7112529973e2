package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/queuebinding/queuebinding/test/recorder"
)

// overlapGrace is how long a deposed leader's last requests may take.
const overlapGrace = 8 * time.Second

// overlap knows when two operators may have been at work at once.
type overlap struct {
	mu    sync.Mutex
	open  int
	until time.Time
}

// begin opens a window, which the result closes.
func (o *overlap) begin() func() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open++
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.open--
		o.until = time.Now().Add(overlapGrace)
	}
}

func (o *overlap) within(at time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open > 0 || at.Before(o.until)
}

// limitGrace is how long after the operator said that it works by a new limit a create under the old one may arrive.
const limitGrace = 10 * time.Second

// limits watches over the number of active Jobs.
type limits struct {
	overlap *overlap

	mu sync.Mutex
	// asked are the limits that users asked for, as the recorder may see a binding's change after the Jobs that came of it.
	asked map[types.UID][]asked
	// passed are violations, excused what was passed while two operators were at work.
	passed  []string
	excused int
	// farthest is how far over it that was.
	farthest int
	checked  int
}

// asked is a limit that a user was about to set.
type asked struct {
	limit int
	at    time.Time
}

// ask notes that a user is about to set a limit.
func (l *limits) ask(owner types.UID, limit *int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[owner] = append(l.asked[owner], asked{int(*limit), time.Now()})
}

func newLimits(recorded *recorder.Recorder, o *overlap) *limits {
	l := &limits{overlap: o, asked: map[types.UID][]asked{}}
	recorded.OnCreate(l.created)
	return l
}

// created takes in a new Job and how many are active with it.
func (l *limits) created(job recorder.Job, owner recorder.Binding, active int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checked++
	// The operator may work by any generation since the one that it has surely taken up.
	oldest := int64(0)
	for generation, since := range owner.Observed {
		if time.Since(since) >= limitGrace {
			oldest = max(oldest, generation)
		}
	}
	allowed := 0
	for generation, limit := range owner.Limits {
		if generation >= oldest {
			allowed = max(allowed, limit)
		}
	}
	for _, each := range l.asked[job.Owner] {
		if time.Since(each.at) < limitGrace {
			allowed = max(allowed, each.limit)
		}
	}
	switch {
	case active <= allowed:
	case l.overlap.within(time.Now()) && active <= 2*allowed:
		// Each of two operators keeps to the limit; the one that was deposed adds at most what it has in its hands.
		l.excused++
		l.farthest = max(l.farthest, active-allowed)
	default:
		l.passed = append(l.passed, fmt.Sprintf("LIMIT: with Job %s %d Jobs of %s were active, and %d may be", job.Name, active, owner.Name, allowed))
	}
}

// judge is what was not as promised.
func (s *soak) judge(ctx context.Context) []string {
	s.limits.mu.Lock()
	found := slices.Clone(s.limits.passed)
	s.limits.mu.Unlock()
	jobs := map[types.UID][]recorder.Job{}
	for _, job := range s.recorder.Jobs(namespace) {
		jobs[job.Owner] = append(jobs[job.Owner], job)
	}
	for _, b := range s.bindings {
		found = append(found, s.judgeBinding(ctx, b, jobs[b.UID])...)
	}
	return found
}

func (s *soak) judgeBinding(ctx context.Context, b *binding, jobs []recorder.Job) []string {
	var found []string
	wrong := func(format string, args ...any) {
		found = append(found, b.Name+": "+fmt.Sprintf(format, args...))
	}
	held, err := b.queue.Contents(ctx)
	if err != nil {
		wrong("%v", err)
	}
	onQueue := map[string]bool{}
	for _, message := range held {
		onQueue[message.ID] = true
	}

	byRoot := map[string]map[int][]recorder.Job{}
	for _, job := range jobs {
		body, ours := b.sent[job.Root]
		switch {
		case !ours || job.Attempt < 1:
			wrong("Job %s is of attempt %d at message %s, which was not sent", job.Name, job.Attempt, job.Root)
			continue
		case job.Body != body:
			wrong("Job %s has body %s, not %s", job.Name, job.Body, body)
		}
		if byRoot[job.Root] == nil {
			byRoot[job.Root] = map[int][]recorder.Job{}
		}
		byRoot[job.Root][job.Attempt] = append(byRoot[job.Root][job.Attempt], job)
	}
	for id := range b.bombs {
		if !onQueue[id] {
			wrong("LOST: message %s, which cannot be a Job, is not on the queue", id)
		}
	}
	found = append(found, b.outOfOrder(byRoot)...)
	for id := range b.sent {
		attempts := byRoot[id]
		if len(attempts) == 0 {
			if onQueue[id] {
				wrong("LATE: message %s is still on the queue", id)
			} else {
				wrong("LOST: message %s had no Job", id)
			}
			continue
		}
		newest := slices.Max(slices.Collect(maps.Keys(attempts)))
		for attempt := 1; attempt <= newest; attempt++ {
			same := attempts[attempt]
			if b.keeps {
				// One that a user deleted is made again, as its message was still on the queue.
				same = slices.DeleteFunc(slices.Clone(same), func(job recorder.Job) bool { return s.removed[job.UID] })
			}
			switch {
			case len(same) == 0 && len(attempts[attempt]) == 0:
				wrong("LOST: message %s had Jobs of attempt %d and none of attempt %d", id, newest, attempt)
			case len(same) > 1:
				wrong("DOUBLED: message %s had %d Jobs of attempt %d: %s, created %s apart; deleted by a user: %t", id, len(same), attempt,
					same[0].Name, same[1].Added.Sub(same[0].Added), s.removed[same[0].UID])
			}
			if b.keeps && attempt < newest && !slices.ContainsFunc(attempts[attempt], func(job recorder.Job) bool { return job.Failed || s.removed[job.UID] }) {
				wrong("DOUBLED: message %s had an attempt %d though attempt %d did not fail", id, attempt+1, attempt)
			}
		}
		if b.keeps && !slices.ContainsFunc(attempts[newest], func(job recorder.Job) bool { return job.Succeeded() }) {
			wrong("LOST: message %s is not on the queue, and the last of its %d attempts did not succeed", id, newest)
		}
		for _, last := range attempts[newest] {
			if last.Gone && !s.removed[last.UID] {
				wrong("LOST: Job %s of message %s went, finished %t and failed %t, and no user deleted it", last.Name, id, last.Finished, last.Failed)
			}
		}
	}
	return found
}

// outOfOrder is what is wrong with the order of a FIFO queue's groups: first attempts are created in the order of sending, and
// where messages stay on the queue until their Jobs have succeeded, each after the success of the one before.
func (b *binding) outOfOrder(byRoot map[string]map[int][]recorder.Job) []string {
	if b.groups == 0 {
		return nil
	}
	var found []string
	for group, ids := range b.order {
		before, after := "", int64(0)
		for _, id := range ids {
			first := int64(math.MaxInt64)
			for _, made := range byRoot[id][1] {
				first = min(first, made.Revision)
			}
			if first == math.MaxInt64 {
				continue // it is lost or late, and found so
			}
			if first < after {
				found = append(found, fmt.Sprintf("%s: ORDER: message %s of %s had a Job before it was the turn of it, after %s", b.Name, id, group, before))
			}
			before, after = id, first
			if !b.keeps {
				continue
			}
			for _, attempts := range byRoot[id] {
				for _, made := range attempts {
					if made.Succeeded() {
						after = max(after, made.FinishedBy)
					}
				}
			}
		}
	}
	return found
}

// print tells what was done and what came of it.
func (s *soak) print(w io.Writer, found []string) {
	messages, ordered, bombs, attempts := 0, 0, 0, 0
	for _, b := range s.bindings {
		messages += len(b.sent)
		bombs += len(b.bombs)
		if b.groups > 0 {
			ordered += len(b.sent)
		}
	}
	jobs := s.recorder.Jobs(namespace)
	for _, job := range jobs {
		if job.Attempt > 1 {
			attempts++
		}
	}
	fmt.Fprintf(w, "\nInjected with seed %d:\n", s.seed)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, what := range slices.Sorted(maps.Keys(s.injected)) {
		fmt.Fprintf(table, "  %s\t%d\n", what, s.injected[what])
	}
	table.Flush()
	fmt.Fprintln(w, "Outcome:")
	for _, row := range []struct {
		what string
		n    int
	}{
		{"messages sent", messages},
		{"of these of FIFO queues", ordered},
		{"messages that cannot be Jobs", bombs},
		{"Jobs created", len(jobs)},
		{"of these by a requeue", attempts},
		{"Jobs deleted by users", len(s.removed)},
		{"creates checked against the limit", s.limits.checked},
		{"over it while two operators were at work", s.limits.excused},
		{"by at most", s.limits.farthest},
		{"times the recorder may have missed something", s.recorder.Gaps()},
		{"violations", len(found)},
	} {
		fmt.Fprintf(table, "  %s\t%d\n", row.what, row.n)
	}
	table.Flush()
	for _, violation := range found {
		fmt.Fprintln(w, violation)
	}
	if len(found) > 0 {
		fmt.Fprintf(w, "Logs: %s\n", s.cluster.Work)
	}
}
