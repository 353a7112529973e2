package cli

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// maxDescribed is how many failures fit on the screen with the rest.
const maxDescribed = 5

// describer shows all about a binding on one screen.
type describer struct{ *plugin }

func newDescribeCommand(p *plugin) *cobra.Command {
	return &cobra.Command{
		Use:   "describe NAME",
		Short: "Show all about a binding on one screen",
		Long: `Show all about a binding on one screen: its conditions in words, its limits
and how much of them is used, its backlog, and what failed last.

Deleting a binding deletes its Jobs too, the running ones and the records of
failed ones included; kubectl delete --cascade=orphan keeps them.`,
		Example:           "  kubectl queuebinding describe pings",
		Args:              args(1, 1, "the name of a binding"),
		ValidArgsFunction: completion{p}.binding,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, binding, err := p.binding(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			failures, err := failuresOf(cmd.Context(), c, binding)
			if err != nil {
				return err
			}
			describer{p}.describe(binding, failures)
			return nil
		},
	}
}

func (d describer) describe(b *v1alpha1.QueueBinding, failures []failed) {
	d.line("Name:", "%s", d.paint(bold, b.Name))
	d.line("Namespace:", "%s", b.Namespace)
	d.line("Age:", "%s", d.age(b.CreationTimestamp.Time))
	d.line("Queue:", "%s", b.Spec.Queue.URL)
	d.line("Acknowledge:", "%s", b.Spec.Acknowledge)
	d.conditions(b)
	d.jobs(b)
	d.messages(b)
	d.failures(b, failures)
}

func (d describer) line(label, format string, args ...any) {
	fmt.Fprintf(d.Out, "%-16s%s\n", label, fmt.Sprintf(format, args...))
}

func (d describer) head(text string) { fmt.Fprintf(d.Out, "\n%s\n", d.paint(bold, text)) }

func (d describer) conditions(b *v1alpha1.QueueBinding) {
	d.head("Conditions")
	if len(b.Status.Conditions) == 0 {
		fmt.Fprintln(d.Out, "  none: the operator has not looked at this binding. Is it running?")
	}
	for _, c := range b.Status.Conditions {
		colour := map[metav1.ConditionStatus]string{metav1.ConditionTrue: green, metav1.ConditionFalse: red}[c.Status]
		fmt.Fprintf(d.Out, "  %s (%s, for %s)\n", d.paint(cmp.Or(colour, yellow), fmt.Sprintf("%s=%s", c.Type, c.Status)), c.Reason, d.age(c.LastTransitionTime.Time))
		fmt.Fprintf(d.Out, "    %s\n", strings.ReplaceAll(printable(c.Message), "\n", "\n    "))
	}
	if why := stoppedBy(b); why != "" {
		d.line("Stopped by:", "%s", oneLine(why, 200))
	}
}

func (d describer) jobs(b *v1alpha1.QueueBinding) {
	d.head("Jobs")
	d.line("  active", "%s", use(b.Status.ActiveJobs, b.Spec.Concurrency.MaxActiveJobs, "maxActiveJobs"))
	d.line("  pending", "%s", use(b.Status.PendingJobs, b.Spec.Concurrency.MaxPendingJobs, "maxPendingJobs"))
	d.line("  succeeded", "%s", use(b.Status.SucceededJobs, b.Spec.SuccessfulJobsHistoryLimit, "successfulJobsHistoryLimit"))
	d.line("  failed", "%s", use(b.Status.FailedJobs, b.Spec.FailedJobsHistoryLimit, "failedJobsHistoryLimit"))
	if n := ptr.Deref(b.Status.RequeuedJobs, 0); n > 0 {
		d.line("  requeued", "%d, on their way back", n)
	}
	d.line("  last created", "%s ago", d.ageOf(b.Status.LastJobCreationTime))
}

func (d describer) messages(b *v1alpha1.QueueBinding) {
	d.head("Messages (SQS counts roughly)")
	if q := b.Status.Queue; q == nil {
		fmt.Fprintln(d.Out, "  not known yet")
	} else {
		d.line("  waiting", "%d", q.VisibleMessages)
		d.line("  in flight", "%d", q.InFlightMessages)
		d.line("  delayed", "%d", q.DelayedMessages)
		if q.DeadLetterQueueARN == "" {
			d.line("  dead-letter", "no such queue")
		} else {
			d.line("  dead-letter", "%s in %s", number(q.DeadLetterMessages), oneLine(q.DeadLetterQueueARN, 200))
		}
	}
	if r := b.Status.LastRejection; r != nil {
		d.line("  rejected", "%s ago, message %s (%s): %s", d.age(r.Time.Time), oneLine(r.MessageID, 100), oneLine(r.Reason, 100), oneLine(r.Message, 200))
	}
	if r := b.Status.LastRequeue; r != nil {
		goesOn := ""
		if r.InProgress {
			goesOn = ", in progress"
		}
		d.line("  requeue", "%s ago: %d sent again, %d refused%s", d.age(r.Time.Time), r.RequeuedJobs, r.RefusedJobs, goesOn)
	}
}

func (d describer) failures(b *v1alpha1.QueueBinding, failures []failed) {
	d.head(fmt.Sprintf("Last failures (%d in all)", len(failures)))
	if len(failures) == 0 {
		fmt.Fprintln(d.Out, "  none")
		return
	}
	shown := failures[:min(len(failures), maxDescribed)]
	for _, f := range shown {
		fmt.Fprintf(d.Out, "  %s  %s ago, %s, exit code %s, attempt %d\n", f.record.Name, d.age(f.record.Finished), cmp.Or(oneLine(f.record.Reason, reasonWidth), "no reason"), f.exit(), f.record.Lineage.Attempt)
		fmt.Fprintf(d.Out, "    %s\n", cmp.Or(oneLine(bodyOf(f.job), reasonWidth), none))
		if f.end != nil && f.end.Message != "" {
			fmt.Fprintf(d.Out, "    %s on %s said: %s\n", cmp.Or(oneLine(f.end.Container, reasonWidth), f.end.Pod), f.node(), f.said(reasonWidth))
		}
	}
	fmt.Fprintf(d.Out, "\nTo see all:        kubectl queuebinding failures %s -n %s\n", b.Name, b.Namespace)
	if shown[0].record.MessageOnQueue() {
		fmt.Fprintf(d.Out, "Their messages are tried again until the queue gives up on them. To move those back: kubectl queuebinding requeue %s -n %s --all\n", b.Name, b.Namespace)
		return
	}
	fmt.Fprintf(d.Out, "To send one again: kubectl queuebinding requeue %s -n %s %s\n", b.Name, b.Namespace, shown[0].record.Name)
}

// use is how much of a limit is used.
func use(n, limit *int32, name string) string {
	if limit == nil {
		return number(n)
	}
	return fmt.Sprintf("%s of %d (%s)", number(n), *limit, name)
}
