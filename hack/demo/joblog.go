package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// outcome is how a Job stands.
type outcome string

const (
	unfinished outcome = "unfinished"
	complete   outcome = "complete"
	failed     outcome = "failed"
)

// jobRecord is what was last seen of a Job. It stays when the Job goes.
type jobRecord struct {
	name      string
	messageID string
	attempt   string
	body      string
	outcome   outcome
	gone      bool
}

// jobLog records the Jobs of a namespace from the API server's own watch. The watch tells every change in the order in
// which it was stored, so that the largest number of unfinished Jobs is counted, not sampled, and without asking the
// operator.
type jobLog struct {
	mu   sync.Mutex
	jobs map[types.UID]*jobRecord
	peak int
	err  error
}

func newJobLog() *jobLog { return &jobLog{jobs: map[types.UID]*jobRecord{}} }

// watchJobs starts a log of a namespace that holds no Jobs yet. It ends with ctx.
func watchJobs(ctx context.Context, client kubernetes.Interface, namespace string) (*jobLog, error) {
	jobs := client.BatchV1().Jobs(namespace)
	list, err := jobs.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing Jobs: %w", err)
	}
	if len(list.Items) > 0 {
		return nil, fmt.Errorf("namespace %s holds Jobs already", namespace)
	}
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, list.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return jobs.Watch(ctx, options)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("watching Jobs: %w", err)
	}
	log := newJobLog()
	go func() {
		defer watcher.Stop()
		for event := range watcher.ResultChan() {
			log.observe(event)
		}
		log.stop(errors.New("the watch of Jobs ended"))
	}()
	return log, nil
}

func (l *jobLog) observe(event watch.Event) {
	switch event.Type {
	case watch.Added, watch.Modified, watch.Deleted:
	case watch.Error:
		l.stop(fmt.Errorf("the watch of Jobs failed: %w", apierrors.FromObject(event.Object)))
		return
	default:
		return
	}
	job, ok := event.Object.(*batchv1.Job)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs[job.UID] = &jobRecord{
		name:      job.Name,
		messageID: job.Annotations["queuebinding.dev/message-id"],
		attempt:   job.Annotations["queuebinding.dev/attempt"],
		body:      job.Spec.Template.Annotations["queuebinding.dev/body"],
		outcome:   outcomeOf(job),
		gone:      event.Type == watch.Deleted,
	}
	l.peak = max(l.peak, l.count(isUnfinished))
}

// stop keeps the first reason for which the log is no longer complete.
func (l *jobLog) stop(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

func outcomeOf(job *batchv1.Job) outcome {
	for _, condition := range job.Status.Conditions {
		if condition.Status != corev1.ConditionTrue {
			continue
		}
		switch condition.Type {
		case batchv1.JobComplete:
			return complete
		case batchv1.JobFailed:
			return failed
		}
	}
	return unfinished
}

func isUnfinished(j *jobRecord) bool { return j.outcome == unfinished && !j.gone }

// tally is the log at one moment.
type tally struct {
	jobs []jobRecord
	// peak is the largest number of Jobs that were unfinished at once since the last restart.
	peak int
}

func (t tally) count(match func(*jobRecord) bool) int {
	count := 0
	for i := range t.jobs {
		if match(&t.jobs[i]) {
			count++
		}
	}
	return count
}

// of returns the records of one message's Jobs.
func (t tally) of(messageID string) []jobRecord {
	var found []jobRecord
	for _, job := range t.jobs {
		if job.messageID == messageID {
			found = append(found, job)
		}
	}
	return found
}

// repeated names what had more than one Job though it is to have exactly one: an attempt at a message.
func (t tally) repeated() []string {
	type key struct{ messageID, attempt string }
	seen := map[key]int{}
	var found []string
	for _, job := range t.jobs {
		k := key{job.messageID, job.attempt}
		if seen[k]++; seen[k] == 2 {
			found = append(found, fmt.Sprintf("attempt %s at message %s", job.attempt, job.messageID))
		}
	}
	return found
}

// read returns the log as it stands, or why it cannot be trusted.
func (l *jobLog) read() (tally, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := tally{peak: l.peak}
	for _, job := range l.jobs {
		t.jobs = append(t.jobs, *job)
	}
	return t, l.err
}

// restartPeak begins a new count of the largest number.
func (l *jobLog) restartPeak() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peak = l.count(isUnfinished)
}

// count needs the lock.
func (l *jobLog) count(match func(*jobRecord) bool) int {
	count := 0
	for _, job := range l.jobs {
		if match(job) {
			count++
		}
	}
	return count
}
