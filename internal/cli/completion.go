package cli

import (
	"strings"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// completion offers names in the shell. It only helps: where the cluster does not answer it offers nothing.
type completion struct{ *plugin }

// binding offers the names of bindings for the first argument.
func (c completion) binding(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.names(cmd, v1alpha1.GroupVersion.WithKind("QueueBinding"), prefix, nil)
}

// bindingAndJobs offers a binding's name, then names of its Jobs.
func (c completion) bindingAndJobs(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return c.binding(cmd, args, prefix)
	}
	return c.names(cmd, batchv1.SchemeGroupVersion.WithKind("Job"), prefix, client.MatchingLabels{v1alpha1.LabelBinding: args[0]})
}

// jobOfBinding offers names of the Jobs of the binding that is the first argument.
func (c completion) jobOfBinding(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return c.job(cmd, nil, prefix)
	}
	return c.bindingAndJobs(cmd, args, prefix)
}

// job offers names of Jobs that belong to bindings.
func (c completion) job(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.names(cmd, batchv1.SchemeGroupVersion.WithKind("Job"), prefix, client.HasLabels{v1alpha1.LabelBinding})
}

func (c completion) namespaces(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return c.names(cmd, corev1.SchemeGroupVersion.WithKind("Namespace"), prefix, nil)
}

func (c completion) names(cmd *cobra.Command, kind schema.GroupVersionKind, prefix string, option client.ListOption) ([]string, cobra.ShellCompDirective) {
	namespace, err := c.namespace()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	reader, err := c.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var options []client.ListOption
	if kind.Kind != "Namespace" {
		options = append(options, client.InNamespace(namespace))
	}
	if option != nil {
		options = append(options, option)
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	if err := reader.List(cmd.Context(), list, options...); err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, item := range list.Items {
		if strings.HasPrefix(item.Name, prefix) {
			names = append(names, item.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
