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

// Completion only helps: where the cluster does not answer it offers nothing.

// completeBinding offers the names of bindings for the first argument.
func (p *plugin) completeBinding(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.names(cmd, v1alpha1.GroupVersion.WithKind("QueueBinding"), prefix, nil)
}

// completeBindingAndJobs offers a binding's name, then names of its Jobs.
func (p *plugin) completeBindingAndJobs(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return p.completeBinding(cmd, args, prefix)
	}
	return p.names(cmd, batchv1.SchemeGroupVersion.WithKind("Job"), prefix, client.MatchingLabels{v1alpha1.LabelBinding: args[0]})
}

// completeJob offers names of Jobs that belong to bindings.
func (p *plugin) completeJob(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.names(cmd, batchv1.SchemeGroupVersion.WithKind("Job"), prefix, client.HasLabels{v1alpha1.LabelBinding})
}

func (p *plugin) completeNamespaces(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return p.names(cmd, corev1.SchemeGroupVersion.WithKind("Namespace"), prefix, nil)
}

func (p *plugin) names(cmd *cobra.Command, kind schema.GroupVersionKind, prefix string, option client.ListOption) ([]string, cobra.ShellCompDirective) {
	namespace, err := p.namespace()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := p.client()
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
	if err := c.List(cmd.Context(), list, options...); err != nil {
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
