package apiserver

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
)

// bindingREST stands for the bindings themselves, below which the subresources hang. It has no verbs: bindings are read
// and written in their own group.
type bindingREST struct{}

var (
	_ rest.Storage              = bindingREST{}
	_ rest.Scoper               = bindingREST{}
	_ rest.SingularNameProvider = bindingREST{}
)

// New implements rest.Storage. Discovery wants a kind; nobody ever gets an object of it here.
func (bindingREST) New() runtime.Object { return &subresources.Requeue{} }

// Destroy implements rest.Storage.
func (bindingREST) Destroy() {}

// NamespaceScoped implements rest.Scoper.
func (bindingREST) NamespaceScoped() bool { return true }

// GetSingularName implements rest.SingularNameProvider.
func (bindingREST) GetSingularName() string { return "queuebinding" }
