package requeue

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/queuebinding/queuebinding/internal/job"
)

// Item is a Job that is to be requeued.
type Item struct {
	Name string
	// Named reports whether it was asked for by its name: it is sent again even if it was before, and refused if it cannot be. Else
	// it is one of `all`, and left alone unless `all` means it.
	Named bool
	// Unsure reports whether its message was sent and the answer to its mark was lost.
	Unsure bool
	// Bytes is about what the Job takes of the API server's storage, or 0 where that is not known.
	Bytes int64
}

// meant reports whether `all` of a time means a Job: what had failed by then, and whose message is not on its way already.
func meant(record *job.Record, before time.Time) bool {
	return couldBeMeant(record) && !record.Finished.After(before) && !mayBeSuccessor(record, before)
}

// couldBeMeant reports whether `all` of some time means a Job.
func couldBeMeant(record *job.Record) bool {
	return record.State == job.Failed && !record.Sent && !record.Deleting && !record.MessageOnQueue()
}

// mayBeSuccessor reports whether a Job that failed by a time may be the successor of one that was requeued because of it. Times
// have whole seconds: a successor can come and fail within the last one, and an intent that took it in would chase its own work.
// Those that were there when the time was settled are in the intent by their names (Intent.settle).
func mayBeSuccessor(record *job.Record, before time.Time) bool {
	return record.Lineage.Attempt > 1 && !record.Created.Before(before)
}

// settle returns an intent that asks for all with the time at which the newest of the failed Jobs failed, by the clock that told it:
// ours may differ. Jobs that only their names can tell from its own successors are added by name, those in tooMany had no room.
func (i Intent) settle(failed iter.Seq[*job.Record], now time.Time) (settled Intent, tooMany []string) {
	var newest time.Time
	for record := range failed {
		if record.Finished.After(newest) {
			newest = record.Finished
		}
	}
	if newest.IsZero() {
		newest = now
	}
	var ambiguous []string
	for record := range failed {
		if couldBeMeant(record) && mayBeSuccessor(record, newest) {
			ambiguous = append(ambiguous, record.Name)
		}
	}
	slices.Sort(ambiguous)
	fits, tooMany := i.fit(slices.Compact(ambiguous))
	settled = i.Merge(Named(fits...))
	settled.All, settled.Before = true, newest
	return settled, tooMany
}

// candidates returns up to limit of the failed Jobs that `all` of a time means, without those to be skipped. They are in the order in
// which they were created, as their messages came.
func candidates(failed iter.Seq[*job.Record], before time.Time, skip map[string]struct{}, limit int) []Item {
	found := map[string]*job.Record{}
	for record := range failed {
		if _, done := skip[record.Name]; !done && meant(record, before) {
			found[record.Name] = record
		}
	}
	return inOrder(slices.Collect(maps.Values(found)), limit)
}

// inOrder returns the first ones of some Jobs in the order in which they were created.
func inOrder(records []*job.Record, limit int) []Item {
	slices.SortFunc(records, func(a, b *job.Record) int {
		return cmp.Or(a.Created.Compare(b.Created), a.Finished.Compare(b.Finished), strings.Compare(a.Name, b.Name))
	})
	var items []Item
	for _, record := range records[:min(len(records), limit)] {
		items = append(items, Item{Name: record.Name, Bytes: record.StoredBytes})
	}
	return items
}
