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
)

// messageWidth is how much of a message a table shows.
const messageWidth = 60

// failed is a failed Job with all that is told of it.
type failed struct {
	job    *batchv1.Job
	record job.Record
	exit   string
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
message that each was for.

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
			f.record.Name, reason, f.exit, fmt.Sprint(f.record.Lineage.Attempt), l.age(f.record.Finished), cmp.Or(oneLine(bodyOf(f.job), messageWidth), none),
		})
	}
	return table(l.Out, []string{"JOB", "REASON", "EXIT", "ATTEMPT", "FAILED", "MESSAGE"}, rows)
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
	exits, err := exitCodes(ctx, c, binding)
	if err != nil {
		return nil, err
	}
	var failures []failed
	for i := range list.Items {
		each := &list.Items[i]
		if record := job.Observe(each); job.Owner(each) == binding.UID && record.State == job.Failed {
			failures = append(failures, failed{job: each, record: record, exit: cmp.Or(exits[each.Name], none)})
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

// exitCodes are those of the last containers that failed, by Job. They need a right to read Pods that one can do
// without, and Pods may be gone: what is not known is left out.
func exitCodes(ctx context.Context, c client.Reader, binding *v1alpha1.QueueBinding) (map[string]string, error) {
	pods := &corev1.PodList{}
	err := c.List(ctx, pods, client.InNamespace(binding.Namespace), client.MatchingLabels{v1alpha1.LabelBinding: binding.Name})
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	codes, times := map[string]string{}, map[string]time.Time{}
	for i := range pods.Items {
		pod := &pods.Items[i]
		name := pod.Labels[batchv1.JobNameLabel]
		for _, container := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
			for _, ended := range []*corev1.ContainerStateTerminated{container.LastTerminationState.Terminated, container.State.Terminated} {
				if ended == nil || ended.ExitCode == 0 || ended.FinishedAt.Time.Before(times[name]) {
					continue
				}
				times[name], codes[name] = ended.FinishedAt.Time, fmt.Sprint(ended.ExitCode)
			}
		}
	}
	return codes, nil
}
