package creator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// secret is what a message holds.
const secret = "hunter2"

// Whatever the API server, a webhook or a policy answers, and quotes of the message: what becomes of the answer tells an owner what
// to mend, and quotes nothing.
func TestNoAnswerQuotesTheMessage(t *testing.T) {
	job := batchv1.SchemeGroupVersion.WithKind("Job").GroupKind()
	jobs := schema.GroupResource{Group: "batch", Resource: "jobs"}
	path := field.NewPath("spec", "template", "spec", "containers").Index(0).Child("env").Index(0).Child("value")
	status := func(code int32, text string, causes ...metav1.StatusCause) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: code, Reason: metav1.StatusReason(secret), Message: text, Details: &metav1.StatusDetails{Causes: causes},
		}}
	}
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"invalid value": {
			apierrors.NewInvalid(job, "pings-x", field.ErrorList{field.Invalid(path, secret, secret+" is not allowed"), field.Required(path.Child("x"), secret)}),
			"the API server found the object invalid: spec.template.spec.containers[0].env[0].value: invalid value; spec.template.spec.containers[0].env[0].value.x: required value",
		},
		"many fields": {
			apierrors.NewInvalid(job, "pings-x", field.ErrorList{
				field.TooLong(path, secret, 1), field.Duplicate(path, secret), field.NotSupported(path, secret, []string{secret}), field.Forbidden(path, secret),
				field.NotFound(path, secret), field.TooMany(path, 2, 1), field.TypeInvalid(path, secret, secret),
			}), "forbidden; spec.template.spec.containers[0].env[0].value: not found; and 2 more",
		},
		"a field that is none": {
			&apierrors.StatusError{ErrStatus: metav1.Status{Code: 422, Reason: metav1.StatusReasonInvalid, Message: secret, Details: &metav1.StatusDetails{
				Causes: []metav1.StatusCause{{Type: metav1.CauseType(secret), Field: "metadata." + secret + " \x1b", Message: secret}}}}},
			"a field: refused",
		},
		"bad request":     {apierrors.NewBadRequest(`Job in version "v1" cannot be handled as a Job: ` + secret), "the API server answered 400 Bad Request"},
		"too large":       {apierrors.NewRequestEntityTooLargeError("limit is 3, " + secret), "413 Request Entity Too Large"},
		"too large, etcd": {apierrors.NewInternalError(errors.New("etcdserver: request is too large")), "500 Internal Server Error: request is too large"},
		"webhook denies": {
			status(400, `admission webhook "policy.example.com" denied the request: `+secret, metav1.StatusCause{Message: secret, Field: secret}),
			`admission webhook "policy.example.com" denied the request (400 Bad Request)`,
		},
		"webhook denies as terminating": {
			status(403, `admission webhook "policy.example.com" denied the request: `+secret, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause, Message: secret}),
			`admission webhook "policy.example.com" denied the request`,
		},
		"webhook of no name denies": {status(403, `admission webhook "`+secret+` " denied the request`), "an admission webhook or policy denied the request"},
		"policy denies": {
			apierrors.NewForbidden(jobs, "pings-x", errors.New("ValidatingAdmissionPolicy 'no-root' with binding 'all' denied request: "+secret)),
			`ValidatingAdmissionPolicy "no-root" with binding "all" denied the request (403 Forbidden)`,
		},
		"policy denies as invalid": {
			status(422, `jobs.batch "pings-x" is forbidden: ValidatingAdmissionPolicy 'no-root' with binding 'all' denied request: `+secret, metav1.StatusCause{Message: secret}),
			`ValidatingAdmissionPolicy "no-root" with binding "all" denied the request (422 Unprocessable Entity)`,
		},
		"another policy denies":   {apierrors.NewForbidden(jobs, "pings-x", errors.New(`policy "no-root" denied request: `+secret)), `policy "no-root" denied the request`},
		"admission plugin denies": {apierrors.NewForbidden(jobs, "pings-x", errors.New("violates: "+secret)), "an admission plugin of the API server denied the request (403 Forbidden)"},
		"webhook down": {
			apierrors.NewInternalError(errors.New(`failed calling webhook "policy.example.com": Post "https://x": connection refused`)),
			`webhook "policy.example.com" could not be called: connection refused`,
		},
		"webhook answers strangely": {
			apierrors.NewInternalError(errors.New(`failed calling webhook "policy.example.com": an error on the server ("` + secret + `") has prevented the request from succeeding`)),
			`webhook "policy.example.com" could not be called`,
		},
		"patch does not apply":  {apierrors.NewInternalError(errors.New("replace operation does not apply: " + secret)), "500 Internal Server Error: operation does not apply"},
		"internal error":        {apierrors.NewInternalError(errors.New(secret)), "the API server answered 500 Internal Server Error"},
		"namespace terminating": {status(403, secret, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause, Message: secret}), "the namespace is being terminated"},
		"quota":                 {apierrors.NewForbidden(jobs, "pings-x", errors.New("exceeded quota: jobs, requested: count/jobs.batch=1")), "forbidden: exceeded quota: jobs, requested: count/jobs.batch=1"},
		"rights":                {apierrors.NewForbidden(jobs, "", errors.New(`User "a" cannot create resource "jobs"`)), `forbidden: User "a" cannot create resource "jobs"`},
		"unauthorized":          {apierrors.NewUnauthorized(secret), "401 Unauthorized"},
		"unavailable":           {apierrors.NewServiceUnavailable(secret), "503 Service Unavailable"},
		"something in between":  {apierrors.NewGenericServerResponse(http.StatusBadGateway, "create", jobs, "pings-x", secret, 0, true), "502 Bad Gateway"},
		"not an answer":         {fmt.Errorf("decode: %w", errors.New(secret)), "the API server's answer could not be read"},
		"no connection": {
			&url.Error{Op: "Post", URL: "https://10.0.0.1/apis/batch/v1/namespaces/batch/jobs", Err: &net.OpError{Op: "dial", Err: errors.New("connection refused")}},
			"connection refused",
		},
		"no answer in time": {context.DeadlineExceeded, "context deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			for how, err := range map[string]error{"classified": classify(tc.err), "otherwise": fmt.Errorf("mark Job x: %w", WithoutValues(tc.err))} {
				if text := err.Error(); strings.Contains(text, secret) || !strings.Contains(text, tc.want) {
					t.Errorf("%s, it says %q, want %q", how, text, tc.want)
				}
			}
			if !errors.Is(WithoutValues(tc.err), tc.err) {
				t.Error("the answer itself is lost")
			}
		})
	}
	if WithoutValues(nil) != nil {
		t.Error("no error became one")
	}
}
