package main

import (
	"errors"
	"fmt"
	"sync"

	"github.com/queuebinding/queuebinding/test/recorder"
)

// jobLog is what a recorder has seen of the Jobs of one binding, the only one of its namespace, and the largest number of
// them that was active at once.
type jobLog struct {
	recorder  *recorder.Recorder
	namespace string

	mu   sync.Mutex
	peak int
}

func newJobLog(recorded *recorder.Recorder, namespace string) *jobLog {
	l := &jobLog{recorder: recorded, namespace: namespace}
	recorded.OnCreate(func(created recorder.Job, _ recorder.Binding, active int) {
		if created.Namespace == namespace {
			l.raisePeak(active)
		}
	})
	return l
}

func (l *jobLog) raisePeak(active int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peak = max(l.peak, active)
}

// restartPeak begins a new count of the largest number.
func (l *jobLog) restartPeak() {
	l.mu.Lock()
	l.peak = 0
	l.mu.Unlock()
	// Not under the lock, which OnCreate takes under the recorder's own.
	l.raisePeak(jobs(l.recorder.Jobs(l.namespace)).count(recorder.Job.Active))
}

// read returns the log as it stands, or why it cannot be trusted.
func (l *jobLog) read() (tally, error) {
	t := tally{jobs: l.recorder.Jobs(l.namespace)}
	gaps := l.recorder.Gaps()
	l.mu.Lock()
	defer l.mu.Unlock()
	t.peak = l.peak
	if gaps > 0 {
		return t, errors.New("the watch of Jobs broke off, some may not have been seen")
	}
	return t, nil
}

// tally is the log at one moment.
type tally struct {
	jobs
	// peak is the largest number of Jobs that were active at once since the last restart.
	peak int
}

type jobs []recorder.Job

func (j jobs) count(match func(recorder.Job) bool) int {
	count := 0
	for _, job := range j {
		if match(job) {
			count++
		}
	}
	return count
}

func isFailed(job recorder.Job) bool { return job.Failed }

// of returns one message's Jobs.
func (j jobs) of(messageID string) jobs {
	var found jobs
	for _, job := range j {
		if job.Root == messageID {
			found = append(found, job)
		}
	}
	return found
}

// repeated names what had more than one Job though it is to have exactly one: an attempt at a message.
func (j jobs) repeated() []string {
	type key struct {
		messageID string
		attempt   int
	}
	seen := map[key]int{}
	var found []string
	for _, job := range j {
		k := key{job.Root, job.Attempt}
		if seen[k]++; seen[k] == 2 {
			found = append(found, fmt.Sprintf("attempt %d at message %s", job.Attempt, job.Root))
		}
	}
	return found
}
