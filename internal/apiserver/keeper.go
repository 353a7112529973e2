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

// keeper keeps the certificate, on the leader: makes and renews what the Secret holds, and writes the authorities to
// trust into the APIService. It does nothing while there is no APIService.
//
// Why not a library: those for this purpose want the Secret mounted as a volume and restart the process to pick it up.
type keeper struct {
	client    client.Client
	cache     cache.Cache
	namespace string
	clock     clock.PassiveClock
}

func (k *keeper) setupWithManager(mgr ctrl.Manager) error {
	c, err := controller.New("apiserver-certificate", mgr, controller.Options{Reconciler: k})
	if err != nil {
		return err
	}
	// There is one thing to look at, whatever has changed.
	look := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: serviceName}}}
	})
	if err := c.Watch(source.Kind(k.cache, client.Object(&apiregistrationv1.APIService{}), look)); err != nil {
		return err
	}
	return c.Watch(source.Kind(k.cache, client.Object(&corev1.Secret{}), look))
}

// Reconcile implements reconcile.Reconciler.
func (k *keeper) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	service := &apiregistrationv1.APIService{}
	if err := k.client.Get(ctx, client.ObjectKey{Name: serviceName}, service); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if service.DeletionTimestamp != nil || service.Spec.Service == nil {
		return reconcile.Result{}, nil
	}
	host := fmt.Sprintf("%s.%s.svc", service.Spec.Service.Name, service.Spec.Service.Namespace)
	now := k.clock.Now()
	current, next, err := k.renewSecret(ctx, host, now)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !bytes.Equal(service.Spec.CABundle, current.bundle) {
		before := service.DeepCopy()
		service.Spec.CABundle = current.bundle
		if err := k.client.Patch(ctx, service, client.MergeFrom(before)); err != nil {
			return reconcile.Result{}, client.IgnoreNotFound(fmt.Errorf("write the certificate authority into the APIService: %w", err))
		}
	}
	return reconcile.Result{RequeueAfter: max(next.Sub(now), time.Second)}, nil
}

// renewSecret brings the Secret up to date. The resourceVersion keeps a deposed leader's write from undoing a new one's.
func (k *keeper) renewSecret(ctx context.Context, host string, now time.Time) (material, time.Time, error) {
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: k.namespace, Name: SecretName}
	err := k.client.Get(ctx, key, secret)
	if client.IgnoreNotFound(err) != nil {
		return material{}, time.Time{}, fmt.Errorf("read Secret %s: %w", key, err)
	}
	missing := apierrors.IsNotFound(err)
	old := material{
		bundle: secret.Data[keyBundle], authorityKey: secret.Data[keyAuthorityKey],
		certificate: secret.Data[corev1.TLSCertKey], key: secret.Data[corev1.TLSPrivateKeyKey],
	}
	current, next, err := renew(old, host, now)
	if err != nil {
		return material{}, time.Time{}, err
	}
	data := map[string][]byte{
		keyBundle: current.bundle, keyAuthorityKey: current.authorityKey,
		corev1.TLSCertKey: current.certificate, corev1.TLSPrivateKeyKey: current.key,
	}
	if maps.EqualFunc(data, secret.Data, bytes.Equal) {
		return current, next, nil
	}
	secret.Data = data
	if missing {
		secret.Namespace, secret.Name, secret.Type = key.Namespace, key.Name, corev1.SecretTypeTLS
		err = k.client.Create(ctx, secret)
	} else {
		err = k.client.Update(ctx, secret)
	}
	if err != nil {
		return material{}, time.Time{}, fmt.Errorf("write Secret %s: %w", key, err)
	}
	ctrl.LoggerFrom(ctx).Info("Renewed the certificate of the aggregated API", "host", host, "next", next)
	return current, next, nil
}
