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

// mostDescribed is how many failures fit on the screen with the rest.
const mostDescribed = 5

func (p *plugin) describeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "describe NAME",
		Short: "Show all about a binding on one screen",
		Long: `Show all about a binding on one screen: its conditions in words, its limits
and how much of them is used, its backlog, and what failed last.

Deleting a binding deletes its Jobs too, the running ones and the records of
failed ones included; kubectl delete --cascade=orphan keeps them.`,
		Example:           "  kubectl queuebinding describe pings",
		Args:              args(1, 1, "the name of a binding"),
		ValidArgsFunction: p.completeBinding,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, binding, err := p.binding(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			failures, err := p.failures(cmd.Context(), c, binding)
			if err != nil {
				return err
			}
			return p.describe(binding, failures)
		},
	}
}

func (p *plugin) describe(b *v1alpha1.QueueBinding, failures []failed) error {
	line := func(label, format string, args ...any) {
		fmt.Fprintf(p.Out, "%-16s%s\n", label, fmt.Sprintf(format, args...))
	}
	head := func(text string) { fmt.Fprintf(p.Out, "\n%s\n", p.paint(bold, text)) }

	line("Name:", "%s", p.paint(bold, b.Name))
	line("Namespace:", "%s", b.Namespace)
	line("Age:", "%s", p.age(b.CreationTimestamp.Time))
	line("Queue:", "%s", b.Spec.Queue.URL)
	line("Acknowledge:", "%s", b.Spec.Acknowledge)

	head("Conditions")
	if len(b.Status.Conditions) == 0 {
		fmt.Fprintln(p.Out, "  none: the operator has not looked at this binding. Is it running?")
	}
	for _, c := range b.Status.Conditions {
		colour := map[metav1.ConditionStatus]string{metav1.ConditionTrue: green, metav1.ConditionFalse: red}[c.Status]
		fmt.Fprintf(p.Out, "  %s (%s, for %s)\n", p.paint(cmp.Or(colour, yellow), fmt.Sprintf("%s=%s", c.Type, c.Status)), c.Reason, p.age(c.LastTransitionTime.Time))
		fmt.Fprintf(p.Out, "    %s\n", strings.ReplaceAll(c.Message, "\n", "\n    "))
	}
	if why := stoppedBy(b); why != "" {
		line("Stopped by:", "%s", oneLine(why, 200))
	}

	head("Jobs")
	line("  active", "%s", use(b.Status.ActiveJobs, b.Spec.Concurrency.MaxActiveJobs, "maxActiveJobs"))
	line("  pending", "%s", use(b.Status.PendingJobs, b.Spec.Concurrency.MaxPendingJobs, "maxPendingJobs"))
	line("  succeeded", "%s", use(b.Status.SucceededJobs, b.Spec.SuccessfulJobsHistoryLimit, "successfulJobsHistoryLimit"))
	line("  failed", "%s", use(b.Status.FailedJobs, b.Spec.FailedJobsHistoryLimit, "failedJobsHistoryLimit"))
	if n := ptr.Deref(b.Status.RequeuedJobs, 0); n > 0 {
		line("  requeued", "%d, on their way back", n)
	}
	line("  last created", "%s ago", p.ageOf(b.Status.LastJobCreationTime))

	head("Messages (SQS counts roughly)")
	if q := b.Status.Queue; q == nil {
		fmt.Fprintln(p.Out, "  not known yet")
	} else {
		line("  waiting", "%d", q.VisibleMessages)
		line("  in flight", "%d", q.InFlightMessages)
		line("  delayed", "%d", q.DelayedMessages)
		if q.DeadLetterQueueARN == "" {
			line("  dead-letter", "no such queue")
		} else {
			line("  dead-letter", "%s in %s", number(q.DeadLetterMessages), q.DeadLetterQueueARN)
		}
	}
	if r := b.Status.LastRejection; r != nil {
		line("  rejected", "%s ago, message %s (%s): %s", p.age(r.Time.Time), r.MessageID, r.Reason, oneLine(r.Message, 200))
	}
	if r := b.Status.LastRequeue; r != nil {
		line("  requeue", "%s ago: %d sent again, %d refused", p.age(r.Time.Time), r.RequeuedJobs, r.RefusedJobs)
	}

	head(fmt.Sprintf("Last failures (%d in all)", len(failures)))
	if len(failures) == 0 {
		fmt.Fprintln(p.Out, "  none")
		return nil
	}
	shown := failures[:min(len(failures), mostDescribed)]
	for _, f := range shown {
		fmt.Fprintf(p.Out, "  %s  %s ago, %s, exit code %s, attempt %d\n", f.record.Name, p.age(f.record.Finished), cmp.Or(f.record.Reason, "no reason"), f.exit, f.record.Lineage.Attempt)
		fmt.Fprintf(p.Out, "    %s\n", cmp.Or(oneLine(bodyOf(f.job), reasonWidth), none))
	}
	fmt.Fprintf(p.Out, "\nTo see all:        kubectl queuebinding failures %s -n %s\n", b.Name, b.Namespace)
	if shown[0].record.MessageOnQueue() {
		fmt.Fprintf(p.Out, "Their messages are tried again until the queue gives up on them. To move those back: kubectl queuebinding requeue %s -n %s --all\n", b.Name, b.Namespace)
		return nil
	}
	fmt.Fprintf(p.Out, "To send one again: kubectl queuebinding requeue %s -n %s %s\n", b.Name, b.Namespace, shown[0].record.Name)
	return nil
}

// use is how much of a limit is used.
func use(n, limit *int32, name string) string {
	if limit == nil {
		return number(n)
	}
	return fmt.Sprintf("%s of %d (%s)", number(n), *limit, name)
}
