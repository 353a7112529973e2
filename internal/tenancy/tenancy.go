// Package tenancy decides which queues, roles and identities the bindings of a namespace may use. The annotations of the Namespace
// object say so, which whoever may edit in the namespace cannot change. It does no I/O.
package tenancy

import (
	"path"
	"regexp"
	"strings"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// Grant is what the bindings of one namespace may use. The zero value is nothing.
type Grant struct {
	namespace string
	// queues and roles are patterns over ARNs.
	queues, roles []string
	// operatorIdentity reports whether bindings may go without credentials of their own.
	operatorIdentity bool
}

// GrantOf returns what a Namespace's annotations grant.
func GrantOf(namespace string, annotations map[string]string) Grant {
	return Grant{
		namespace:        namespace,
		queues:           patterns(annotations[v1alpha1.AnnotationAllowedQueues]),
		roles:            patterns(annotations[v1alpha1.AnnotationAllowedRoles]),
		operatorIdentity: annotations[v1alpha1.AnnotationOperatorIdentity] == "true",
	}
}

// Check returns nil where a binding with these credentials may use the queue of this ARN, else an error of reason NotAllowed that
// says what to ask for.
func (g Grant) Check(queueARN string, credentials *v1alpha1.Credentials) error {
	if !matchesAny(g.queues, queueARN) {
		return g.denied("use the queue %s", queueARN, v1alpha1.AnnotationAllowedQueues)
	}
	switch {
	case credentials == nil:
		if g.operatorIdentity {
			return nil
		}
		return queue.Errorf(queue.NotAllowed, "bindings in namespace %s need credentials of their own: set spec.queue.credentials, or ask an administrator of the cluster to annotate the Namespace with %s: \"true\"",
			g.namespace, v1alpha1.AnnotationOperatorIdentity)
	case credentials.RoleARN != "" && !matchesAny(g.roles, credentials.RoleARN):
		return g.denied("assume the role %s", credentials.RoleARN, v1alpha1.AnnotationAllowedRoles)
	}
	return nil
}

func (g Grant) denied(what, arn, annotation string) error {
	return queue.Errorf(queue.NotAllowed, "namespace %s may not "+what+": ask an administrator of the cluster to add it to the annotation %s of the Namespace",
		g.namespace, arn, annotation)
}

// patterns reads a list of patterns, which commas or blanks separate.
func patterns(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}

// allowedPattern holds what ARNs consist of, and the wildcards. A pattern of anything else matches nothing, here as in the
// admission policy.
var allowedPattern = regexp.MustCompile(`^[A-Za-z0-9:/_+=.@*?-]+$`)

// matchesAny reports whether an ARN matches one of the patterns: * stands for any characters but a colon or a slash, so that one
// for the name of a queue opens neither other accounts nor other regions; ? stands for one such character.
func matchesAny(patterns []string, arn string) bool {
	for _, pattern := range patterns {
		if allowedPattern.MatchString(pattern) && matches(pattern, arn) {
			return true
		}
	}
	return false
}

func matches(pattern, arn string) bool {
	wanted, parts := strings.Split(pattern, ":"), strings.Split(arn, ":")
	if len(wanted) != len(parts) {
		return false
	}
	for i, part := range parts {
		if ok, err := path.Match(wanted[i], part); !ok || err != nil {
			return false
		}
	}
	return true
}
