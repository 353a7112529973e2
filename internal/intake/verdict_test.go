package intake

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

func TestJudge(t *testing.T) {
	jobs := schema.GroupResource{Group: "batch", Resource: "jobs"}
	forbidden := func(name, text string) error { return apierrors.NewForbidden(jobs, name, errors.New(text)) }
	terminating := apierrors.NewForbidden(jobs, "pings-x", errors.New("unable to create new content in namespace batch because it is being terminated"))
	terminating.ErrStatus.Details.Causes = append(terminating.ErrStatus.Details.Causes, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause})
	denied := func(code int32) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Code: code, Message: `admission webhook "policy.example.com" denied the request: no`}}
	}
	for name, tc := range map[string]struct {
		err        error
		want       Action
		wantReason string
	}{
		"created":                         {nil, Acknowledge, ""},
		"exists":                          {apierrors.NewAlreadyExists(jobs, "pings-x"), Verify, ""},
		"invalid":                         {apierrors.NewInvalid(batchv1.SchemeGroupVersion.WithKind("Job").GroupKind(), "pings-x", field.ErrorList{field.Required(field.NewPath("spec"), "")}), Reject, v1alpha1.RejectedJobInvalid},
		"malformed":                       {apierrors.NewBadRequest("unknown field"), Reject, v1alpha1.RejectedJobInvalid},
		"too large for the API server":    {apierrors.NewRequestEntityTooLargeError("limit is 3145728"), Reject, v1alpha1.RejectedTooLarge},
		"too large for etcd":              {apierrors.NewInternalError(errors.New("etcdserver: request is too large")), Reject, v1alpha1.RejectedTooLarge},
		"webhook denies, 403":             {denied(http.StatusForbidden), Reject, v1alpha1.RejectedAdmissionDenied},
		"webhook denies, 400":             {denied(http.StatusBadRequest), Reject, v1alpha1.RejectedAdmissionDenied},
		"webhook denies, 500":             {denied(http.StatusInternalServerError), Reject, v1alpha1.RejectedAdmissionDenied},
		"admission plugin denies":         {forbidden("pings-x", "violates PodSecurity \"restricted:latest\""), Reject, v1alpha1.RejectedAdmissionDenied},
		"webhook down":                    {apierrors.NewInternalError(errors.New(`failed calling webhook "policy.example.com": connection refused`)), Hold, v1alpha1.ReasonWebhookUnavailable},
		"quota":                           {forbidden("pings-x", "exceeded quota: jobs, requested: count/jobs.batch=1, used: count/jobs.batch=1, limited: count/jobs.batch=1"), Hold, v1alpha1.ReasonQuotaExceeded},
		"quota not computed yet":          {forbidden("pings-x", "status unknown for quota: jobs, resources: count/jobs.batch"), Hold, v1alpha1.ReasonQuotaExceeded},
		"quota changed meanwhile":         {apierrors.NewConflict(schema.GroupResource{Resource: "resourcequotas"}, "jobs", errors.New("the object has been modified")), Hold, v1alpha1.ReasonAPIServerUnavailable},
		"quota not to be had":             {forbidden("pings-x", "insufficient quota to consume: count/jobs.batch"), Hold, v1alpha1.ReasonQuotaExceeded},
		"admission not ready yet":         {forbidden("pings-x", "not yet ready to handle request"), Hold, v1alpha1.ReasonAPIServerUnavailable},
		"RBAC":                            {forbidden("", `User "system:serviceaccount:a:b" cannot create resource "jobs" in API group "batch" in the namespace "batch"`), Hold, v1alpha1.ReasonForbidden},
		"RBAC for the owner reference":    {forbidden("pings-x", "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on"), Hold, v1alpha1.ReasonForbidden},
		"credentials expired":             {apierrors.NewUnauthorized("token expired"), Hold, v1alpha1.ReasonForbidden},
		"namespace terminating":           {terminating, Hold, v1alpha1.ReasonNamespaceTerminating},
		"namespace gone":                  {apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "batch"), Hold, v1alpha1.ReasonNamespaceTerminating},
		"too many requests":               {apierrors.NewTooManyRequests("slow down", 1), Hold, v1alpha1.ReasonAPIServerUnavailable},
		"unavailable":                     {apierrors.NewServiceUnavailable("etcd"), Hold, v1alpha1.ReasonAPIServerUnavailable},
		"timeout in the API server":       {apierrors.NewTimeoutError("slow", 1), Hold, v1alpha1.ReasonAPIServerUnavailable},
		"internal error":                  {apierrors.NewInternalError(errors.New("what")), Hold, v1alpha1.ReasonAPIServerUnavailable},
		"no answer in time":               {context.DeadlineExceeded, Hold, v1alpha1.ReasonAPIServerUnavailable},
		"connection refused":              {&net.OpError{Op: "dial", Err: errors.New("connection refused")}, Hold, v1alpha1.ReasonAPIServerUnavailable},
		"an error that nobody thought of": {errors.New("what"), Hold, v1alpha1.ReasonAPIServerUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Judge(tc.err); got.Action != tc.want || got.Reason != tc.wantReason {
				t.Errorf("got %+v, want %v %s", got, tc.want, tc.wantReason)
			}
		})
	}
}
