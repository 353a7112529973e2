package cli

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// reasonWidth is how much of a reason in words a table shows.
const reasonWidth = 100

// lister lists bindings.
type lister struct {
	*plugin
	allNamespaces bool
	selector      string
	output        outputFlag
}

func newListCommand(p *plugin) *cobra.Command {
	l := &lister{plugin: p}
	cmd := &cobra.Command{
		Use:               "list",
		Short:             "List bindings, with their backlog and what stops them",
		Example:           "  kubectl queuebinding list\n  kubectl queuebinding list -A",
		Args:              args(0, 0, "no arguments"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().BoolVarP(&l.allNamespaces, "all-namespaces", "A", false, "List the bindings of all namespaces.")
	cmd.Flags().StringVarP(&l.selector, "selector", "l", "", "List only bindings with these labels, such as team=net.")
	l.output = newOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return l.run(cmd) }
	return cmd
}

func (l *lister) run(cmd *cobra.Command) error {
	wanted, err := labels.Parse(l.selector)
	if err != nil {
		return misuse(cmd, fmt.Errorf("--selector: %w", err))
	}
	options := []client.ListOption{client.MatchingLabelsSelector{Selector: wanted}}
	if !l.allNamespaces {
		namespace, err := l.namespace()
		if err != nil {
			return err
		}
		options = append(options, client.InNamespace(namespace))
	}
	c, err := l.client()
	if err != nil {
		return err
	}
	list := &v1alpha1.QueueBindingList{}
	if err := c.List(cmd.Context(), list, options...); err != nil {
		return err
	}
	if l.output.wanted() {
		return l.output.printList(cmd, l.Out, list)
	}
	if len(list.Items) == 0 {
		l.note("there are no bindings here; -A looks in all namespaces")
		return nil
	}
	return l.print(list.Items)
}

func (l *lister) print(bindings []v1alpha1.QueueBinding) error {
	header := []string{"NAME", "STATUS", "ACTIVE", "MAX", "FAILED", "WAITING", "DEAD", "AGE", "STOPPED BY"}
	if l.allNamespaces {
		header = append([]string{"NAMESPACE"}, header...)
	}
	var rows [][]string
	for i := range bindings {
		b := &bindings[i]
		waiting, dead := none, none
		if q := b.Status.Queue; q != nil {
			waiting, dead = fmt.Sprint(q.VisibleMessages), number(q.DeadLetterMessages)
		}
		row := []string{
			b.Name, statusOf(b), number(b.Status.ActiveJobs), number(b.Spec.Concurrency.MaxActiveJobs), number(b.Status.FailedJobs),
			waiting, dead, l.age(b.CreationTimestamp.Time), cmp.Or(oneLine(stoppedBy(b), reasonWidth), none),
		}
		if l.allNamespaces {
			row = append([]string{b.Namespace}, row...)
		}
		rows = append(rows, row)
	}
	return table(l.Out, header, rows)
}

// statusOf is the reason of Ready, as in `kubectl get`.
func statusOf(b *v1alpha1.QueueBinding) string {
	if ready := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		return ready.Reason
	}
	return "Unknown"
}

// stoppedBy says in words why messages do not become Jobs now, or nothing.
func stoppedBy(b *v1alpha1.QueueBinding) string {
	ready := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil:
		return "the operator has not looked at this binding: is it running?"
	case ready.Status != metav1.ConditionTrue, ready.Reason == v1alpha1.ReasonSuspended:
		return ready.Message
	}
	if starting := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionPodsStarting); starting != nil && starting.Status == metav1.ConditionFalse {
		return starting.Message
	}
	if most := b.Spec.Concurrency.MaxActiveJobs; most != nil && ptr.Deref(b.Status.ActiveJobs, 0) >= *most {
		return fmt.Sprintf("maxActiveJobs: all %d are running", *most)
	}
	if most := b.Spec.Concurrency.MaxPendingJobs; most != nil && ptr.Deref(b.Status.PendingJobs, 0) >= *most {
		return fmt.Sprintf("maxPendingJobs: %d wait for room in the cluster", *most)
	}
	return ""
}
