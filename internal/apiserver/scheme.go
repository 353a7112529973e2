package apiserver

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
)

var (
	scheme = runtime.NewScheme()
	codecs = serializer.NewCodecFactory(scheme)
)

func init() {
	utilruntime.Must(subresources.AddToScheme(scheme))
	// The API machinery decodes into the internal version. Ours is no other than the one that is served.
	scheme.AddKnownTypes(schema.GroupVersion{Group: subresources.GroupVersion.Group, Version: runtime.APIVersionInternal}, &subresources.Requeue{})
	// Options and errors are of the group without a name.
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
}
