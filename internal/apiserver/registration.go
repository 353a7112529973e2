package apiserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
)

const (
	// localService is the name of the Service that points to this machine.
	localService = "queuebinding-apiserver-local"
	// labelLocal marks what a registration made, so that a crash's leftovers are known from an installation.
	labelLocal = "subresources.queuebinding.dev/local"
	// unregisterTimeout bounds how long removing the registration may delay the end of the process.
	unregisterTimeout = 10 * time.Second
)

// registration registers with the cluster's API server a process outside the cluster, on the same machine. It is removed
// at the end: an APIService that nobody answers for keeps every namespace of the cluster from being deleted.
type registration struct {
	client    client.Client
	namespace string
	port      int
}

// Start registers, waits for the context to end, and removes the registration. It implements manager.Runnable.
func (r *registration) Start(ctx context.Context) error {
	if err := r.register(ctx); err != nil {
		return ignoreCanceled(ctx, err)
	}
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unregisterTimeout)
	defer cancel()
	return r.unregister(ctx)
}

func (r *registration) register(ctx context.Context) error {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: localService}}
	if _, err := controllerutil.CreateOrUpdate(ctx, r.client, service, func() error {
		mark(service)
		service.Spec.Type, service.Spec.ExternalName = corev1.ServiceTypeExternalName, "localhost"
		return nil
	}); err != nil {
		return fmt.Errorf("create Service %s: %w", localService, err)
	}
	apiService := &apiregistrationv1.APIService{ObjectMeta: metav1.ObjectMeta{Name: apiServiceName}}
	if _, err := controllerutil.CreateOrUpdate(ctx, r.client, apiService, func() error {
		if apiService.UID != "" && apiService.Labels[labelLocal] == "" {
			return errors.New("the cluster has one of an installation; run without registering, or delete that one first")
		}
		mark(apiService)
		apiService.Spec.Group, apiService.Spec.Version = subresources.GroupVersion.Group, subresources.GroupVersion.Version
		apiService.Spec.GroupPriorityMinimum, apiService.Spec.VersionPriority = 100, 100
		apiService.Spec.Service = &apiregistrationv1.ServiceReference{Namespace: r.namespace, Name: localService, Port: new(int32(r.port))}
		return nil
	}); err != nil {
		return fmt.Errorf("create APIService %s: %w", apiServiceName, err)
	}
	return nil
}

// mark labels what a registration created.
func mark(object client.Object) {
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[labelLocal] = "true"
	object.SetLabels(labels)
}

// unregister deletes the APIService first: it is what harms.
func (r *registration) unregister(ctx context.Context) error {
	var errs []error
	for _, object := range []client.Object{
		&apiregistrationv1.APIService{ObjectMeta: metav1.ObjectMeta{Name: apiServiceName}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: localService}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: SecretName}},
	} {
		if err := r.client.Delete(ctx, object); client.IgnoreNotFound(err) != nil {
			errs = append(errs, fmt.Errorf("remove the registration of the aggregated API: %w", err))
		}
	}
	return errors.Join(errs...)
}
