package creator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxCauses is how many fields are named of those that the API server finds invalid.
const maxCauses = 5

// WithoutValues returns an error of the API server with words that quote nothing of the object that was sent, which holds a
// message, and nothing that a webhook or policy says of it: the text of an answer may echo both. What is told is built from the
// answer's code and reason, the paths of fields and what is wrong with them, and names of webhooks and policies. errors.As and
// errors.Is find the answer itself. It returns nil for nil, and other errors as they are.
func WithoutValues(err error) error {
	if words := wordsOf(err); err != nil && words != err.Error() {
		return &unquotedError{err, words}
	}
	return err
}

// unquotedError is an error in other words.
type unquotedError struct {
	error
	words string
}

func (e *unquotedError) Error() string { return e.words }

func (e *unquotedError) Unwrap() error { return e.error }

// wordsOf tells what an answer of the API server means to people.
func wordsOf(err error) string {
	switch e, ok := errors.AsType[*url.Error](err); {
	case err == nil:
		return ""
	case ok: // it names the API server, a path, and why there is no answer
		return e.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, errUncollected):
		return err.Error()
	}
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok {
		return "the API server's answer could not be read"
	}
	answer := status.ErrStatus
	code := fmt.Sprintf("%d %s", answer.Code, http.StatusText(int(answer.Code)))
	denied, isDenied := deniedBy(answer.Message)
	failing, isFailing := failingWebhook(answer.Message)
	switch {
	case isDenied:
		return fmt.Sprintf("%s denied the request (%s)", denied, code)
	case isFailing:
		return fmt.Sprintf("%s could not be called%s", failing, knownCause(answer.Message))
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return "the namespace is being terminated"
	case apierrors.IsForbidden(err):
		if _, blocked := forbiddenReason(forbiddenCause(answer.Message)); blocked { // in words of quotas and rights
			return "forbidden: " + forbiddenCause(answer.Message)
		}
		return "an admission plugin of the API server denied the request (" + code + ")"
	case apierrors.IsInvalid(err):
		return "the API server found the object invalid" + invalidFields(answer.Details)
	}
	return fmt.Sprintf("the API server answered %s%s", code, knownCause(answer.Message))
}

// invalidFields names the fields that are invalid, and of each what kind of fault it has.
func invalidFields(details *metav1.StatusDetails) string {
	if details == nil || len(details.Causes) == 0 {
		return ""
	}
	var told []string
	for _, cause := range details.Causes[:min(len(details.Causes), maxCauses)] {
		path := cause.Field
		if !fieldPath.MatchString(path) {
			path = "a field"
		}
		fault, ok := faults[cause.Type]
		if !ok {
			fault = "refused"
		}
		told = append(told, path+": "+fault)
	}
	if more := len(details.Causes) - len(told); more > 0 {
		told = append(told, fmt.Sprintf("and %d more", more))
	}
	return ": " + strings.Join(told, "; ")
}

// faults are what the API server may find wrong with a field, in its own words.
var faults = map[metav1.CauseType]string{
	metav1.CauseTypeFieldValueNotFound:       "not found",
	metav1.CauseTypeFieldValueRequired:       "required value",
	metav1.CauseTypeFieldValueDuplicate:      "duplicate value",
	metav1.CauseTypeFieldValueInvalid:        "invalid value",
	metav1.CauseTypeFieldValueNotSupported:   "unsupported value",
	metav1.CauseTypeForbidden:                "forbidden",
	metav1.CauseTypeTooLong:                  "too long",
	metav1.CauseTypeTooMany:                  "too many",
	metav1.CauseTypeInternal:                 "internal error",
	metav1.CauseTypeTypeInvalid:              "invalid value of this type",
	metav1.CauseTypeUnexpectedServerResponse: "unexpected answer",
}

var (
	// fieldPath is how the API server names a field. Keys in brackets are those of the template.
	fieldPath = regexp.MustCompile(`^[A-Za-z][\w./\-\[\]]{0,199}$`)
	// Names are those of objects of the cluster, which its administrators chose.
	byWebhook     = regexp.MustCompile(`^admission webhook "([\w.\-]+)" `)
	byPolicy      = regexp.MustCompile(`^(ValidatingAdmissionPolicy|policy) ['"]([\w.\-]+)['"](?: with binding '([\w.\-]+)')? `)
	calledWebhook = regexp.MustCompile(`^Internal error occurred: failed calling webhook "([\w.\-]+)": `)
)

// deniedBy names the webhook or policy that denied a request, if one did.
func deniedBy(text string) (who string, ok bool) {
	if name := byWebhook.FindStringSubmatch(text); name != nil {
		return fmt.Sprintf("admission webhook %q", name[1]), true
	}
	if names := byPolicy.FindStringSubmatch(forbiddenCause(text)); names != nil {
		who = fmt.Sprintf("%s %q", names[1], names[2])
		if names[3] != "" {
			who += fmt.Sprintf(" with binding %q", names[3])
		}
		return who, true
	}
	return "an admission webhook or policy", isDeniedByAdmission(text)
}

// failingWebhook names the webhook that the API server could not call, if that is what it says.
func failingWebhook(text string) (who string, ok bool) {
	if name := calledWebhook.FindStringSubmatch(text); name != nil {
		return fmt.Sprintf("webhook %q", name[1]), true
	}
	return "a webhook", strings.HasPrefix(text, internalError+"failed calling webhook ")
}

// knownCauses are words that help whoever has to mend it. None can hold a message, though a message may hold one of them.
var knownCauses = []string{
	"connection refused", "context deadline exceeded", "no endpoints available", "no such host", "i/o timeout", "certificate signed by unknown authority",
	"certificate has expired", "operation does not apply", "request is too large", "object has been modified", "not found",
}

// knownCause returns what of the known causes an answer names, after a colon.
func knownCause(text string) string {
	for _, known := range knownCauses {
		if strings.Contains(text, known) {
			return ": " + known
		}
	}
	return ""
}
