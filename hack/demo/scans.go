package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/queuebinding/queuebinding/test/recorder"
)

// The second binding of the demo keeps its messages on the queue until their Jobs have succeeded.
const (
	scansNamespace = "demo-scans"
	scansQueue     = "demo-scans"
	scansDeadQueue = "demo-scans-dead"

	applyScans   = `sed "s|SCANS_URL|$SCANS_URL|" hack/demo/scans.yaml | kubectl apply -n demo-scans -f -`
	sendScan     = `sqs send-message --queue-url "$SCANS_URL" --message-body '%s'`
	scanAttempts = `kubectl get jobs -n demo-scans -o custom-columns='JOB:.metadata.name,ATTEMPT:.metadata.annotations.queuebinding\.dev/attempt,LAST CONDITION:.status.conditions[-1:].type,MESSAGE:.spec.template.metadata.annotations.queuebinding\.dev/body'`
)

// scans is what the two steps about the second binding leave for each other.
type scans struct {
	jobs         *jobLog
	good, poison string
}

// keepMessages begins early what takes its time: a message whose Job fails waits for 30 seconds, and then for 60.
func (w *walk) keepMessages(ctx context.Context) error {
	if err := w.createPair(ctx, scansQueue, scansDeadQueue, 2, "SCANS_URL", "SCANS_DEAD_URL"); err != nil {
		return err
	}
	if err := w.runAll(ctx, "kubectl create namespace "+scansNamespace); err != nil {
		return err
	}
	w.scans.jobs = newJobLog(w.recorder, scansNamespace)
	if err := w.runAll(ctx, "cat hack/demo/scans.yaml", applyScans); err != nil {
		return err
	}
	w.page.say("\nOne message that succeeds, one that never will.\n")
	var err error
	if w.scans.good, err = w.sendBy(ctx, sendScan, `{"target": "127.0.0.1", "duration": "4"}`); err != nil {
		return err
	}
	if w.scans.poison, err = w.sendBy(ctx, sendScan, `{"target": "poison.invalid", "duration": "1"}`); err != nil {
		return err
	}
	w.page.say("")
	if err := w.awaitScans(ctx, "each has a Job", 30*time.Second, func(t tally) (bool, string) {
		return len(t.of(w.scans.good)) == 1 && len(t.of(w.scans.poison)) == 1, fmt.Sprintf("%d Jobs", len(t.jobs))
	}); err != nil {
		return err
	}
	if err := w.awaitQueue(ctx, "and is still on the queue, hidden", "SCANS_URL", "2"); err != nil {
		return err
	}
	if err := w.awaitScans(ctx, "the good one completes, the poison fails", 30*time.Second, func(t tally) (bool, string) {
		completed, failures := t.of(w.scans.good).count(recorder.Job.Succeeded), t.of(w.scans.poison).count(isFailed)
		return completed == 1 && failures == 1, fmt.Sprintf("%d complete, %d failed", completed, failures)
	}); err != nil {
		return err
	}
	if err := w.awaitQueue(ctx, "the good one is deleted, the poison waits for its next attempt", "SCANS_URL", "1"); err != nil {
		return err
	}
	w.page.say("\nThat takes 30 seconds, and twice as long after each further one. Meanwhile, back to the other binding.")
	return nil
}

// buryPoison sees the poison message end in the dead-letter queue, and brings it back.
func (w *walk) buryPoison(ctx context.Context) error {
	w.page.say("Its queue allows two receives. 30 seconds after the first failure, 60 after the second, SQS moves the message.\n")
	if err := w.until(ctx, "after its two attempts it is in the dead-letter queue", 3*time.Minute, func() (bool, string, error) {
		visible, _, err := w.counts(ctx, "SCANS_DEAD_URL")
		return visible == "1", visible + " there", err
	}); err != nil {
		return err
	}
	t, err := w.scans.jobs.read()
	if err != nil {
		return err
	}
	w.score.record(t.of(w.scans.poison).count(isFailed) == 2 && len(t.of(w.scans.poison)) == 2, "each attempt had one Job, which stays as its record", "")
	if err := w.runAll(ctx, scanAttempts); err != nil {
		return err
	}
	w.page.say("")
	if err := w.until(ctx, "the binding counts it", 90*time.Second, func() (bool, string, error) {
		got, err := w.shell.ask(ctx, "kubectl get queuebinding scans -n demo-scans -o jsonpath='{.status.queue.deadLetterMessages}'")
		return got == "1", "", err
	}); err != nil {
		return err
	}
	if err := w.runAll(ctx, "kubectl get queuebinding scans -n demo-scans -o jsonpath='{.status.queue}' && echo"); err != nil {
		return err
	}
	w.page.say("\nA requeue of all has SQS move it back. It comes as a new message.\n")
	if err := w.runAll(ctx, "kubectl queuebinding requeue scans -n demo-scans --all"); err != nil {
		return err
	}
	w.page.say("")
	if err := w.awaitScans(ctx, "it has a new Job", 30*time.Second, func(t tally) (bool, string) {
		n := t.count(func(job recorder.Job) bool { return strings.Contains(job.Body, "poison") })
		return n == 3, fmt.Sprintf("%d Jobs of it in all", n)
	}); err != nil {
		return err
	}
	if err := w.awaitQueue(ctx, "the dead-letter queue is empty", "SCANS_DEAD_URL", "0"); err != nil {
		return err
	}
	t, err = w.scans.jobs.read()
	if err != nil {
		return err
	}
	w.score.record(len(t.repeated()) == 0, "no attempt had two Jobs", strings.Join(t.repeated(), ", "))
	return w.runAll(ctx, scanAttempts)
}

func (w *walk) awaitScans(ctx context.Context, name string, timeout time.Duration, condition func(tally) (bool, string)) error {
	return w.awaitJobs(ctx, w.scans.jobs, name, timeout, condition)
}
