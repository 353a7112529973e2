package keda

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// secretKeys are the keys of a binding's Secret, by KEDA's parameters.
var secretKeys = map[string]string{
	"awsAccessKeyID":     "AWS_ACCESS_KEY_ID",
	"awsAccessKeyId":     "AWS_ACCESS_KEY_ID",
	"awsSecretAccessKey": "AWS_SECRET_ACCESS_KEY",
	"awsSessionToken":    "AWS_SESSION_TOKEN",
}

var roleARN = regexp.MustCompile(`^arn:[a-z0-9-]+:iam::[0-9]{12}:role/.+$`)

// authentications are the TriggerAuthentications of the input, by kind, namespace and name.
type authentications map[[3]string]*authentication

func (a authentications) add(object *unstructured.Unstructured) error {
	read, ignored := &authentication{}, remarks{} // of other ways to authenticate, nothing is used
	if err := decode(object, read, &ignored); err != nil {
		return fmt.Errorf("%s %w", name(object), err)
	}
	a[[3]string{read.Kind, namespaceOf(read.Kind, read.Namespace), read.Name}] = read
	return nil
}

func namespaceOf(kind, namespace string) string {
	if kind == kindClusterAuthentication {
		return ""
	}
	return namespace
}

// bindCredentials gives a binding the identity that KEDA uses for the trigger, as far as it can be told from the input. Without
// any, the operator's own is used.
func bindCredentials(binding *v1alpha1.QueueBinding, source *scaledJob, t *trigger, field string, known authentications, said *remarks) {
	c := &credentials{binding: binding, said: said}
	if ref := t.AuthenticationRef; ref != nil {
		kind := cmp.Or(ref.Kind, kindAuthentication)
		c.field = field + "authenticationRef"
		found := known[[3]string{kind, namespaceOf(kind, source.Namespace), ref.Name}]
		if found == nil {
			said.need(c.field, "%s %s is not in the input, so that the binding uses the operator's own identity: put it into the same file and convert again, or set spec.queue.credentials", kind, ref.Name)
			return
		}
		// With identityOwner: operator KEDA reads nothing else of the authentication than this.
		if identity := found.Spec.PodIdentity; t.Metadata["identityOwner"] == "operator" && (identity == nil || identity.Provider != "aws") {
			c.operators()
			return
		}
		c.fromAuthentication(found, source.Namespace)
		return
	}
	c.field = field + "metadata.identityOwner"
	var refs []secretTargetRef
	for parameter, from := range map[string]string{"awsAccessKeyID": t.Metadata["awsAccessKeyIDFromEnv"], "awsSecretAccessKey": t.Metadata["awsSecretAccessKeyFromEnv"]} {
		if v := variable(source.environment(), from); v != nil && v.ValueFrom != nil && v.ValueFrom.SecretKeyRef != nil {
			refs = append(refs, secretTargetRef{Parameter: parameter, Name: v.ValueFrom.SecretKeyRef.Name, Key: v.ValueFrom.SecretKeyRef.Key})
		}
	}
	switch {
	case t.Metadata["identityOwner"] == "operator":
		c.operators()
	case len(refs) > 0:
		c.fromSecrets(refs)
	default:
		said.need(c.field, "the AWS identity of the ScaledJob's Pod is not in the input, so that the binding uses the operator's own: allow that the queue, or set spec.queue.credentials")
	}
}

// credentials finds the identity of a binding.
type credentials struct {
	binding *v1alpha1.QueueBinding
	field   string
	said    *remarks
}

// operators leaves a binding to the operator's own identity.
func (c *credentials) operators() {
	c.said.need(c.field, "KEDA's operator uses its own AWS identity, and so does the QueueBinding operator: allow that to receive and delete messages and to change their visibility on this queue, which is more than KEDA needs")
}

func (c *credentials) fromAuthentication(a *authentication, namespace string) {
	refs := slices.DeleteFunc(slices.Clone(a.Spec.SecretTargetRef), func(ref secretTargetRef) bool { return secretKeys[ref.Parameter] == "" })
	identity := a.Spec.PodIdentity
	switch {
	case identity != nil && strings.HasPrefix(identity.Provider, "aws"):
		c.fromPodIdentity(identity)
	case slices.ContainsFunc(a.Spec.SecretTargetRef, func(ref secretTargetRef) bool { return ref.Parameter == "awsRoleArn" }):
		c.said.need(c.field, "the role of %s is in a Secret: set spec.queue.credentials.roleARN to it", a.Name)
	case len(refs) == 0:
		c.said.need(c.field, "%s %s gets its credentials in a way that a binding does not know: set spec.queue.credentials", a.Kind, a.Name)
	case a.Kind == kindClusterAuthentication:
		c.said.need(c.field, "the Secrets of a %s are in KEDA's namespace: make one in namespace %q with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and set spec.queue.credentials.secretRef", a.Kind, namespace)
	default:
		c.fromSecrets(refs)
	}
}

func (c *credentials) fromPodIdentity(identity *podIdentity) {
	external := "queuebinding:" + cmp.Or(c.binding.Namespace, "<namespace>") + "/" + c.binding.Name
	switch {
	case roleARN.MatchString(identity.RoleARN) && len(identity.RoleARN) <= 2048:
		c.binding.Spec.Queue.Credentials = &v1alpha1.Credentials{RoleARN: identity.RoleARN}
		c.said.need(c.field, "the role's trust policy has to let the operator's identity assume it, with the external ID %s, and set a source identity", external)
	case identity.RoleARN != "":
		c.said.need(c.field, "%q is no role: set spec.queue.credentials.roleARN", identity.RoleARN)
	case identity.IdentityOwner == "workload", identity.Provider == "aws-eks":
		c.said.need(c.field, "KEDA takes the role of the ScaledJob's service account: set spec.queue.credentials.roleARN to it, and have its trust policy let the operator's identity assume it, with the external ID %s, and set a source identity", external)
	default:
		c.operators()
	}
}

// fromSecrets has a binding use the Secret of the parameters, which must have the keys that the operator reads.
func (c *credentials) fromSecrets(refs []secretTargetRef) {
	secret := refs[0].Name
	same := secret != "" && !slices.ContainsFunc(refs, func(ref secretTargetRef) bool { return ref.Name != secret })
	fits := same && !slices.ContainsFunc(refs, func(ref secretTargetRef) bool { return ref.Key != secretKeys[ref.Parameter] })
	if !fits {
		secret = c.binding.Name + "-aws"
		c.said.need(c.field, "make a Secret %s with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN if there is one: a binding's are in one Secret, by these names", secret)
	}
	c.binding.Spec.Queue.Credentials = &v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: secret}}
	c.said.need(c.field, "the identity in the Secret has to be allowed to receive and delete messages and to change their visibility, which is more than KEDA needs")
}
