package job

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"
)

// History is a binding's Jobs, sorted by what has become of them. It is kept up Job by Job, so that with ten thousand of them
// neither a change nor a look at it goes through all. It is not safe for concurrent use.
type History struct {
	jobs   map[string]*entry
	byRoot map[string][]*entry // the attempts at a message

	storedBytes                      int64
	active, pending                  int
	succeeded, failed, failedOnQueue ordered
	requeued, superseded             ordered
	lastCreated, lastSent            time.Time
}

// entry is a Job and the list that it is in; nil where it is active.
type entry struct {
	Record
	list *ordered
}

// NewHistory makes an empty one.
func NewHistory() *History {
	return &History{jobs: map[string]*entry{}, byRoot: map[string][]*entry{}}
}

// Put takes in what a Job is now. That its message is acknowledged is kept.
func (h *History) Put(record Record) {
	if known, ok := h.jobs[record.Name]; ok {
		record.Acknowledged = known.Acknowledged && known.UID == record.UID
		h.Drop(record.Name)
	}
	added := &entry{Record: record}
	h.jobs[record.Name] = added
	if record.Created.After(h.lastCreated) {
		h.lastCreated = record.Created
	}
	if record.SentAt.After(h.lastSent) {
		h.lastSent = record.SentAt
	}
	h.file(added, h.listFor(added))
	if root := record.Lineage.Root; root != "" {
		h.byRoot[root] = append(h.byRoot[root], added)
		h.refile(root)
	}
}

// Drop takes out a Job that is gone.
func (h *History) Drop(name string) {
	gone, ok := h.jobs[name]
	if !ok {
		return
	}
	delete(h.jobs, name)
	h.unfile(gone)
	root := gone.Lineage.Root
	if root == "" {
		return
	}
	if len(h.byRoot[root]) == 1 {
		delete(h.byRoot, root)
		return
	}
	h.byRoot[root] = slices.DeleteFunc(h.byRoot[root], func(e *entry) bool { return e == gone })
	h.refile(root)
}

// Acknowledge says of a Job that its message is surely gone from the queue.
func (h *History) Acknowledge(name string) {
	if known, ok := h.jobs[name]; ok {
		known.Acknowledged = true
	}
}

// Get is what a Job was last.
func (h *History) Get(name string) (Record, bool) {
	known, ok := h.jobs[name]
	if !ok {
		return Record{}, false
	}
	return known.Record, true
}

// Len is the number of Jobs.
func (h *History) Len() int { return len(h.jobs) }

// All are all Jobs, in no order.
func (h *History) All() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for _, e := range h.jobs {
			if !yield(e.Record) {
				return
			}
		}
	}
}

// Attempts are the Jobs of a message, in no order.
func (h *History) Attempts(root string) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for _, e := range h.byRoot[root] {
			if !yield(e.Record) {
				return
			}
		}
	}
}

// Active is the number of active Jobs.
func (h *History) Active() int { return h.active }

// StoredBytes is how many bytes of the API server's storage the Jobs take, without those that go once their successors exist: a
// requeue makes room.
func (h *History) StoredBytes() int64 { return h.storedBytes }

// Pending is the number of those that are pending.
func (h *History) Pending() int { return h.pending }

// Succeeded are the Jobs that have, the oldest first. These lists belong to the History, and are good until its next change.
func (h *History) Succeeded() []*Record { return h.succeeded }

// Failed are those that have, without those that were requeued or superseded.
func (h *History) Failed() []*Record { return h.failed }

// FailedOnQueue are those of the failed ones whose messages stayed on the queue.
func (h *History) FailedOnQueue() []*Record { return h.failedOnQueue }

// Requeued are failed ones whose message was sent again and whose next attempt is not there yet.
func (h *History) Requeued() []*Record { return h.requeued }

// Superseded are failed ones whose next attempt exists. Those that kept their messages on the queue stay, as the record of
// an attempt.
func (h *History) Superseded() []*Record { return h.superseded }

// LastCreated is when the newest Job that ever was in here was created.
func (h *History) LastCreated() time.Time { return h.lastCreated }

// LastSent is the latest time at which the message of a Job that ever was in here was sent again.
func (h *History) LastSent() time.Time { return h.lastSent }

// listFor is where a Job belongs.
func (h *History) listFor(e *entry) *ordered {
	switch {
	case e.State == Active:
		return nil
	case e.State == Succeeded:
		return &h.succeeded
	case e.Requeued && !e.MessageOnQueue() && h.isFollowed(e):
		// A successor alone is not enough: a failure that nobody asked to have tried again is not forgotten.
		return &h.superseded
	case e.Requeued:
		return &h.requeued
	}
	return &h.failed
}

func (h *History) isFollowed(e *entry) bool {
	return e.Lineage.Root != "" && slices.ContainsFunc(h.byRoot[e.Lineage.Root], func(other *entry) bool {
		return other.Lineage.Attempt > e.Lineage.Attempt
	})
}

// refile puts a message's Jobs where they belong since one of them came or went.
func (h *History) refile(root string) {
	for _, e := range h.byRoot[root] {
		if list := h.listFor(e); list != e.list {
			h.unfile(e)
			h.file(e, list)
		}
	}
}

func (h *History) file(e *entry, list *ordered) {
	e.list = list
	if list == nil {
		h.count(e, 1)
		return
	}
	list.add(&e.Record)
	if !h.goesSoon(list) {
		h.storedBytes += e.StoredBytes
	}
	if list == &h.failed && e.MessageOnQueue() {
		h.failedOnQueue.add(&e.Record)
	}
}

func (h *History) unfile(e *entry) {
	if e.list == nil {
		h.count(e, -1)
		return
	}
	e.list.remove(&e.Record)
	if !h.goesSoon(e.list) {
		h.storedBytes -= e.StoredBytes
	}
	if e.list == &h.failed && e.MessageOnQueue() {
		h.failedOnQueue.remove(&e.Record)
	}
}

// goesSoon reports whether the Jobs of a list go once their successors exist.
func (h *History) goesSoon(list *ordered) bool { return list == &h.requeued || list == &h.superseded }

func (h *History) count(e *entry, by int) {
	h.active += by
	h.storedBytes += int64(by) * e.StoredBytes
	if e.Pending {
		h.pending += by
	}
}

// ordered are Jobs by when they finished, the oldest first. New ones mostly come to the end, and old ones go from the front.
type ordered []*Record

func oldestFirst(a, b *Record) int {
	return cmp.Or(a.Finished.Compare(b.Finished), a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name))
}

func (o *ordered) add(r *Record) {
	i, _ := slices.BinarySearchFunc(*o, r, oldestFirst)
	*o = slices.Insert(*o, i, r)
}

func (o *ordered) remove(r *Record) {
	if i, ok := slices.BinarySearchFunc(*o, r, oldestFirst); ok {
		*o = slices.Delete(*o, i, i+1)
	}
}
