package creator

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
	"github.com/queuebinding/queuebinding/internal/job"
)

func TestClassify(t *testing.T) {
	jobs := schema.GroupResource{Group: "batch", Resource: "jobs"}
	forbidden := func(name, text string) error { return apierrors.NewForbidden(jobs, name, errors.New(text)) }
	terminating := apierrors.NewForbidden(jobs, "pings-x", errors.New("unable to create new content in namespace batch because it is being terminated"))
	terminating.ErrStatus.Details.Causes = append(terminating.ErrStatus.Details.Causes, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause})
	policy := func(reason metav1.StatusReason, text string) error {
		err := apierrors.NewForbidden(jobs, "pings-x", errors.New("ValidatingAdmissionPolicy 'p' with binding 'b' denied request: "+text))
		err.ErrStatus.Reason = reason
		return err
	}
	denied := func(code int32) *apierrors.StatusError {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Code: code, Message: `admission webhook "policy.example.com" denied the request: no`}}
	}
	as := func(reason metav1.StatusReason, causes ...metav1.StatusCause) error {
		err := denied(http.StatusConflict)
		err.ErrStatus.Reason, err.ErrStatus.Details = reason, &metav1.StatusDetails{Causes: causes}
		return err
	}
	for name, tc := range map[string]struct {
		err        error
		want       string
		wantReason string
	}{
		"created":                          {nil, "none", ""},
		"exists":                           {apierrors.NewAlreadyExists(jobs, "pings-x"), "exists", ""},
		"invalid":                          {apierrors.NewInvalid(batchv1.SchemeGroupVersion.WithKind("Job").GroupKind(), "pings-x", field.ErrorList{field.Required(field.NewPath("spec"), "")}), "rejection", v1alpha1.RejectedJobInvalid},
		"malformed":                        {apierrors.NewBadRequest("unknown field"), "rejection", v1alpha1.RejectedJobInvalid},
		"too large for the API server":     {apierrors.NewRequestEntityTooLargeError("limit is 3145728"), "rejection", v1alpha1.RejectedTooLarge},
		"too large for etcd":               {apierrors.NewInternalError(errors.New("etcdserver: request is too large")), "rejection", v1alpha1.RejectedTooLarge},
		"webhook denies, 403":              {denied(http.StatusForbidden), "rejection", v1alpha1.RejectedAdmissionDenied},
		"webhook denies, 400":              {denied(http.StatusBadRequest), "rejection", v1alpha1.RejectedAdmissionDenied},
		"webhook denies, 500":              {denied(http.StatusInternalServerError), "rejection", v1alpha1.RejectedAdmissionDenied},
		"webhook denies, as existing":      {as(metav1.StatusReasonAlreadyExists), "rejection", v1alpha1.RejectedAdmissionDenied},
		"webhook denies, as terminating":   {as(metav1.StatusReasonForbidden, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause}), "rejection", v1alpha1.RejectedAdmissionDenied},
		"admission plugin denies":          {forbidden("pings-x", "violates PodSecurity \"restricted:latest\""), "rejection", v1alpha1.RejectedAdmissionDenied},
		"webhook denies and echoes":        {&apierrors.StatusError{ErrStatus: metav1.Status{Code: 500, Message: `admission webhook "policy.example.com" denied the request: failed calling webhook "x": exceeded quota: y`}}, "rejection", v1alpha1.RejectedAdmissionDenied},
		"policy denies, as invalid":        {policy(metav1.StatusReasonInvalid, "no"), "rejection", v1alpha1.RejectedAdmissionDenied},
		"policy denies, as forbidden":      {policy(metav1.StatusReasonForbidden, "no"), "rejection", v1alpha1.RejectedAdmissionDenied},
		"policy denies and echoes quota":   {policy(metav1.StatusReasonForbidden, `exceeded quota: x is forbidden: exceeded quota: y`), "rejection", v1alpha1.RejectedAdmissionDenied},
		"policy denies and echoes RBAC":    {policy(metav1.StatusReasonForbidden, `User "x" cannot create`), "rejection", v1alpha1.RejectedAdmissionDenied},
		"a field echoes a webhook":         {apierrors.NewInvalid(batchv1.SchemeGroupVersion.WithKind("Job").GroupKind(), "pings-x", field.ErrorList{field.Invalid(field.NewPath("spec"), `Internal error occurred: failed calling webhook "x"`, "exceeded quota: y")}), "rejection", v1alpha1.RejectedJobInvalid},
		"an admission plugin echoes":       {forbidden("pings-x", `label "exceeded quota: x" is not allowed: being terminated`), "rejection", v1alpha1.RejectedAdmissionDenied},
		"a webhook's patch does not apply": {apierrors.NewInternalError(errors.New("replace operation does not apply: doc is missing key")), "blocked", v1alpha1.ReasonAPIServerUnavailable},
		"webhook down":                     {apierrors.NewInternalError(errors.New(`failed calling webhook "policy.example.com": connection refused`)), "blocked", v1alpha1.ReasonWebhookUnavailable},
		"quota":                            {forbidden("pings-x", "exceeded quota: jobs, requested: count/jobs.batch=1, used: count/jobs.batch=1, limited: count/jobs.batch=1"), "blocked", v1alpha1.ReasonQuotaExceeded},
		"quota not computed yet":           {forbidden("pings-x", "status unknown for quota: jobs, resources: count/jobs.batch"), "blocked", v1alpha1.ReasonQuotaExceeded},
		"quota changed meanwhile":          {apierrors.NewConflict(schema.GroupResource{Resource: "resourcequotas"}, "jobs", errors.New("the object has been modified")), "blocked", v1alpha1.ReasonAPIServerUnavailable},
		"quota not to be had":              {forbidden("pings-x", "insufficient quota to consume: count/jobs.batch"), "blocked", v1alpha1.ReasonQuotaExceeded},
		"admission not ready yet":          {forbidden("pings-x", "not yet ready to handle request"), "blocked", v1alpha1.ReasonAPIServerUnavailable},
		"RBAC":                             {forbidden("", `User "system:serviceaccount:a:b" cannot create resource "jobs" in API group "batch" in the namespace "batch"`), "blocked", v1alpha1.ReasonForbidden},
		"RBAC for the owner reference":     {forbidden("pings-x", "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on"), "blocked", v1alpha1.ReasonForbidden},
		"credentials expired":              {apierrors.NewUnauthorized("token expired"), "blocked", v1alpha1.ReasonForbidden},
		"namespace terminating":            {terminating, "blocked", v1alpha1.ReasonNamespaceTerminating},
		"namespace gone":                   {apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "batch"), "blocked", v1alpha1.ReasonNamespaceTerminating},
		"too many requests":                {apierrors.NewTooManyRequests("slow down", 1), "blocked", v1alpha1.ReasonAPIServerUnavailable},
		"unavailable":                      {apierrors.NewServiceUnavailable("etcd"), "blocked", v1alpha1.ReasonAPIServerUnavailable},
		"timeout in the API server":        {apierrors.NewTimeoutError("slow", 1), "blocked", v1alpha1.ReasonAPIServerUnavailable},
		"internal error":                   {apierrors.NewInternalError(errors.New("what")), "blocked", v1alpha1.ReasonAPIServerUnavailable},
		"no answer in time":                {context.DeadlineExceeded, "blocked", v1alpha1.ReasonAPIServerUnavailable},
		"connection refused":               {&net.OpError{Op: "dial", Err: errors.New("connection refused")}, "blocked", v1alpha1.ReasonAPIServerUnavailable},
		"an error that nobody thought of":  {errors.New("what"), "blocked", v1alpha1.ReasonAPIServerUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			got, reason := "none", ""
			err := classify(tc.err)
			if rejection, ok := errors.AsType[*job.RejectionError](err); ok {
				got, reason = "rejection", rejection.Reason
			} else if blocked, ok := errors.AsType[*BlockedError](err); ok {
				got, reason = "blocked", blocked.Reason
			} else if apierrors.IsAlreadyExists(err) {
				got = "exists"
			}
			if got != tc.want || reason != tc.wantReason {
				t.Errorf("got %s %s, want %s %s", got, reason, tc.want, tc.wantReason)
			}
		})
	}
}

// A dry run writes nothing, so that it passes while the storage fails: what fails there is no message's.
func TestTheStorageIsNoMessagesFault(t *testing.T) {
	for text, want := range map[string]bool{
		"etcdserver: mvcc: database space exceeded": false,
		"etcdserver: request timed out":             false,
		"replace operation does not apply":          true,
	} {
		blocked, ok := errors.AsType[*BlockedError](classify(apierrors.NewInternalError(errors.New(text))))
		if !ok || blocked.mayBeTheMessages() != want {
			t.Errorf("%s: blocked %t, may be the message's %t, want %t", text, ok, ok && blocked.mayBeTheMessages(), want)
		}
	}
}
