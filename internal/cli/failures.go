package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/pods"
)

// messageWidth is how much of a message a table shows.
const messageWidth = 60

// failed is a failed Job with all that is told of it.
type failed struct {
	job    *batchv1.Job
	record job.Record
	// end is how the container ended that failed last, nil where that is not known.
	end *pods.End
}

// failureLister lists the failed Jobs of a binding.
type failureLister struct {
	*plugin
	reasons []string
	since   time.Duration
	output  outputFlag
}

func newFailuresCommand(p *plugin) *cobra.Command {
	l := &failureLister{plugin: p}
	cmd := &cobra.Command{
		Use:   "failures NAME",
		Short: "List a binding's failed Jobs, each with its message",
		Long: `List a binding's failed Jobs, the last one first, with why they failed and the
message that each was for. SAID is what the container left as its termination
message.

With -o the Jobs themselves are printed, as kubectl would. To get whole
messages use the command message.`,
		Example: `  kubectl queuebinding failures pings --since 1h
  kubectl queuebinding failures pings --reason DeadlineExceeded -o name
  kubectl queuebinding failures pings -o jsonpath='{.items[*].metadata.name}'`,
		Args:              args(1, 1, "the name of a binding"),
		ValidArgsFunction: completion{p}.binding,
	}
	cmd.Flags().StringSliceVar(&l.reasons, "reason", nil, "Only Jobs that failed for this reason, such as BackoffLimitExceeded or DeadlineExceeded. May be given again.")
	cmd.Flags().DurationVar(&l.since, "since", 0, "Only Jobs that failed within this time, such as 30m or 24h.")
	l.output = newOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return l.run(cmd, args[0]) }
	return cmd
}

func (l *failureLister) run(cmd *cobra.Command, name string) error {
	c, binding, err := l.binding(cmd.Context(), name)
	if err != nil {
		return err
	}
	failures, err := failuresOf(cmd.Context(), c, binding)
	if err != nil {
		return err
	}
	failures = slices.DeleteFunc(failures, func(f failed) bool {
		return len(l.reasons) > 0 && !slices.Contains(l.reasons, f.record.Reason) ||
			l.since > 0 && l.Clock.Since(f.record.Finished) > l.since
	})
	if l.output.wanted() {
		list := &batchv1.JobList{}
		for _, f := range failures {
			list.Items = append(list.Items, *f.job)
		}
		return l.output.printList(cmd, l.Out, list)
	}
	if len(failures) == 0 {
		l.note("no failed Jobs")
		return nil
	}
	return l.print(failures)
}

func (l *failureLister) print(failures []failed) error {
	var rows [][]string
	for _, f := range failures {
		reason := cmp.Or(f.record.Reason, none)
		if f.record.Sent {
			reason += " (requeued)"
		}
		rows = append(rows, []string{
			f.record.Name, reason, f.exit(), f.node(), fmt.Sprint(f.record.Lineage.Attempt), l.age(f.record.Finished),
			cmp.Or(oneLine(bodyOf(f.job), messageWidth), none), f.said(messageWidth),
		})
	}
	return table(l.Out, []string{"JOB", "REASON", "EXIT", "NODE", "ATTEMPT", "FAILED", "MESSAGE", "SAID"}, rows)
}

// bodyOf is the message, where it is in the Job. Reading the Secrets of a thousand Jobs for a table would take too long.
func bodyOf(j *batchv1.Job) string {
	if job.HasFiles(j) {
		return "in files, see `kubectl queuebinding message`"
	}
	message, err := job.MessageOf(j, nil)
	if err != nil {
		return ""
	}
	return message.Body
}

// failuresOf returns a binding's failed Jobs, the last one first.
func failuresOf(ctx context.Context, c client.Reader, binding *v1alpha1.QueueBinding) ([]failed, error) {
	list := &batchv1.JobList{}
	if err := c.List(ctx, list, client.InNamespace(binding.Namespace), client.MatchingLabels{v1alpha1.LabelBinding: binding.Name}); err != nil {
		return nil, err
	}
	ends, err := endsOf(ctx, c, binding)
	if err != nil {
		return nil, err
	}
	var failures []failed
	for i := range list.Items {
		each := &list.Items[i]
		if record := job.Observe(each); job.Owner(each) == binding.UID && record.State == job.Failed {
			failures = append(failures, failed{job: each, record: record, end: ends[each.Name]})
		}
	}
	slices.SortFunc(failures, func(a, b failed) int {
		if c := b.record.Finished.Compare(a.record.Finished); c != 0 {
			return c
		}
		return strings.Compare(a.record.Name, b.record.Name)
	})
	return failures, nil
}

// endsOf returns how the containers ended that failed last, by Job. It needs a right to read Pods that one can do without, and Pods
// may be gone: what is not known is left out.
func endsOf(ctx context.Context, c client.Reader, binding *v1alpha1.QueueBinding) (map[string]*pods.End, error) {
	list := &corev1.PodList{}
	err := c.List(ctx, list, client.InNamespace(binding.Namespace), client.MatchingLabels{v1alpha1.LabelBinding: binding.Name})
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	byJob := map[string][]corev1.Pod{}
	for i := range list.Items {
		name := list.Items[i].Labels[batchv1.JobNameLabel]
		byJob[name] = append(byJob[name], list.Items[i])
	}
	ends := map[string]*pods.End{}
	for name, all := range byJob {
		if end := pods.LastEnd(all); end != nil {
			ends[name] = end
		}
	}
	return ends, nil
}

// exit is the exit code, with the kubelet's word where that says more.
func (f failed) exit() string {
	switch {
	case f.end == nil:
		return none
	case f.end.ExitCode == nil:
		return cmp.Or(oneLine(f.end.Reason, reasonWidth), none)
	case f.end.Reason == "" || f.end.Reason == "Error": // as with every exit code but 0
		return fmt.Sprint(*f.end.ExitCode)
	}
	return fmt.Sprintf("%d (%s)", *f.end.ExitCode, oneLine(f.end.Reason, reasonWidth))
}

func (f failed) node() string {
	if f.end == nil {
		return none
	}
	return cmp.Or(oneLine(f.end.Node, reasonWidth), none)
}

// said is the container's termination message.
func (f failed) said(width int) string {
	if f.end == nil {
		return none
	}
	return cmp.Or(oneLine(f.end.Message, width), none)
}
