package controller_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// policed marks the namespaces that the policies are enforced in, so that they concern no other spec.
var policed = map[string]string{"policies": "enforced"}

// serviceAccount is the operator's, as config/policies calls it.
const serviceAccount = "system:serviceaccount:queuebinding-system:queuebinding-controller-manager"

// enforcePolicies applies the policies of config for the namespaces that are marked.
func enforcePolicies(ctx context.Context) {
	GinkgoHelper()
	for _, file := range []string{"tenancy/policy.yaml", "policies/job_creators.yaml", "policies/operator.yaml"} {
		data, err := os.ReadFile(filepath.Join("..", "..", "config", file))
		Expect(err).NotTo(HaveOccurred())
		decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
		for {
			object := &unstructured.Unstructured{}
			err := decoder.Decode(object)
			if errors.Is(err, io.EOF) {
				break
			}
			Expect(err).NotTo(HaveOccurred())
			if object.GetKind() == "ValidatingAdmissionPolicyBinding" {
				Expect(unstructured.SetNestedStringMap(object.Object, policed, "spec", "matchResources", "namespaceSelector", "matchLabels")).To(Succeed())
			}
			Expect(k8s.Create(ctx, object)).To(Succeed())
		}
	}
}

// as returns a client of a user's.
func as(user string) client.Client {
	GinkgoHelper()
	config := rest.CopyConfig(environment.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user}
	c, err := client.New(config, client.Options{Scheme: k8s.Scheme()})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// letDo lets a user do something in a namespace.
func letDo(ctx SpecContext, user, namespace string, rules ...rbacv1.PolicyRule) {
	GinkgoHelper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "test-"}, Rules: rules}
	Expect(k8s.Create(ctx, role)).To(Succeed())
	Expect(k8s.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	})).To(Succeed())
}

func all(group string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: []string{"*"}}
}

// eventually asserts what a request comes to once rights and policies are in force, which takes the API server a moment. Requests
// are dry runs, so that they can be made again.
func eventually(ctx SpecContext, request func(context.Context) error, want any) {
	GinkgoHelper()
	if want == nil {
		Eventually(request).WithArguments(ctx).Should(Succeed())
		return
	}
	Eventually(request).WithArguments(ctx).Should(MatchError(ContainSubstring(want.(string))))
}

var _ = Describe("Policies", Ordered, func() {
	const tenant, viewer = "tenant", "binding-writer"
	var namespace string

	BeforeAll(func(ctx SpecContext) {
		enforcePolicies(ctx)
		object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: policed, Annotations: map[string]string{
			v1alpha1.AnnotationAllowedQueues: "arn:aws:sqs:eu-west-1:123456789012:team-a-*\narn:aws:sqs:us-east-1:123456789012:shared",
			v1alpha1.AnnotationAllowedRoles:  "arn:aws:iam::123456789012:role/team-a/*",
		}}}
		Expect(k8s.Create(ctx, object)).To(Succeed())
		namespace = object.Name
		letDo(ctx, tenant, namespace, all("queuebinding.dev", "queuebindings"), all("batch", "jobs"))
		letDo(ctx, viewer, namespace, all("queuebinding.dev", "queuebindings"))
		letDo(ctx, serviceAccount, namespace, all("batch", "jobs"), all("", "secrets"))
	})

	const url = "https://sqs.eu-west-1.amazonaws.com/123456789012/"
	role := func(arn string) *v1alpha1.Credentials { return &v1alpha1.Credentials{RoleARN: arn} }
	keys := &v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: "keys"}}

	DescribeTable("tell whoever writes a binding what the Namespace does not allow",
		func(ctx SpecContext, queue v1alpha1.Queue, want any) {
			binding := newBinding(namespace)
			binding.Spec.Queue = queue
			eventually(ctx, func(ctx context.Context) error {
				return as(tenant).Create(ctx, binding.DeepCopy(), client.DryRunAll)
			}, want)
		},
		Entry("a queue that it allows", v1alpha1.Queue{URL: url + "team-a-pings", Credentials: keys}, nil),
		Entry("a role that it allows", v1alpha1.Queue{URL: url + "team-a-pings", Credentials: role("arn:aws:iam::123456789012:role/team-a/pings")}, nil),
		Entry("another tenant's queue", v1alpha1.Queue{URL: url + "team-b-pings", Credentials: keys},
			"may not use the queue arn:aws:sqs:eu-west-1:123456789012:team-b-pings: ask an administrator"),
		Entry("the same name in another account", v1alpha1.Queue{URL: "https://sqs.eu-west-1.amazonaws.com/999999999999/team-a-pings", Credentials: keys},
			"may not use the queue arn:aws:sqs:eu-west-1:999999999999:team-a-pings"),
		Entry("the same name in another region", v1alpha1.Queue{URL: url + "team-a-pings", Region: "us-east-1", Credentials: keys},
			"may not use the queue arn:aws:sqs:us-east-1:123456789012:team-a-pings"),
		Entry("another region by a VPC endpoint", v1alpha1.Queue{URL: "https://vpce-0a1.sqs.us-east-1.vpce.amazonaws.com/123456789012/shared", Credentials: keys}, nil),
		Entry("another tenant's role", v1alpha1.Queue{URL: url + "team-a-pings", Credentials: role("arn:aws:iam::123456789012:role/team-b/pings")},
			"may not assume the role arn:aws:iam::123456789012:role/team-b/pings"),
		Entry("the operator's identity", v1alpha1.Queue{URL: url + "team-a-pings"}, "need credentials of their own"),
	)

	It("let a binding be suspended whose queue is not allowed any more", func(ctx SpecContext) {
		binding := newBinding(namespace)
		binding.Spec.Queue = v1alpha1.Queue{URL: url + "team-b-pings"}
		binding.Spec.Suspend = true
		// As it was written before the policy, or by another Namespace's annotations.
		w := &workspace{namespace: namespace, binding: binding}
		w.grant(ctx, map[string]string{v1alpha1.AnnotationAllowedQueues: "arn:aws:sqs:*:*:team-?-pings", v1alpha1.AnnotationOperatorIdentity: "true"})
		Eventually(func() error { return k8s.Create(ctx, binding) }).Should(Succeed())
		w.grant(ctx, nil)
		Eventually(func(ctx context.Context) error {
			return as(tenant).Patch(ctx, binding.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"queue":{"credentials":{"secretRef":{"name":"x"}}}}}`)), client.DryRunAll)
		}).WithArguments(ctx).Should(MatchError(ContainSubstring("may not use the queue")))
		Expect(as(tenant).Patch(ctx, binding, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"suspend":false}}`)), client.DryRunAll)).To(Succeed())

		By("Refusing a template of whoever may not create Jobs, and nothing else of theirs")
		template := `{"spec":{"jobTemplate":{"spec":{"backoffLimit":7}}}}`
		Expect(as(tenant).Patch(ctx, binding.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(template)), client.DryRunAll)).To(Succeed())
		eventually(ctx, func(ctx context.Context) error {
			return as(viewer).Patch(ctx, binding.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(template)), client.DryRunAll)
		}, "may not create Jobs in namespace "+namespace)
		Expect(as(viewer).Patch(ctx, binding.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"suspend":false}}`)), client.DryRunAll)).To(Succeed())
	})

	Describe("hold the operator to what it is for", func() {
		owned := func(kind string) []metav1.OwnerReference {
			return []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind, Name: "pings", UID: "1", Controller: new(true)}}
		}
		job := func(owners []metav1.OwnerReference) *batchv1.Job {
			return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "a", OwnerReferences: owners}, Spec: newBinding("").Spec.JobTemplate.Spec}
		}
		secret := func(kind corev1.SecretType, labels map[string]string) *corev1.Secret {
			return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: labels}, Type: kind}
		}
		labelled := map[string]string{v1alpha1.LabelBinding: "pings"}
		DescribeTable("create", func(ctx SpecContext, object client.Object, want any) {
			object.SetNamespace(namespace)
			eventually(ctx, func(ctx context.Context) error {
				return as(serviceAccount).Create(ctx, object.DeepCopyObject().(client.Object), client.DryRunAll)
			}, want)
		},
			Entry("a Job of a binding", job(owned("QueueBinding")), nil),
			Entry("a Job of nobody", job(nil), "only Jobs whose controller is a QueueBinding"),
			Entry("a Job of something else", job(owned("Other")), "only Jobs whose controller is a QueueBinding"),
			Entry("a Secret of a message", secret(corev1.SecretTypeOpaque, labelled), nil),
			Entry("a Secret without a type, which is Opaque", secret("", labelled), nil),
			Entry("a Secret without a label", secret(corev1.SecretTypeOpaque, nil), "only Opaque Secrets with the label"),
			Entry("a Secret of another type", secret("example.com/token", labelled), "only Opaque Secrets with the label"),
		)

		It("delete and change", func(ctx SpecContext) {
			foreign := secret(corev1.SecretTypeOpaque, nil)
			foreign.Namespace, foreign.Name = namespace, "foreign"
			Expect(k8s.Create(ctx, foreign)).To(Succeed())
			eventually(ctx, func(ctx context.Context) error {
				return as(serviceAccount).Delete(ctx, foreign.DeepCopy(), client.DryRunAll)
			}, "only Opaque Secrets with the label")
			// To put the label on it does not make it the operator's.
			label := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"queuebinding.dev/binding":"pings"}}}`))
			Expect(as(serviceAccount).Patch(ctx, foreign.DeepCopy(), label, client.DryRunAll)).To(MatchError(ContainSubstring("only Opaque Secrets with the label")))
			Expect(k8s.Delete(ctx, foreign.DeepCopy(), client.DryRunAll)).To(Succeed(), "others may")
		})

		It("nowhere in the namespaces of Kubernetes", func(ctx SpecContext) {
			// The label of the test reaches there too.
			system := &corev1.Namespace{}
			Expect(k8s.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, system)).To(Succeed())
			before := system.DeepCopy()
			system.Labels["policies"] = policed["policies"]
			Expect(k8s.Patch(ctx, system, client.MergeFrom(before))).To(Succeed())
			letDo(ctx, serviceAccount, metav1.NamespaceSystem, all("batch", "jobs"))
			owned := job(owned("QueueBinding"))
			owned.Namespace = metav1.NamespaceSystem
			eventually(ctx, func(ctx context.Context) error {
				return as(serviceAccount).Create(ctx, owned.DeepCopy(), client.DryRunAll)
			}, "no business in the namespaces of Kubernetes itself")
		})
	})
})
