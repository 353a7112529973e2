package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

const (
	// defaultLoggedJobs is how many Jobs have their logs printed unless more are asked for.
	defaultLoggedJobs = 10
	// maxPodsOfJob is how many Pods of one Job have their logs printed.
	maxPodsOfJob = 50
	// logPiece is how much of a log is held at a time: longer lines are printed in pieces.
	logPiece = 64 << 10
)

// logReader prints what the containers of a binding's Jobs wrote.
type logReader struct {
	*plugin
	failed   bool
	jobs     []string
	limit    int
	tail     int64
	previous bool
}

func newLogsCommand(p *plugin) *cobra.Command {
	l := &logReader{plugin: p}
	cmd := &cobra.Command{
		Use:   "logs NAME (--failed | --job JOB)",
		Short: "Print the logs of a binding's failed Jobs",
		Long: `Print the logs of the containers of a binding's Jobs, of those that failed last
or of Jobs by name, each line after the names of Pod and container. A Pod's name
begins with its Job's.

Logs are where their Pods are, and end with them: a Job that ran into its
deadline has none, as the Job controller deletes its Pods. What cannot be had is
told on the standard error. You need the right to get pods/log.

To a pipe goes what was logged, byte by byte; on a terminal, control characters
that could play tricks on it are replaced.`,
		Example: `  kubectl queuebinding logs pings --failed
  kubectl queuebinding logs pings --failed --limit 1 --tail -1
  kubectl queuebinding logs pings --job pings-5k2vq7xw3hna --previous`,
		Args:              args(1, 1, "the name of a binding"),
		ValidArgsFunction: completion{p}.binding,
	}
	cmd.Flags().BoolVar(&l.failed, "failed", false, "Print the logs of the Jobs that failed last, the last one first.")
	cmd.Flags().StringArrayVar(&l.jobs, "job", nil, "Print the logs of this Job, whatever became of it. May be given again.")
	cmd.Flags().IntVar(&l.limit, "limit", defaultLoggedJobs, "With --failed, of how many Jobs.")
	cmd.Flags().Int64Var(&l.tail, "tail", 100, "How many lines of each container, the last ones; -1 for all.")
	cmd.Flags().BoolVar(&l.previous, "previous", false, "Print what containers that were restarted wrote the time before; others are left out.")
	cmd.MarkFlagsOneRequired("failed", "job")
	cmd.MarkFlagsMutuallyExclusive("failed", "job")
	if err := cmd.RegisterFlagCompletionFunc("job", completion{p}.jobOfBinding); err != nil {
		panic(err) // there is no such flag: a mistake in this file
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return l.run(cmd, args[0]) }
	return cmd
}

func (l *logReader) run(cmd *cobra.Command, name string) error {
	if l.limit < 1 {
		return misuse(cmd, errors.New("--limit must be at least 1"))
	}
	if l.tail < -1 {
		return misuse(cmd, errors.New("--tail must be at least -1"))
	}
	ctx := cmd.Context()
	c, binding, err := l.binding(ctx, name)
	if err != nil {
		return err
	}
	config, err := l.config()
	if err != nil {
		return err
	}
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	jobs, err := l.chosen(ctx, c, binding)
	if err != nil {
		return err
	}
	if len(jobs) == 0 {
		l.note("no failed Jobs")
	}
	for _, each := range jobs {
		if err := l.printJob(ctx, c, core, binding.Namespace, each); err != nil {
			return err
		}
	}
	return nil
}

// chosen returns the names of the Jobs whose logs are asked for.
func (l *logReader) chosen(ctx context.Context, c client.Reader, binding *v1alpha1.QueueBinding) ([]string, error) {
	var names []string
	if !l.failed {
		for _, name := range l.jobs {
			asked := &batchv1.Job{}
			name = strings.TrimPrefix(name, "job.batch/")
			if err := c.Get(ctx, client.ObjectKey{Namespace: binding.Namespace, Name: name}, asked); err != nil {
				return nil, err
			}
			if job.Owner(asked) != binding.UID {
				return nil, fmt.Errorf("job.batch/%s is no Job of queuebinding/%s", name, binding.Name)
			}
			names = append(names, name)
		}
		return names, nil
	}
	failures, err := failuresOf(ctx, c, binding)
	if err != nil {
		return nil, err
	}
	for _, f := range failures[:min(len(failures), l.limit)] {
		names = append(names, f.record.Name)
	}
	if more := len(failures) - len(names); more > 0 {
		l.note("%s more: see --limit", plural(more, "failed Job"))
	}
	return names, nil
}

// printJob prints what the containers of a Job's Pods wrote, in the order in which they began.
func (l *logReader) printJob(ctx context.Context, c client.Reader, core kubernetes.Interface, namespace, name string) error {
	list := &corev1.PodList{}
	if err := c.List(ctx, list, client.InNamespace(namespace), client.MatchingLabels{batchv1.JobNameLabel: name}, client.Limit(maxPodsOfJob)); err != nil {
		return err
	}
	if len(list.Items) == 0 {
		l.note("job.batch/%s has no Pods any more, and so no logs", name)
	}
	if list.Continue != "" {
		l.note("job.batch/%s has more than %d Pods; the others are left out", name, maxPodsOfJob)
	}
	slices.SortStableFunc(list.Items, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	for i := range list.Items {
		pod := &list.Items[i]
		if len(pod.Status.ContainerStatuses) == 0 {
			l.note("pod/%s has not started", pod.Name)
		}
		for _, container := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
			if err := l.printContainer(ctx, core, pod, container); err != nil {
				return err
			}
		}
	}
	return nil
}

// printContainer prints what a container wrote. Only a right that is missing ends the command: the next container may do.
func (l *logReader) printContainer(ctx context.Context, core kubernetes.Interface, pod *corev1.Pod, container corev1.ContainerStatus) error {
	switch waiting := container.State.Waiting; {
	case l.previous && container.RestartCount == 0:
		return nil
	case !l.previous && waiting != nil && container.LastTerminationState.Terminated == nil:
		l.note("container %s of pod/%s has not started: %s", container.Name, pod.Name, waiting.Reason)
		return nil
	}
	options := &corev1.PodLogOptions{Container: container.Name, Previous: l.previous}
	if l.tail >= 0 {
		options.TailLines = &l.tail
	}
	stream, err := core.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, options).Stream(ctx)
	if err == nil {
		defer stream.Close()
		err = l.copyLog(stream, fmt.Sprintf("[%s %s] ", pod.Name, container.Name))
	}
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || ctx.Err() != nil || errors.Is(err, errOutput) {
		return err
	}
	if err != nil {
		l.note("the log of container %s of pod/%s cannot be had: %v", container.Name, pod.Name, err)
	}
	return nil
}

// errOutput is a failure to write, not to read.
var errOutput = errors.New("write the log")

// copyLog prints a log, each line after a prefix.
func (l *logReader) copyLog(log io.Reader, prefix string) error {
	pieces := bufio.NewReaderSize(log, logPiece)
	begins := true
	for {
		piece, err := pieces.ReadSlice('\n')
		if len(piece) > 0 {
			line := l.shown(piece)
			if begins {
				line = l.paint(bold, prefix) + line
			}
			if _, err := io.WriteString(l.Out, line); err != nil {
				return fmt.Errorf("%w: %w", errOutput, err)
			}
			begins = bytes.HasSuffix(piece, []byte("\n"))
		}
		switch {
		case err == nil, errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			err = nil
		}
		if !begins {
			fmt.Fprintln(l.Out)
		}
		return err
	}
}

// shown is a piece of a log as it is printed: on a terminal without what could play tricks on it.
func (l *logReader) shown(piece []byte) string {
	if !l.OutTerminal {
		return string(piece)
	}
	line, ended := strings.CutSuffix(string(piece), "\n")
	line = harmless(printable(strings.TrimSuffix(line, "\r")))
	if ended {
		line += "\n"
	}
	return line
}
