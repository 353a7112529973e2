// Package v1alpha1 holds the kinds that the subresources of a QueueBinding take and answer with. They live in a group of
// their own, because the group version of a custom resource belongs to its definition alone.
//
// +kubebuilder:object:generate=true
// +kubebuilder:skip
// +k8s:openapi-gen=true
// +k8s:openapi-model-package=dev.queuebinding.subresources.v1alpha1
// +groupName=subresources.queuebinding.dev
package v1alpha1
