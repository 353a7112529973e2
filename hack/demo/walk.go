package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/queuebinding/queuebinding/test/process"
	"github.com/queuebinding/queuebinding/test/recorder"
)

const (
	namespace  = "demo"
	queue      = "demo-pings"
	deadQueue  = "demo-pings-dead"
	managerLog = "bin/demo-manager.log"
	serverLog  = "bin/demo-apiserver.log"

	applyBinding = `sed "s|QUEUE_URL|$QUEUE_URL|" hack/demo/pings.yaml | kubectl apply -n demo -f -`
	sendMessage  = `sqs send-message --queue-url "$QUEUE_URL" --message-body '%s'`
	queueCounts  = `sqs get-queue-attributes --queue-url "$QUEUE_URL" --attribute-names ApproximateNumberOfMessages ApproximateNumberOfMessagesNotVisible`
	awaitAPI     = "kubectl wait --for=condition=Available apiservice/v1alpha1.subresources.queuebinding.dev --timeout=60s"
	requeuePath  = "/apis/subresources.queuebinding.dev/v1alpha1/namespaces/demo/queuebindings/pings/requeue"
	failedJobs   = `.items[?(@.status.conditions[-1:].type=="Failed")]`
	listAttempts = `kubectl get jobs -n demo -o custom-columns='JOB:.metadata.name,ATTEMPT:.metadata.annotations.queuebinding\.dev/attempt,LAST CONDITION:.status.conditions[-1:].type,MESSAGE:.spec.template.metadata.annotations.queuebinding\.dev/body'`
)

// walk is what the demo shows, step by step, and what the steps leave for each other.
type walk struct {
	page        *page
	shell       *shell
	score       *scorecard
	environment *environment
	recorder    *recorder.Recorder
	jobs        *jobLog
	// operator does the work, server serves the requeue subresource.
	operator, server *process.Process
	scans            scans
	// owner tells that namespace and queues are the demo's, to be removed at its end.
	owner bool
	// good and bad hold the IDs of the messages whose Jobs succeed and fail, in the order in which they were sent.
	good, bad []string
}

type step struct {
	heading string
	play    func(context.Context) error
}

func (w *walk) steps() []step {
	steps := []step{
		{"A queue with a dead-letter queue", w.createQueues},
		{"The API and a binding", w.createBinding},
		{"The operator", w.runOperator},
		{"A queue that keeps a message until its Job has succeeded", w.keepMessages},
		{"Four messages become four Jobs", w.sendFour},
		{"What the containers printed, and how they ended", w.showContainers},
		{"What failed, and with which message", w.listFailures},
		{"One failed Job goes back on the queue", w.requeueOne},
		{"All failed Jobs go back on the queue", w.requeueAll},
		{"A hundred messages, ten Jobs at a time", w.sendHundred},
		{"What never succeeds goes to the dead-letter queue, and back", w.buryPoison},
		{"The binding goes, new messages stay", w.deleteBinding},
	}
	if w.environment.autoscaled {
		steps = slices.Insert(steps, len(steps)-2, step{"A hundred tasks, and nodes that come and go with them", w.autoscale})
	}
	return steps
}

// play goes through all steps, and ends early where the rest could only fail.
func (w *walk) play(ctx context.Context) error {
	for _, step := range w.steps() {
		w.page.heading(step.heading)
		if err := step.play(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.heading, err)
		}
	}
	return nil
}

func (w *walk) createQueues(ctx context.Context) error {
	return w.createPair(ctx, queue, deadQueue, 5, "QUEUE_URL", "DEAD_URL")
}

// createPair creates a queue and its dead-letter queue, and keeps their URLs in variables.
func (w *walk) createPair(ctx context.Context, name, dead string, receives int, urlVariable, deadVariable string) error {
	if err := w.runAll(ctx, "sqs create-queue --queue-name "+dead); err != nil {
		return err
	}
	if _, err := w.shell.export(ctx, deadVariable, "sqs get-queue-url --queue-name "+dead+" | "+valueOf("QueueUrl")); err != nil {
		return err
	}
	if _, err := w.shell.export(ctx, "DEAD_ARN",
		`sqs get-queue-attributes --queue-url "$`+deadVariable+`" --attribute-names QueueArn | `+valueOf("QueueArn")); err != nil {
		return err
	}
	if err := w.runAll(ctx, "sqs create-queue --queue-name "+name+
		fmt.Sprintf(` --attributes '{"RedrivePolicy": "{\"deadLetterTargetArn\": \"'$DEAD_ARN'\", \"maxReceiveCount\": \"%d\"}"}'`, receives)); err != nil {
		return err
	}
	_, err := w.shell.export(ctx, urlVariable, "sqs get-queue-url --queue-name "+name+" | "+valueOf("QueueUrl"))
	return err
}

func (w *walk) createBinding(ctx context.Context) error {
	if err := w.runAll(ctx, "make install", "kubectl create namespace "+namespace); err != nil {
		return err
	}
	client, err := w.environment.client()
	if err != nil {
		return err
	}
	if w.recorder, err = recorder.Start(ctx, client); err != nil {
		return err
	}
	w.jobs = newJobLog(w.recorder, namespace)
	if err := w.runAll(ctx, "cat hack/demo/pings.yaml", applyBinding); err != nil {
		return err
	}
	if !w.environment.found {
		return nil
	}
	return w.refuseSecondOperator(ctx)
}

// refuseSecondOperator looks whether someone's operator takes up the binding before the demo's own has started: the two
// would share the work, and the checks would be about neither.
func (w *walk) refuseSecondOperator(ctx context.Context) error {
	deadline := time.Now().Add(3 * time.Second)
	for time.Now().Before(deadline) {
		conditions, err := w.shell.ask(ctx, "kubectl get queuebinding pings -n demo -o jsonpath='{.status.conditions}'")
		if err != nil {
			return err
		}
		if conditions != "" {
			return errors.New("another operator works on this cluster already, perhaps that of `make run` or of an earlier KEEP=1 demo: stop it, then try again")
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) runOperator(ctx context.Context) error {
	var err error
	if w.operator, err = w.background(managerLog, "bin/manager", "--metrics-bind-address=0", "--health-probe-bind-address=0"); err != nil {
		return err
	}
	if w.server, err = w.background(serverLog, "bin/queuebinding-apiserver", "--health-probe-bind-address=0", "--bind-address=127.0.0.1:0", "--register-locally"); err != nil {
		return err
	}
	_, err = w.shell.run(ctx, "kubectl wait -n demo --for=condition=Ready queuebinding/pings --timeout=60s")
	if err := w.need(ctx, err == nil, "the binding is Ready", ""); err != nil {
		return err
	}
	_, err = w.shell.run(ctx, awaitAPI+" && kubectl get --raw /apis/subresources.queuebinding.dev/v1alpha1 && echo")
	return w.need(ctx, err == nil, "the cluster serves the requeue subresource", "")
}

// background starts a program, detached, as it stays where the demo is told to KEEP it.
func (w *walk) background(log string, command ...string) (*process.Process, error) {
	w.page.command(strings.Join(command, " ") + " >" + log + " 2>&1 &")
	if err := os.Remove(log); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing the log of an earlier demo: %w", err)
	}
	program := exec.Command(command[0], command[1:]...)
	program.Env = w.shell.env
	return process.StartDetached(program, log)
}

func (w *walk) sendFour(ctx context.Context) error {
	w.page.say("Two for an address that answers, two for hosts that cannot exist.\n")
	for range 2 {
		id, err := w.send(ctx, `{"target": "127.0.0.1", "duration": "3"}`)
		if err != nil {
			return err
		}
		w.good = append(w.good, id)
	}
	for _, target := range []string{"this.is.invalid", "this.is.also.invalid"} {
		id, err := w.send(ctx, `{"target": "`+target+`", "duration": "3"}`)
		if err != nil {
			return err
		}
		w.bad = append(w.bad, id)
	}
	all := slices.Concat(w.good, w.bad)

	w.page.say("")
	if err := w.await(ctx, "each of the four messages has exactly one Job", 30*time.Second, func(t tally) (bool, string) {
		for _, id := range all {
			if len(t.of(id)) != 1 {
				return false, fmt.Sprintf("message %s has %d Jobs", id, len(t.of(id)))
			}
		}
		return len(t.jobs) == len(all), fmt.Sprintf("%d Jobs", len(t.jobs))
	}); err != nil {
		return err
	}
	if err := w.runAll(ctx, "kubectl get jobs,pods -n demo"); err != nil {
		return err
	}
	w.page.say("")
	if err := w.await(ctx, "the good ones complete, the bad ones fail", 90*time.Second, func(t tally) (bool, string) {
		completed, failures := 0, 0
		for _, id := range w.good {
			completed += t.of(id).count(recorder.Job.Succeeded)
		}
		for _, id := range w.bad {
			failures += t.of(id).count(isFailed)
		}
		return completed == len(w.good) && failures == len(w.bad), fmt.Sprintf("%d complete, %d failed", completed, failures)
	}); err != nil {
		return err
	}
	if err := w.runAll(ctx, "kubectl get jobs,pods -n demo"); err != nil {
		return err
	}
	w.page.say("")
	if err := w.awaitQueue(ctx, "the queue is empty", "QUEUE_URL", "0"); err != nil {
		return err
	}
	return w.runAll(ctx, queueCounts)
}

// showContainers shows what only containers can: output and exit codes. Simulated ones have to say that they are.
func (w *walk) showContainers(ctx context.Context) error {
	t, err := w.jobs.read()
	if err != nil {
		return err
	}
	good, bad := t.of(w.good[0])[0].Name, t.of(w.bad[0])[0].Name
	printed, err := w.shell.run(ctx, "kubectl logs -n demo job/"+good)
	if err != nil {
		return err
	}
	complaint, err := w.shell.run(ctx, "kubectl logs -n demo job/"+bad)
	if err != nil {
		return err
	}
	described, err := w.shell.run(ctx, "kubectl describe pods -n demo -l job-name="+bad+" | grep -A 2 'State:'")
	if err != nil {
		return err
	}
	w.page.say("")
	if !w.environment.isReal() {
		w.score.record(strings.Contains(printed, "This Pod is simulated") && strings.Contains(complaint, "This Pod is simulated"),
			"the logs say that the Pods are simulated", "")
		return nil
	}
	w.score.record(strings.Contains(printed, "PING 127.0.0.1") && strings.Contains(printed, "0% packet loss"),
		"the log of the complete Job is what ping printed", "")
	w.score.record(strings.Contains(complaint, "bad address 'this.is.invalid'"), "so is that of the failed one", "")
	w.score.record(exitCode.MatchString(described), "whose exit code is the one that ping ended with", "1")
	return nil
}

// exitCode is how kubectl describes a container that ended as ping does for a name that does not exist.
var exitCode = regexp.MustCompile(`Exit Code: +1\n`)

func (w *walk) listFailures(ctx context.Context) error {
	if err := w.awaitField(ctx, "the binding counts two failed Jobs", "{.status.failedJobs}", "2"); err != nil {
		return err
	}
	if err := w.runAll(ctx, "kubectl get queuebindings -n demo"); err != nil {
		return err
	}
	w.page.say("\nThe failed Jobs, each with the message that it was for:")
	list, err := w.shell.run(ctx, "kubectl queuebinding failures pings -n demo")
	if err != nil {
		return err
	}
	w.score.record(strings.Count(list, "BackoffLimitExceeded") == 2 && strings.Contains(list, `"this.is.invalid"`) && strings.Contains(list, `"this.is.also.invalid"`),
		"the failed Jobs keep their messages", "")

	w.page.say("\nThe binding's own record of them:")
	list, err = w.shell.run(ctx, `kubectl get queuebinding pings -n demo -o jsonpath='{range .status.recentFailures[*]}{.jobName}{"  "}{.reason}{"  "}{.message}{"\n"}{end}'`)
	if err != nil {
		return err
	}
	t, err := w.jobs.read()
	if err != nil {
		return err
	}
	named := 0
	for _, id := range w.bad {
		for _, job := range t.of(id) {
			if strings.Contains(list, job.Name) {
				named++
			}
		}
	}
	w.score.record(named == len(w.bad), "status.recentFailures names both", "")
	return nil
}

func (w *walk) requeueOne(ctx context.Context) error {
	name, err := w.shell.export(ctx, "JOB", `kubectl get jobs -n demo -o jsonpath='{`+failedJobs+`.metadata.name}' | cut -d ' ' -f 1`)
	if err != nil {
		return err
	}
	t, err := w.jobs.read()
	if err != nil {
		return err
	}
	// The first of the bad ones is from here on the one that was sent again.
	for i, id := range w.bad {
		if t.of(id)[0].Name == name {
			w.bad[0], w.bad[i] = w.bad[i], w.bad[0]
		}
	}
	w.page.say("\nBy the subresource, for which the right to `create` on queuebindings/requeue is enough:\n")
	answer, err := w.shell.run(ctx, `echo '{"spec": {"jobNames": ["'$JOB'", "no-such-job"]}}' | kubectl create --raw `+requeuePath+` -f - && echo`)
	if err != nil {
		return err
	}
	w.score.record(strings.Contains(answer, `"accepted":["`+name+`"]`) && strings.Contains(answer, `"reason":"NotFound"`),
		"the answer accepts it, and refuses a Job that is not there", "")
	w.page.say("")
	if err := w.awaitAttempts(ctx, "it has a new Job, attempt 2, and the old one is gone", map[string]int{w.bad[0]: 2, w.bad[1]: 1}); err != nil {
		return err
	}
	return w.runAll(ctx, listAttempts)
}

func (w *walk) requeueAll(ctx context.Context) error {
	// First by the watch: for up to a second the binding may still count the Job that went.
	if err := w.await(ctx, "it fails again, as it must: the host still does not exist", 30*time.Second, func(t tally) (bool, string) {
		return t.of(w.bad[0]).count(isFailed) == 2, ""
	}); err != nil {
		return err
	}
	if err := w.awaitField(ctx, "the binding counts two failed Jobs again", "{.status.failedJobs}", "2"); err != nil {
		return err
	}
	if err := w.runAll(ctx, "kubectl queuebinding requeue pings -n demo --all --wait"); err != nil {
		return err
	}
	w.page.say("")
	if err := w.awaitAttempts(ctx, "both have a new Job, and the old ones are gone", map[string]int{w.bad[0]: 3, w.bad[1]: 2}); err != nil {
		return err
	}
	if err := w.runAll(ctx, listAttempts); err != nil {
		return err
	}
	w.page.say("")
	if err := w.awaitField(ctx, "the annotation is gone: all that it asked for is done", `{.metadata.annotations.queuebinding\.dev/requeue}`, ""); err != nil {
		return err
	}
	return w.await(ctx, "no Job runs any more", 30*time.Second, func(t tally) (bool, string) {
		count := t.count(recorder.Job.Active)
		return count == 0, fmt.Sprintf("%d unfinished", count)
	})
}

func (w *walk) sendHundred(ctx context.Context) error {
	const messages, limit = 100, 10
	before, err := w.jobs.read()
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, job := range before.jobs {
		known[job.Root] = true
	}
	isNew := func(job recorder.Job) bool { return !known[job.Root] }

	if err := w.runAll(ctx, fmt.Sprintf("kubectl scale queuebinding/pings -n demo --replicas=%d", limit)); err != nil {
		return err
	}
	w.jobs.restartPeak()
	command := fmt.Sprintf(sendMessage, `{"target": "127.0.0.1", "duration": "1"}`) + fmt.Sprintf(" --count %d", messages)
	w.page.command(command)
	if _, err := w.shell.ask(ctx, command); err != nil {
		return err
	}

	w.page.say("\nBelow each answer: what the API server's own watch of Jobs has told, which counts every change.")
	shown := time.Time{}
	if err := w.await(ctx, "all of the hundred have run", 4*time.Minute, func(t tally) (bool, string) {
		completed := t.count(func(job recorder.Job) bool { return isNew(job) && job.Succeeded() })
		if time.Since(shown) >= 4*time.Second {
			shown = time.Now()
			// Only shown: were it to fail, the check would tell.
			_, _ = w.shell.run(ctx, "kubectl get queuebindings -n demo")
			w.page.say("watch: %d unfinished now, %d at most so far, %d of %d complete", t.count(recorder.Job.Active), t.peak, completed, messages)
		}
		return completed == messages, fmt.Sprintf("%d complete", completed)
	}); err != nil {
		return err
	}
	after, err := w.jobs.read()
	if err != nil {
		return err
	}
	w.score.record(after.peak <= limit, "never more than ten unfinished Jobs at once", fmt.Sprintf("%d at most", after.peak))
	w.score.record(after.peak > limit/2, "and they ran side by side", "")
	count := after.count(isNew)
	w.score.record(count == messages, "a hundred messages, a hundred Jobs", fmt.Sprintf("%d Jobs", count))
	repeated := after.repeated()
	w.score.record(len(repeated) == 0, "no attempt at a message had two Jobs, in the whole demo", strings.Join(repeated, ", "))
	return nil
}

func (w *walk) deleteBinding(ctx context.Context) error {
	if err := w.runAll(ctx, "kubectl delete queuebinding pings -n demo"); err != nil {
		return err
	}
	w.page.say("")
	if err := w.await(ctx, "its Jobs are gone", 60*time.Second, func(t tally) (bool, string) {
		count := t.count(func(job recorder.Job) bool { return !job.Gone })
		return count == 0, fmt.Sprintf("%d left", count)
	}); err != nil {
		return err
	}
	if err := w.runAll(ctx, "kubectl get jobs -n demo"); err != nil {
		return err
	}
	before, err := w.jobs.read()
	if err != nil {
		return err
	}
	if _, err := w.send(ctx, `{"target": "127.0.0.1", "duration": "3"}`); err != nil {
		return err
	}
	w.page.say("\nFive seconds, in which the operator could take it.\n")
	if err := pause(ctx, 5*time.Second); err != nil {
		return err
	}
	if err := w.runAll(ctx, queueCounts); err != nil {
		return err
	}
	visible, hidden, err := w.counts(ctx, "QUEUE_URL")
	if err != nil {
		return err
	}
	after, err := w.jobs.read()
	if err != nil {
		return err
	}
	w.score.record(visible == "1" && hidden == "0", "a new message stays on the queue", fmt.Sprintf("%s visible, %s in flight", visible, hidden))
	w.score.record(len(after.jobs) == len(before.jobs), "and no Job is created for it", "")
	return w.awaitQueue(ctx, "the dead-letter queue stayed empty", "DEAD_URL", "0")
}

// valueOf is a command that cuts one string out of an answer of the SQS API, as `jq -r` would where it is installed.
func valueOf(key string) string {
	return `sed -n 's/.*"` + key + `": *"\([^"]*\)".*/\1/p'`
}

// runAll shows and runs commands one after the other.
func (w *walk) runAll(ctx context.Context, commands ...string) error {
	for _, command := range commands {
		if _, err := w.shell.run(ctx, command); err != nil {
			return err
		}
	}
	return nil
}

// send puts a message on the queue and returns its ID.
func (w *walk) send(ctx context.Context, body string) (string, error) {
	return w.sendBy(ctx, sendMessage, body)
}

func (w *walk) sendBy(ctx context.Context, command, body string) (string, error) {
	out, err := w.shell.run(ctx, fmt.Sprintf(command, body))
	if err != nil {
		return "", err
	}
	var answer struct {
		MessageID string `json:"MessageId"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return "", fmt.Errorf("reading the answer to send-message: %w", err)
	}
	if answer.MessageID == "" {
		return "", errors.New("send-message gave no message ID")
	}
	return answer.MessageID, nil
}

// counts returns how many messages of a queue are visible and how many are in flight.
func (w *walk) counts(ctx context.Context, urlVariable string) (visible, hidden string, err error) {
	out, err := w.shell.ask(ctx, strings.Replace(queueCounts, "QUEUE_URL", urlVariable, 1))
	if err != nil {
		return "", "", err
	}
	var answer struct{ Attributes map[string]string }
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return "", "", fmt.Errorf("reading the answer to get-queue-attributes: %w", err)
	}
	return answer.Attributes["ApproximateNumberOfMessages"], answer.Attributes["ApproximateNumberOfMessagesNotVisible"], nil
}
