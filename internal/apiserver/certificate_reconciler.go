package apiserver

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// certificateReconciler rotates the key pairs in the Secret, on the leader, and writes the authorities to trust into the
// APIService. It does nothing while there is no APIService. When its own Namespace is deleted it deletes the APIService: one that
// nobody answers for keeps every namespace of the cluster from being deleted, this one included. Kubernetes leaves the contents of a
// Namespace alone for the first five seconds, which is time enough.
//
// Why not a library: those for this purpose want the Secret mounted as a volume and restart the process to pick it up.
type certificateReconciler struct {
	client    client.Client
	cache     cache.Cache
	namespace string
	clock     clock.PassiveClock
}

func (r *certificateReconciler) setupWithManager(mgr ctrl.Manager) error {
	c, err := controller.New("apiserver-certificate", mgr, controller.Options{Reconciler: r})
	if err != nil {
		return err
	}
	// There is one thing to reconcile, whatever has changed.
	enqueue := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: apiServiceName}}}
	})
	if err := c.Watch(source.Kind(r.cache, client.Object(&apiregistrationv1.APIService{}), enqueue)); err != nil {
		return err
	}
	if err := c.Watch(source.Kind(r.cache, client.Object(&corev1.Namespace{}), enqueue)); err != nil {
		return err
	}
	return c.Watch(source.Kind(r.cache, client.Object(&corev1.Secret{}), enqueue))
}

// Reconcile implements reconcile.Reconciler.
func (r *certificateReconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	service := &apiregistrationv1.APIService{}
	if err := r.client.Get(ctx, client.ObjectKey{Name: apiServiceName}, service); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if service.DeletionTimestamp != nil || service.Spec.Service == nil {
		return reconcile.Result{}, nil
	}
	if going, err := r.namespaceGoes(ctx); err != nil {
		return reconcile.Result{}, err
	} else if going && service.Spec.Service.Namespace == r.namespace {
		if err := r.client.Delete(ctx, service, client.Preconditions{UID: &service.UID}); err != nil {
			return reconcile.Result{}, client.IgnoreNotFound(fmt.Errorf("delete the APIService with its namespace: %w", err))
		}
		ctrl.LoggerFrom(ctx).Info("Deleted the APIService, as the namespace of this process is being deleted")
		return reconcile.Result{}, nil
	}
	host := fmt.Sprintf("%s.%s.svc", service.Spec.Service.Name, service.Spec.Service.Namespace)
	now := r.clock.Now()
	current, next, err := r.rotateSecret(ctx, host, now)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !bytes.Equal(service.Spec.CABundle, current.caBundle) {
		before := service.DeepCopy()
		service.Spec.CABundle = current.caBundle
		if err := r.client.Patch(ctx, service, client.MergeFrom(before)); err != nil {
			return reconcile.Result{}, client.IgnoreNotFound(fmt.Errorf("write the certificate authority into the APIService: %w", err))
		}
	}
	return reconcile.Result{RequeueAfter: max(next.Sub(now), time.Second)}, nil
}

// namespaceGoes reports whether the process's own Namespace is being deleted.
func (r *certificateReconciler) namespaceGoes(ctx context.Context) (bool, error) {
	namespace := &corev1.Namespace{}
	if err := r.cache.Get(ctx, client.ObjectKey{Name: r.namespace}, namespace); err != nil {
		return false, client.IgnoreNotFound(fmt.Errorf("read Namespace %s: %w", r.namespace, err))
	}
	return namespace.DeletionTimestamp != nil, nil
}

// rotateSecret brings the Secret up to date. The resourceVersion keeps a deposed leader's write from undoing a new one's.
func (r *certificateReconciler) rotateSecret(ctx context.Context, host string, now time.Time) (keyPairs, time.Time, error) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: r.namespace, Name: SecretName}
	err := r.client.Get(ctx, key, secret)
	if client.IgnoreNotFound(err) != nil {
		return keyPairs{}, time.Time{}, fmt.Errorf("read Secret %s: %w", key, err)
	}
	missing := apierrors.IsNotFound(err)
	old := keyPairs{
		caBundle: secret.Data[caBundleKey], caKey: secret.Data[caPrivateKeyKey],
		servingCert: secret.Data[corev1.TLSCertKey], servingKey: secret.Data[corev1.TLSPrivateKeyKey],
	}
	current, next, err := rotate(old, host, now)
	if err != nil {
		return keyPairs{}, time.Time{}, err
	}
	data := map[string][]byte{
		caBundleKey: current.caBundle, caPrivateKeyKey: current.caKey,
		corev1.TLSCertKey: current.servingCert, corev1.TLSPrivateKeyKey: current.servingKey,
	}
	if maps.EqualFunc(data, secret.Data, bytes.Equal) {
		return current, next, nil
	}
	secret.Data = data
	if missing {
		secret.Namespace, secret.Name, secret.Type = key.Namespace, key.Name, corev1.SecretTypeTLS
		err = r.client.Create(ctx, secret)
	} else {
		err = r.client.Update(ctx, secret)
	}
	if err != nil {
		return keyPairs{}, time.Time{}, fmt.Errorf("write Secret %s: %w", key, err)
	}
	ctrl.LoggerFrom(ctx).Info("Rotated the certificate of the aggregated API", "host", host, "next", next)
	return current, next, nil
}
