package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// watcher shows a binding live.
type watcher struct{ *plugin }

func newWatchCommand(p *plugin) *cobra.Command {
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "watch NAME",
		Short: "Follow a binding live: backlog, Jobs, rates, failures",
		Long: `Follow a binding live: its backlog, active Jobs against their limit, how fast
Jobs start and the backlog shrinks, failures, and when the queue will be empty
if it goes on like this. Ends with Ctrl-C, or when the binding is deleted.

On a terminal one view is kept up to date, with the last forty looks as lines of
blocks where it has colours and its locale is UTF-8; in a pipe each look is a
line. The operator asks SQS for its numbers every ten seconds.`,
		Example:           "  kubectl queuebinding watch pings",
		Args:              args(1, 1, "the name of a binding"),
		ValidArgsFunction: completion{p}.binding,
	}
	cmd.Flags().DurationVar(&interval, "interval", 2*time.Second, "How often to look.")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if interval < 100*time.Millisecond {
			return misuse(cmd, fmt.Errorf("--interval must be at least 100ms"))
		}
		c, binding, err := p.binding(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return watcher{p}.watch(cmd.Context(), c, binding, interval)
	}
	return cmd
}

// watch shows a binding until the context ends or the binding is gone.
func (w watcher) watch(ctx context.Context, c client.WithWatch, binding *v1alpha1.QueueBinding, interval time.Duration) error {
	jobs := &metav1.PartialObjectMetadataList{} // Jobs whole are large
	jobs.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("JobList"))
	here := []client.ListOption{client.InNamespace(binding.Namespace), client.MatchingLabels{v1alpha1.LabelBinding: binding.Name}}
	if err := c.List(ctx, jobs, here...); err != nil {
		return err
	}
	var pace pace
	var stream apiwatch.Interface
	defer func() {
		if stream != nil {
			stream.Stop()
		}
	}()
	version := jobs.ResourceVersion
	ticker := w.Clock.NewTicker(interval)
	defer ticker.Stop()
	for {
		if stream == nil {
			var err error
			options := append(slices.Clip(here), &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}})
			if stream, err = c.Watch(ctx, jobs, options...); err != nil {
				return err
			}
		}
		current := &v1alpha1.QueueBinding{}
		if err := c.Get(ctx, client.ObjectKeyFromObject(binding), current); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		w.show(current, pace.look(w.Clock.Now(), current), pace.history)
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return nil // Ctrl-C is how this ends
			case <-ticker.C():
				waiting = false
			case e, ok := <-stream.ResultChan():
				switch {
				case !ok, e.Type == apiwatch.Error:
					// The API server ends watches now and then. A rate that misses some Jobs is better than no view.
					stream.Stop()
					stream, version, waiting = nil, "", false
				case e.Type == apiwatch.Added:
					pace.started++
				}
			}
		}
	}
}

// paceWindow is the time over which rates are taken.
const paceWindow = time.Minute

// pace is how fast things go.
type pace struct {
	started int // Jobs that came since the watch began
	looks   []look
	// history are the last looks, the newest last, and history[0] is what the second is compared with.
	history []look
}

type look struct {
	at      time.Time
	started int
	backlog int64
	active  int32
	failed  int32
}

// historyLength is how many looks a sparkline has.
const historyLength = 40

// rates are per second; they are not known at the first look.
type rates struct {
	known   bool
	started float64
	drained float64
	empty   time.Duration // until the queue is empty; 0 where it does not shrink
}

// look notes the numbers of now and says how they moved over the window.
func (p *pace) look(now time.Time, binding *v1alpha1.QueueBinding) rates {
	current := look{
		at: now, started: p.started, backlog: backlogOf(binding),
		active: ptr.Deref(binding.Status.ActiveJobs, 0), failed: ptr.Deref(binding.Status.FailedJobs, 0),
	}
	if p.history = append(p.history, current); len(p.history) > historyLength+1 {
		p.history = p.history[1:]
	}
	for len(p.looks) > 1 && now.Sub(p.looks[0].at) > paceWindow {
		p.looks = p.looks[1:]
	}
	p.looks = append(p.looks, current)
	first := p.looks[0]
	seconds := now.Sub(first.at).Seconds()
	if seconds <= 0 {
		return rates{}
	}
	r := rates{
		known:   true,
		started: float64(current.started-first.started) / seconds,
		drained: float64(first.backlog-current.backlog) / seconds,
	}
	if r.drained > 0 {
		r.empty = time.Duration(float64(current.backlog) / r.drained * float64(time.Second))
	}
	return r
}

// backlogOf is how many messages are yet to become Jobs.
func backlogOf(binding *v1alpha1.QueueBinding) int64 {
	if q := binding.Status.Queue; q != nil {
		return q.VisibleMessages + q.DelayedMessages
	}
	return 0
}

func (w watcher) show(b *v1alpha1.QueueBinding, r rates, history []look) {
	started, drained, empty := none, none, none
	if r.known {
		started, drained = fmt.Sprintf("%.1f/s", r.started), fmt.Sprintf("%+.1f/s", 0-r.drained)
	}
	if r.empty > 0 {
		empty = r.empty.Round(time.Second).String()
	}
	active := fmt.Sprintf("%s/%s", number(b.Status.ActiveJobs), number(b.Spec.Concurrency.MaxActiveJobs))
	if !w.OutTerminal {
		fmt.Fprintf(w.Out, "%s status=%s backlog=%d active=%s pending=%s failed=%s started=%s backlog-change=%s empty-in=%s pods-starting=%s\n",
			w.Clock.Now().UTC().Format(time.RFC3339), statusOf(b), backlogOf(b), active,
			number(b.Status.PendingJobs), number(b.Status.FailedJobs), started, drained, empty, podsOf(b))
		return
	}
	var view strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&view, "%-18s%s\x1b[K\n", label, fmt.Sprintf(format, args...))
	}
	status := w.paint(green, statusOf(b))
	if why := stoppedBy(b); why != "" {
		status = w.paint(yellow, statusOf(b)) + "  " + oneLine(why, reasonWidth)
	}
	line(w.paint(bold, b.Namespace+"/"+b.Name), "")
	line("Status", "%s", status)
	if pods := podsOf(b); pods != none && pods != v1alpha1.ReasonPodsStart {
		line("Pods", "%s", w.paint(yellow, pods))
	}
	line("Backlog", "%-22s%s", fmt.Sprintf("%d  (%s)", backlogOf(b), drained), w.spark(history, func(_, l look) int64 { return l.backlog }))
	line("Active", "%s %-11s%s", bar(ptr.Deref(b.Status.ActiveJobs, 0), ptr.Deref(b.Spec.Concurrency.MaxActiveJobs, 0)), active,
		w.spark(history, func(_, l look) int64 { return int64(l.active) }))
	line("Pending", "%s", number(b.Status.PendingJobs))
	line("Started", "%-22s%s", started, w.spark(history, func(before, l look) int64 { return int64(l.started - before.started) }))
	line("Last created", "%s", ago(w.ageOf(b.Status.LastJobCreationTime)))
	line("Empty in", "%s", empty)
	failed := fmt.Sprintf("%-22s", number(b.Status.FailedJobs))
	if ptr.Deref(b.Status.FailedJobs, 0) > 0 {
		failed = w.paint(red, failed)
	}
	line("Failed", "%s%s", failed, w.spark(history, func(before, l look) int64 { return max(0, int64(l.failed-before.failed)) }))
	for _, f := range b.Status.RecentFailures[:min(len(b.Status.RecentFailures), maxDescribed)] {
		line("", "%s  %s ago  %s", f.JobName, w.age(f.FinishTime.Time), oneLine(f.Reason+endOf(f.Container), reasonWidth))
	}
	// From the top left corner, and what is below of an earlier view goes.
	fmt.Fprint(w.Out, "\x1b[H", view.String(), "\x1b[J")
}

// podsOf is the reason of PodsStarting, where the operator has looked.
func podsOf(b *v1alpha1.QueueBinding) string {
	if starting := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionPodsStarting); starting != nil {
		return starting.Reason
	}
	return none
}

// endOf is how a container ended, in a few words.
func endOf(end *v1alpha1.ContainerEnd) string {
	switch {
	case end == nil:
		return ""
	case end.ExitCode == nil:
		return ", " + end.Reason
	case end.Reason == "" || end.Reason == "Error": // as with every exit code but 0
		return fmt.Sprintf(", exit code %d", *end.ExitCode)
	}
	return fmt.Sprintf(", exit code %d (%s)", *end.ExitCode, end.Reason)
}

// ago says an age that is known as a time before now.
func ago(age string) string {
	if age == none {
		return none
	}
	return age + " ago"
}

// spark draws how a number went from look to look, as blocks between 0 and the highest, which it names. value is told of the look before too.
func (w watcher) spark(history []look, value func(before, at look) int64) string {
	if !w.Blocks || len(history) < 2 {
		return ""
	}
	levels := []rune("▁▂▃▄▅▆▇█")
	var values []int64
	for i, at := range history[1:] {
		values = append(values, max(0, value(history[i], at)))
	}
	highest := slices.Max(values)
	var line strings.Builder
	for _, v := range values {
		level := 0
		if highest > 0 {
			level = int((float64(v)*float64(len(levels)-1))/float64(highest) + 0.5)
		}
		line.WriteRune(levels[level])
	}
	return fmt.Sprintf("%s  up to %d", w.paint(green, line.String()), highest)
}

// bar is how much of a limit is used.
func bar(n, limit int32) string {
	if limit <= 0 {
		return ""
	}
	full := int(min(int64(n)*barWidth/int64(limit), barWidth))
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", barWidth-full) + "]"
}
