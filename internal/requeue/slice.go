package requeue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
)

const (
	// sliceTime is after how long a slice ends, and sliceJobs how many Jobs are in it at most: what else is to be done for the binding
	// waits for it.
	sliceTime = 500 * time.Millisecond
	sliceJobs = 100
	// clockSkew is how far ahead of ours the clock of an operator before this one may be. Marks that are later than that are somebody
	// else's.
	clockSkew = time.Minute
)

// Seen is what was seen of a binding's Jobs.
type Seen interface {
	// View shows it to a function, which must be quick and keep nothing of it.
	View(at func(*job.History))
}

// Request is what a binding is asked for.
type Request struct {
	// Binding is the binding by now, with its status as it was written last.
	Binding *v1alpha1.QueueBinding
	Queue   queue.Queue
	Seen    Seen
	// Uncounted reports whether there may be Jobs whose messages were sent again by an operator that did not tell of it.
	Uncounted bool
}

// Slice does the next slice of a requeue and takes out of the annotation what is done. It returns what was done in it; the outcome of
// the whole adds up in the progress. If it returns an error, what is left stays asked for.
func (e *Executor) Slice(ctx context.Context, p *Progress, r Request) (Outcome, error) {
	last := r.Binding.Status.LastRequeue
	now := e.Clock.Now()
	s := &sliceRun{Executor: e, progress: p, Request: r, slice: Slice{At: markTime(now, last), Deadline: now.Add(sliceTime)}}
	s.intent, s.malformed = Parse(r.Binding.Annotations[v1alpha1.AnnotationRequeue])
	if ready, err := s.prepare(ctx, now); err != nil || !ready {
		return Outcome{}, err
	}
	return s.execute(ctx)
}

// sliceRun is one call of Executor.Slice.
type sliceRun struct {
	*Executor
	Request
	progress  *Progress
	slice     Slice
	intent    Intent
	malformed []string
	// noRoom are Jobs that `all` means, and that there are too many names beside to name.
	noRoom []string
}

// markTime returns the time to mark Jobs with: later than the last one that is in the status, so that a mark which is not counted
// there can be told from one that is.
func markTime(now time.Time, last *v1alpha1.RequeueResult) time.Time {
	at := now.Truncate(time.Second)
	if last != nil && !at.After(last.Time.Time) {
		at = last.Time.Add(time.Second)
	}
	return at
}

// countable returns the latest mark that is believed to be an operator's.
func countable(now time.Time, last *v1alpha1.RequeueResult) time.Time {
	if last != nil && last.Time.After(now) {
		now = last.Time.Time
	}
	return now.Add(clockSkew)
}

// AwaitsStatus reports whether a Job was marked after what the status of its binding counts, so that it must stay until it is counted.
func AwaitsStatus(record *job.Record, last *v1alpha1.RequeueResult, now time.Time) bool {
	return !record.SentAt.IsZero() && (last == nil || record.SentAt.After(last.Time.Time)) && !record.SentAt.After(countable(now, last))
}

// prepare surveys the Jobs where that is needed, and settles the time of `all`. It reports whether the slice can go on.
func (s *sliceRun) prepare(ctx context.Context, now time.Time) (ready bool, err error) {
	p, unsettled := s.progress, s.intent.All && s.intent.Before.IsZero()
	if p.survey != nil || unsettled && !p.fresh || !p.surveyed && (s.intent.All || s.Uncounted) {
		if ready, err := s.survey(ctx, now); err != nil || !ready {
			return false, err
		}
	}
	if unsettled {
		// Settled before anything is done: a Job that fails again while this goes on is not meant.
		s.Seen.View(func(jobs *job.History) { s.intent, s.noRoom = s.intent.settle(p.failed(jobs), now) })
		store := IntentStore{Reader: s.Reader, Writer: s.Client}
		if err := store.Replace(ctx, s.Binding.DeepCopy(), s.intent); apierrors.IsConflict(err) {
			return false, nil // somebody asked for more meanwhile
		} else if err != nil {
			return false, fmt.Errorf("settle the time of a requeue: %w", err)
		}
	}
	p.fresh = false
	s.slice.Before = s.intent.Before
	return true, nil
}

func (s *sliceRun) survey(ctx context.Context, now time.Time) (finished bool, err error) {
	p, last := s.progress, s.Binding.Status.LastRequeue
	if p.survey == nil {
		p.survey = &Survey{Until: countable(now, last)}
		if last != nil {
			p.survey.Since = last.Time.Time
		}
	}
	seen := func(name string) (record job.Record, ok bool) {
		s.Seen.View(func(jobs *job.History) { record, ok = jobs.Get(name) })
		return record, ok
	}
	finished, err = s.Survey(ctx, p.survey, s.Binding, seen, s.slice.Deadline)
	if finished {
		p.takeSurvey()
	}
	return finished, err
}

// failed are the failed Jobs that were seen, and those that a survey found.
func (p *Progress) failed(jobs *job.History) iter.Seq[*job.Record] {
	return func(yield func(*job.Record) bool) {
		for _, record := range jobs.Failed() {
			if !yield(record) {
				return
			}
		}
		for _, record := range p.late {
			if !yield(&record) {
				return
			}
		}
	}
}

func (s *sliceRun) execute(ctx context.Context) (Outcome, error) {
	p := s.progress
	names := s.names()
	outcome, err := s.Do(ctx, s.Binding, s.Queue, s.items(names), s.slice)
	outcome.Refused = append(outcome.Refused, s.unreadable()...)
	outcome.Refused = p.add(outcome, s.slice.At)

	done := Named()
	for _, name := range names {
		if _, ok := p.handled[name]; ok {
			done.Names[name] = struct{}{}
		}
	}
	if err == nil && s.intent.All && len(done.Names) == len(names) && s.nothingLeft() {
		var end Outcome
		if end, err = s.finishAll(ctx); err == nil {
			outcome.Redriven = end.Redriven
			outcome.Refused = append(outcome.Refused, p.add(end, s.slice.At)...)
			done.All, done.Before = true, s.intent.Before
		}
	}
	return outcome, errors.Join(err, s.remove(ctx, done))
}

// names are the names that the intent asks for and that are not done yet.
func (s *sliceRun) names() []string {
	if len(s.intent.Names) > MaxNames {
		return nil
	}
	for name := range s.intent.Names {
		if _, ok := s.progress.removing[name]; !ok {
			delete(s.progress.handled, name) // asked for anew
		}
	}
	return s.intent.SortedNames()
}

// items are the Jobs that are next: those that were asked for by name, then those of `all`.
func (s *sliceRun) items(names []string) []Item {
	p := s.progress
	var items []Item
	s.Seen.View(func(jobs *job.History) {
		taken := maps.Clone(p.handled)
		var named, unsure []*job.Record
		record := func(name string) *job.Record {
			known, _ := jobs.Get(name)
			known.Name = name
			return &known
		}
		for _, name := range names {
			if _, done := p.handled[name]; !done {
				named = append(named, record(name))
			}
			taken[name] = struct{}{}
		}
		for name := range p.unsure {
			if _, ok := taken[name]; !ok {
				unsure = append(unsure, record(name))
			}
			taken[name] = struct{}{}
		}
		items = inOrder(named, sliceJobs)
		for i := range items {
			items[i].Named = true
		}
		items = append(items, inOrder(unsure, len(unsure))...)
		if s.intent.All && len(items) < sliceJobs {
			items = append(items, candidates(p.failed(jobs), s.intent.Before, taken, sliceJobs-len(items))...)
		}
	})
	for i := range items {
		_, items[i].Unsure = p.unsure[items[i].Name]
	}
	return items
}

// nothingLeft reports whether `all` means no Job any more.
func (s *sliceRun) nothingLeft() bool {
	p, left := s.progress, 0
	s.Seen.View(func(jobs *job.History) { left = len(candidates(p.failed(jobs), s.intent.Before, p.handled, 1)) })
	return left+len(p.unsure) == 0
}

// finishAll does what is left of `all` when no Job is: the dead-letter queue, or to tell that there was nothing to be done.
func (s *sliceRun) finishAll(ctx context.Context) (Outcome, error) {
	redrive := s.Binding.Spec.Acknowledge == v1alpha1.AcknowledgeOnJobSucceeded || s.progress.onQueue
	sent, deleting := 0, 0
	s.Seen.View(func(jobs *job.History) {
		redrive = redrive || len(jobs.FailedOnQueue()) > 0 // their messages are on the queue, or in the dead-letter queue
		sent = len(jobs.Requeued())
		for _, record := range jobs.Failed() {
			if record.Deleting {
				deleting++
			} else if record.Sent {
				sent++
			}
		}
	})
	switch {
	case redrive:
		return s.Redrive(ctx, s.Queue)
	case s.progress.idle():
		return refusedAll(v1alpha1.RefusedNothingToRequeue, fmt.Sprintf("no failed Job is left to be requeued: the messages of %d were sent again before, "+
			"and %d are being deleted. A Job that is asked for by its name is sent once more", sent, deleting)), nil
	}
	return Outcome{}, nil
}

// unreadable refuses what cannot be asked for.
func (s *sliceRun) unreadable() []v1alpha1.RequeueRefusal {
	words := s.malformed
	if len(s.intent.Names) > MaxNames {
		words = append(slices.Clone(words), fmt.Sprintf("%d names", len(s.intent.Names)))
	}
	var refused []v1alpha1.RequeueRefusal
	for _, word := range words {
		refused = append(refused, v1alpha1.RequeueRefusal{
			JobName: events.Truncate(word), Reason: v1alpha1.RefusedInvalidRequest,
			Message: fmt.Sprintf("annotation %s takes `all` or a comma-separated list of at most %d Job names", v1alpha1.AnnotationRequeue, MaxNames),
		})
	}
	for _, name := range s.noRoom {
		refused = append(refused, limitReached(name))
	}
	return refused
}

// remove takes out of the annotation what is done, and ends the requeue if nothing is left. What is known to be done and still asked
// for is not done again.
func (s *sliceRun) remove(ctx context.Context, done Intent) error {
	p := s.progress
	p.uncertain = len(p.unsure) > 0
	if len(s.intent.Names) > MaxNames {
		done = done.Merge(Named(s.intent.SortedNames()...))
	}
	p.removing = done.Names
	_, asked := s.Binding.Annotations[v1alpha1.AnnotationRequeue]
	if !done.IsEmpty() || len(s.malformed) > 0 || asked && s.intent.IsEmpty() {
		store := IntentStore{Reader: s.Reader, Writer: s.Client}
		if err := store.Remove(ctx, s.Binding, done); err != nil {
			p.uncertain = true
			return fmt.Errorf("take a requeue out of the annotation: %w", err)
		}
		p.removing = nil
	}
	if s.intent.Without(done).IsEmpty() && len(p.unsure) == 0 {
		p.result.InProgress = false
	}
	return nil
}
