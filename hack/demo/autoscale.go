package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/queuebinding/queuebinding/test/recorder"
)

// The third binding of the demo works on nodes that come with its Pods and go after them.
const (
	batchNamespace = "demo-batch"
	batchQueue     = "demo-batch"
	batchLabel     = "example.com/pool"
	// batchMostNodes and batchMostPending are the limits of hack/demo/nodes.yaml and of the sample.
	batchMostNodes   = 9
	batchMostPending = 30

	applyBatch = `sed "s|url: .*|url: $BATCH_URL|" config/samples/autoscaled.yaml | kubectl apply -n demo-batch -f -`
	sendBatch  = `sqs send-message --queue-url "$BATCH_URL" --message-body '{"target": "127.0.0.1", "duration": "10"}' --count 100`

	// rowInterval is how often the timeline gets a row, where something changed.
	rowInterval = 2 * time.Second
)

// autoscale shows a hundred tasks, the nodes that come for them, and that these go.
func (w *walk) autoscale(ctx context.Context) error {
	w.page.say("A task asks for 100m CPU and 100 MB; a node has 2 CPUs and 4 GiB, as a t3.medium, and there is none yet.\n" +
		"Karpenter is the real one. Its machines are simulated, and so are the Pods on them.\n")
	if err := w.runAll(ctx, "sqs create-queue --queue-name "+batchQueue); err != nil {
		return err
	}
	if _, err := w.shell.export(ctx, "BATCH_URL", "sqs get-queue-url --queue-name "+batchQueue+" | "+valueOf("QueueUrl")); err != nil {
		return err
	}
	if err := w.runAll(ctx, "kubectl apply -f hack/demo/nodes.yaml", "kubectl create namespace "+batchNamespace,
		"sed -n '/jobTemplate/,$p' config/samples/autoscaled.yaml", applyBatch,
		"kubectl get nodes -l "+batchLabel); err != nil {
		return err
	}
	client, err := w.environment.client()
	if err != nil {
		return err
	}
	jobs := newJobLog(w.recorder, batchNamespace)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	nodes, err := recorder.StartNodes(ctx, client, batchNamespace, batchLabel)
	if err != nil {
		return err
	}
	w.score.record(nodes.Counts().Nodes == 0, "no node for such work at the beginning", "")
	if err := w.runAll(ctx, sendBatch+" | tail -n 1"); err != nil {
		return err
	}
	w.page.say("\nEach %s stands for a node; %s for three running Pods, %s for three that wait for a node.\n", nodeSign, runningSign, pendingSign)
	rows := &timeline{page: w.page, begun: time.Now()}
	if err := w.awaitBatch(ctx, jobs, nodes, rows, "a hundred tasks, all complete", func(r row) bool { return r.done == 100 }); err != nil {
		return err
	}
	most := nodes.Counts()
	t, err := jobs.read()
	if err != nil {
		return err
	}
	w.score.record(len(t.jobs) == 100 && len(t.repeated()) == 0, "each has run once", fmt.Sprintf("%d Jobs", len(t.jobs)))
	w.score.record(most.MostPending <= batchMostPending, "maxPendingJobs held: never more than 30 Pods waited for a node", fmt.Sprintf("%d at most", most.MostPending))
	w.score.record(most.MostRunning > 2*batchMostPending, "and held nothing up: many more ran at once", fmt.Sprintf("%d at most", most.MostRunning))
	w.score.record(most.MostNodes > 1 && most.MostNodes <= batchMostNodes, "nodes came, no more than the pool allows", fmt.Sprintf("%d at most", most.MostNodes))
	w.page.say("")
	if err := w.awaitBatch(ctx, jobs, nodes, rows, "all nodes are gone again", func(r row) bool { return r.nodes == 0 }); err != nil {
		return err
	}
	gaps := nodes.Counts().Gaps
	return w.need(ctx, gaps == 0, "the watch of Pods and nodes has missed nothing", "")
}

// awaitBatch waits for a state of the timeline and prints the rows until then.
func (w *walk) awaitBatch(ctx context.Context, jobs *jobLog, nodes *recorder.Nodes, rows *timeline, name string, met func(row) bool) error {
	return w.until(ctx, name, 3*time.Minute, func() (bool, string, error) {
		t, err := jobs.read()
		if err != nil {
			return false, "", err
		}
		now := nodes.Counts()
		r := row{pending: now.Pending, running: now.Running, done: t.count(recorder.Job.Succeeded), nodes: now.Nodes}
		if !met(r) && !rows.due() {
			return false, "", nil
		}
		visible, hidden, err := w.counts(ctx, "BATCH_URL")
		if err != nil {
			return false, "", err
		}
		for _, count := range []string{visible, hidden} {
			n, err := strconv.Atoi(count)
			if err != nil {
				return false, "", fmt.Errorf("counting the messages: %w", err)
			}
			r.messages += n
		}
		rows.add(r)
		return met(r), "", nil
	})
}

// row is what there is at one time.
type row struct{ messages, pending, running, done, nodes int }

const (
	nodeSign    = "▣"
	runningSign = "█"
	pendingSign = "░"
)

// timeline prints rows as a table, the first below its heading, and none that is as the one before.
type timeline struct {
	page  *page
	begun time.Time

	last    row
	lastAt  time.Time
	started bool
}

// due reports whether it is time for another row.
func (l *timeline) due() bool { return time.Since(l.lastAt) >= rowInterval }

func (l *timeline) add(r row) {
	if !l.started {
		l.page.say("%7s  %8s  %7s  %7s  %4s  %5s", "TIME", "MESSAGES", "PENDING", "RUNNING", "DONE", "NODES")
	}
	if l.started && r == l.last {
		l.lastAt = time.Now()
		return
	}
	l.started, l.last, l.lastAt = true, r, time.Now()
	l.page.say("%s", r.line(time.Since(l.begun)))
}

// line is the row as it is printed, with nodes and Pods as a picture behind the numbers.
func (r row) line(after time.Duration) string {
	signs := func(sign string, n int) string { return strings.Repeat(sign, n) }
	picture := strings.TrimSpace(signs(nodeSign, r.nodes) + " " + signs(runningSign, (r.running+2)/3) + signs(pendingSign, (r.pending+2)/3))
	return strings.TrimRight(fmt.Sprintf("%6ds  %8d  %7d  %7d  %4d  %5d  %s", int(after.Seconds()), r.messages, r.pending, r.running, r.done, r.nodes, picture), " ")
}
