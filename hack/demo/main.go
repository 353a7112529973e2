// Command demo plays what QueueBinding does, from an empty queue to the last Job, against a real Kubernetes control
// plane and an SQS emulator on this machine. It shows each command as one would type it, with its real output, and
// checks what came of it by other eyes than the operator's: the API server's watch and the queue's own counts.
//
// The exit code is 0 only if every check held. It leaves nothing running, unless KEEP is set or the environment was up
// before.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	// walkTime is far more than the walk takes; it only bounds what hangs.
	walkTime = 8 * time.Minute
	// cleanTime bounds the end, of which a minute is the operator's grace.
	cleanTime = 3 * time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	ok := demo(ctx, newPage(os.Stdout), isSet("KEEP", false), isSet("AUTOSCALE", true))
	stop()
	if !ok {
		os.Exit(1)
	}
}

// isSet reports whether an environment variable switches something on. What is switched where it is empty, says empty.
func isSet(variable string, empty bool) bool {
	switch os.Getenv(variable) {
	case "":
		return empty
	case "0", "false":
		return false
	default:
		return true
	}
}

// demo tells whether all went well. With autoscaled the walk goes by nodes that come and go, too.
func demo(ctx context.Context, page *page, keep, autoscaled bool) bool {
	shell := newShell(page)
	w := &walk{page: page, shell: shell, score: &scorecard{page: page}, environment: &environment{shell: shell, autoscaled: autoscaled}}

	page.say("QueueBinding: a message on an SQS queue becomes a Kubernetes Job.\n\n" +
		"The control plane is a real one, built from source; the queue is an emulator.")

	err := w.whole(ctx)
	interrupted := ctx.Err() != nil
	if err != nil && !interrupted && w.operator != nil {
		w.page.say("\nThe end of the operator's log, %s:\n%s", w.operator.Log, w.operator.LastLines(20))
	}
	if interrupted {
		w.page.say("\nInterrupted; cleaning up.")
	}

	// An interruption ended the walk; the cleaning needs time of its own.
	cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	clean := true
	if keep && err == nil {
		err = w.leaveUp(cleaning)
	} else {
		clean = w.cleanUp(cleaning)
	}
	return w.verdict(err, interrupted, clean)
}

// verdict ends the page with what it comes to.
func (w *walk) verdict(err error, interrupted, clean bool) bool {
	ok := w.score.summary() && clean
	switch {
	case interrupted:
		w.page.say("The demo was interrupted.")
		return false
	case err != nil:
		w.page.say("The demo ended early: %v", err)
		return false
	case !clean:
		w.page.say("The demo left something behind: see above.")
	}
	return ok
}

// whole brings up the environment and plays the walk.
func (w *walk) whole(ctx context.Context) error {
	w.page.heading("A cluster and a queue service on this machine")
	if err := w.environment.bringUp(ctx); err != nil {
		return err
	}
	// Building may have taken long; what follows must not.
	w.page.say("\n%s", w.environment.aboutPods())
	ctx, cancel := context.WithTimeoutCause(ctx, walkTime, fmt.Errorf("the walk took more than %s", walkTime))
	defer cancel()
	if err := w.refuseLeftovers(ctx); err != nil {
		return err
	}
	w.owner = true
	return w.play(ctx)
}

// refuseLeftovers keeps the demo from removing at its end what it did not make.
func (w *walk) refuseLeftovers(ctx context.Context) error {
	found, err := w.shell.ask(ctx, "kubectl get namespace demo --ignore-not-found -o name")
	if err != nil {
		return err
	}
	if found != "" {
		return errors.New("namespace demo is there already, perhaps from a KEEP=1 demo. To be rid of it: " +
			"stop its operator and `make devenv-down`, or `kubectl delete namespace demo`")
	}
	return nil
}

// cleanUp ends what the demo started and removes what it made, and tells whether that went well.
func (w *walk) cleanUp(ctx context.Context) bool {
	w.page.heading("The end")
	var problems []error
	if w.operator != nil {
		w.page.command(fmt.Sprintf("kill %d", w.operator.PID()))
		started := time.Now()
		err := w.operator.Terminate(ctx)
		detail := fmt.Sprintf("after %s", time.Since(started).Round(100*time.Millisecond))
		if err != nil {
			detail = err.Error()
		}
		w.score.record(err == nil, "on SIGTERM the operator ends within a minute, with exit code 0", detail)
	}
	if w.server != nil {
		w.page.command(fmt.Sprintf("kill %d", w.server.PID()))
		err := w.server.Terminate(ctx)
		w.score.record(err == nil, "the server of the subresource ends too", "")
		left, err := w.shell.ask(ctx, "kubectl get apiservice v1alpha1.subresources.queuebinding.dev --ignore-not-found -o name")
		w.score.record(err == nil && left == "", "and it takes its APIService with it", left)
	}
	if w.environment.found && w.owner {
		problems = append(problems, w.runAll(ctx, "kubectl delete namespace "+namespace+" "+scansNamespace+" "+batchNamespace+" --ignore-not-found"))
		if w.environment.autoscaled {
			problems = append(problems, w.runAll(ctx, "kubectl delete -f hack/demo/nodes.yaml --ignore-not-found"))
		}
		for _, variable := range []string{"QUEUE_URL", "DEAD_URL", "SCANS_URL", "SCANS_DEAD_URL", "BATCH_URL"} {
			if w.shell.variable(variable) != "" {
				problems = append(problems, w.runAll(ctx, `sqs delete-queue --queue-url "$`+variable+`"`))
			}
		}
	}
	problems = append(problems, w.environment.takeDown(ctx))
	if err := errors.Join(problems...); err != nil {
		w.page.say("Cleaning up failed: %v", err)
		return false
	}
	return true
}

// leaveUp leaves all running, with a binding to play with, and says how to go on.
func (w *walk) leaveUp(ctx context.Context) error {
	w.page.heading("Left up, with the binding in place again")
	if err := w.runAll(ctx, applyBinding); err != nil {
		return err
	}
	w.page.say(`
To go on in a shell of your own:

    . bin/devenv/env
    export QUEUE_URL=%s
    kubectl get queuebindings,jobs -n demo
    %s
    kubectl explain queuebinding.spec
    tail -f %s

To end it all:

    kill %d %d
    make devenv-down`,
		w.shell.variable("QUEUE_URL"), fmt.Sprintf(sendMessage, `{"target": "127.0.0.1", "duration": "10"}`), w.operator.Log, w.operator.PID(), w.server.PID())
	return nil
}
