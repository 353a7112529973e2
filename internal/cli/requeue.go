package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// maxRefusalsShown is how many refusals are told one by one.
const maxRefusalsShown = 20

// requeuer puts failed Jobs back on the queue.
type requeuer struct {
	*plugin
	all      bool
	reasons  []string
	selector string
	dryRun   bool
	annotate bool
	wait     bool
	timeout  time.Duration
	output   outputFlag
}

func newRequeueCommand(p *plugin) *cobra.Command {
	o := &requeuer{plugin: p}
	cmd := &cobra.Command{
		Use:   "requeue NAME JOB… | --all | --reason REASON | --selector LABELS",
		Short: "Put the messages of failed Jobs back on the queue",
		Long: `Put the messages of failed Jobs back on the queue. Each becomes a new Job; the
failed one goes once that exists, so that nothing is lost on the way.

This asks the requeue subresource, for which the ClusterRole
queuebinding-requeuer is enough. Where the cluster does not serve it, the
annotation queuebinding.dev/requeue is written instead, which needs a right to
patch the binding.`,
		Example: `  kubectl queuebinding requeue pings pings-5k2vq7xw3hna
  kubectl queuebinding requeue pings --all --wait
  kubectl queuebinding requeue pings --reason DeadlineExceeded --dry-run`,
		Args:              args(1, -1, "the name of a binding, and names of Jobs unless a flag selects them"),
		ValidArgsFunction: completion{p}.bindingAndJobs,
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.all, "all", false, "Requeue all Jobs that have failed by now.")
	flags.StringSliceVar(&o.reasons, "reason", nil, "Requeue Jobs that failed for this reason, such as DeadlineExceeded. May be given again.")
	flags.StringVarP(&o.selector, "selector", "l", "", "Requeue failed Jobs with these labels, such as team=net. With --reason, both must hold.")
	flags.BoolVar(&o.dryRun, "dry-run", false, "Only tell which Jobs would be requeued.")
	flags.BoolVar(&o.annotate, "annotate", false, "Write the annotation even where the subresource is served.")
	flags.BoolVar(&o.wait, "wait", false, "Wait until all that was accepted is back on the queue.")
	flags.DurationVar(&o.timeout, "timeout", 5*time.Minute, "How long to wait.")
	o.output = newOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0], args[1:]) }
	return cmd
}

// spec returns what the command line asks for.
func (o *requeuer) spec(cmd *cobra.Command, jobs []string) (subresources.RequeueSpec, error) {
	spec := subresources.RequeueSpec{All: o.all, Reasons: o.reasons}
	for _, name := range jobs {
		name = strings.TrimPrefix(strings.TrimPrefix(name, "job.batch/"), "job/") // as `-o name` prints it
		if !slices.Contains(spec.JobNames, name) {
			spec.JobNames = append(spec.JobNames, name)
		}
	}
	if o.selector != "" {
		selector, err := metav1.ParseToLabelSelector(o.selector)
		if err != nil {
			return spec, misuse(cmd, fmt.Errorf("--selector: %w", err))
		}
		spec.LabelSelector = selector
	}
	ways := 0
	for _, given := range []bool{len(jobs) > 0, o.all, len(o.reasons) > 0 || o.selector != ""} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return spec, misuse(cmd, errors.New("exactly one is needed of: names of Jobs, --all, or --reason and --selector"))
	}
	if len(spec.JobNames) > subresources.MaxJobNames {
		return spec, misuse(cmd, fmt.Errorf("%d names; at most %d can be asked for at a time, or --all", len(spec.JobNames), subresources.MaxJobNames))
	}
	return spec, nil
}

func (o *requeuer) run(cmd *cobra.Command, name string, jobs []string) error {
	ctx := cmd.Context()
	spec, err := o.spec(cmd, jobs)
	if err != nil {
		return err
	}
	namespace, err := o.namespace()
	if err != nil {
		return err
	}
	c, err := o.client()
	if err != nil {
		return err
	}
	request := &subresources.Requeue{Spec: spec}
	request.Namespace, request.Name = namespace, name
	request.SetGroupVersionKind(subresources.GroupVersion.WithKind("Requeue"))

	answer, err := o.ask(ctx, c, request)
	if err != nil {
		return err
	}
	if err := o.print(cmd, answer); err != nil {
		return err
	}
	if o.all {
		if err := o.noteRedrive(ctx, c, answer); err != nil {
			return err
		}
	}
	if o.wait && !o.dryRun && len(answer.Status.Accepted) > 0 {
		if err := o.await(ctx, c, answer); err != nil {
			return err
		}
	}
	if len(answer.Status.Refused) > 0 {
		return &failure{code: codeRefused}
	}
	return nil
}

// ask asks the subresource, or writes the annotation.
func (o *requeuer) ask(ctx context.Context, c client.Client, request *subresources.Requeue) (*subresources.Requeue, error) {
	if !o.annotate {
		d, err := o.dynamic()
		if err != nil {
			return nil, err
		}
		answer, err := post(ctx, d, request, o.dryRun)
		switch {
		case err == nil:
			return answer, nil
		case isAbsent(err):
			o.note("this cluster does not serve the requeue subresource; the annotation %s is used instead", v1alpha1.AnnotationRequeue)
		case apierrors.IsServiceUnavailable(err):
			return nil, &failure{code: codeError, err: fmt.Errorf("the requeue subresource does not answer: %w", err),
				next: "see `kubectl get apiservice v1alpha1.subresources.queuebinding.dev`, or use --annotate to go without it"}
		default:
			return nil, err
		}
	}
	return annotate(ctx, c, request, o.dryRun)
}

// noteRedrive tells what a requeue of all does beside the Jobs that it names.
func (o *requeuer) noteRedrive(ctx context.Context, c client.Reader, answer *subresources.Requeue) error {
	binding := &v1alpha1.QueueBinding{}
	if err := c.Get(ctx, client.ObjectKeyFromObject(answer), binding); err != nil {
		return err
	}
	switch {
	case binding.Spec.Acknowledge == v1alpha1.AcknowledgeOnJobSucceeded:
		o.note("failed work is on the queue or in its dead-letter queue: SQS is asked to move the messages of the latter back")
	case len(answer.Status.Accepted) == 0:
		o.note("no failed Job matches, or all are on their way back already")
	}
	return nil
}

func (o *requeuer) print(cmd *cobra.Command, answer *subresources.Requeue) error {
	if o.output.wanted() {
		if *o.output.OutputFormat != "name" {
			return o.output.print(cmd, o.Out, answer)
		}
		// The names that matter here are the Jobs'.
		for _, name := range answer.Status.Accepted {
			each := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name}}
			if err := o.output.print(cmd, o.Out, each); err != nil {
				return err
			}
		}
		return nil
	}
	done := "to be requeued"
	if o.dryRun {
		done = "would be requeued"
	}
	for _, name := range answer.Status.Accepted {
		fmt.Fprintf(o.Out, "job.batch/%s %s\n", printable(name), done)
	}
	for i, refusal := range answer.Status.Refused {
		if i == maxRefusalsShown {
			fmt.Fprintf(o.ErrOut, "and %d more refused; -o yaml names them\n", len(answer.Status.Refused)-i)
			break
		}
		fmt.Fprintf(o.ErrOut, "%s job.batch/%s: %s (%s)\n", o.paint(red, "refused"), printable(refusal.JobName), printable(refusal.Message), printable(refusal.Reason))
	}
	if len(answer.Status.Accepted)+len(answer.Status.Refused) == 0 && !o.all {
		o.note("no failed Job matches, or all are on their way back already")
	}
	return nil
}
