package tenants_test

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/rig"
)

// Two tenants: the one that attacks, and the other. nobodysNamespace is a third one's, which grants nothing.
const (
	mine, theirs     = "team-a", "team-b"
	nobodysNamespace = "team-c"
	roleOf           = "arn:aws:iam::000000000000:role/%s/pings"
)

// Who attacks, in each of the tables below.
var (
	// developer may write bindings, Jobs and requeues in one namespace, administrator has the cluster's own role admin there.
	developer, administrator client.Client
	// writer may write bindings and no Jobs, viewer has the cluster's own role view.
	writer, viewer client.Client
	// operatorToken and serverToken are those of our own processes.
	operatorToken, serverToken client.Client

	queues = map[string]*rig.Queue{}
)

// tenants makes the two tenants, their users and queues.
func tenants(ctx context.Context) {
	GinkgoHelper()
	for _, tenant := range []string{mine, theirs} {
		queue, err := cluster.CreateQueue(ctx, tenant+"-pings", "", 0)
		Expect(err).NotTo(HaveOccurred())
		queues[tenant] = queue
		createNamespace(ctx, tenant, map[string]string{
			v1alpha1.AnnotationAllowedQueues:    "arn:aws:sqs:eu-west-1:000000000000:" + tenant + "-*",
			v1alpha1.AnnotationAllowedRoles:     fmt.Sprintf(roleOf, tenant),
			v1alpha1.AnnotationOperatorIdentity: "true",
		})
		keys := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: tenant + "-keys"}, Data: map[string][]byte{"AWS_ACCESS_KEY_ID": []byte("a"), "AWS_SECRET_ACCESS_KEY": []byte("s")}}
		Expect(k8s.Create(ctx, keys)).To(Succeed())
		existing := bindingOf(tenant)
		existing.Name = "existing"
		existing.Spec.Suspend = true
		Expect(k8s.Create(ctx, existing)).To(Succeed())
	}
	createNamespace(ctx, nobodysNamespace, nil)
	jobs := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: mine, Name: "jobs"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"*"}},
		{APIGroups: []string{""}, Resources: []string{"pods", "events"}, Verbs: []string{"get", "list"}},
	}}
	Expect(k8s.Create(ctx, jobs)).To(Succeed())
	editor, requeuer := clusterRole("queuebinding-editor-role"), clusterRole("queuebinding-requeuer")
	developer = createUser(ctx, "developer", editor, requeuer, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "jobs"})
	administrator = createUser(ctx, "administrator", clusterRole("admin"), editor)
	writer = createUser(ctx, "writer", editor)
	viewer = createUser(ctx, "viewer", clusterRole("view"))
	operatorToken, serverToken = clientOf(ctx, rig.System, rig.OperatorAccount), clientOf(ctx, rig.System, rig.ServerAccount)
	// Policies and the parts of the cluster's own roles take a moment to be in force.
	Eventually(func() error { return developer.Create(ctx, bindingOf(theirs, inMine), client.DryRunAll) }).Should(MatchError(ContainSubstring("may not use the queue")), "tenancy")
	Eventually(func() error { return writer.Create(ctx, bindingOf(mine), client.DryRunAll) }).Should(MatchError(ContainSubstring("may not create Jobs")), "job-creators")
	Eventually(func() error { return operatorToken.Create(ctx, jobOf(mine, nil), client.DryRunAll) }).Should(MatchError(ContainSubstring("only Jobs whose controller")), "operator")
	Eventually(func() error { return viewer.Get(ctx, key(mine, "existing"), &v1alpha1.QueueBinding{}) }).Should(Succeed())
}

func key(namespace, name string) client.ObjectKey {
	return client.ObjectKey{Namespace: namespace, Name: name}
}

// bindingOf returns a binding of a tenant for its queue, as changed.
func bindingOf(tenant string, change ...func(*v1alpha1.QueueBinding)) *v1alpha1.QueueBinding {
	binding := rig.Binding(tenant, "pings", queues[tenant].URL)
	binding.Spec.Queue.Region = "eu-west-1" // the emulator's URLs do not tell it
	for _, c := range change {
		c(binding)
	}
	return binding
}

// inMine moves a binding into the attacker's namespace.
func inMine(b *v1alpha1.QueueBinding) { b.Namespace = mine }

func withRole(of string) func(*v1alpha1.QueueBinding) {
	return func(b *v1alpha1.QueueBinding) {
		b.Spec.Queue.Credentials = &v1alpha1.Credentials{RoleARN: fmt.Sprintf(roleOf, of)}
	}
}

func withKeys(name string) func(*v1alpha1.QueueBinding) {
	return func(b *v1alpha1.QueueBinding) {
		b.Spec.Queue.Credentials = &v1alpha1.Credentials{SecretRef: &v1alpha1.SecretReference{Name: name}}
	}
}

// jobOf returns a Job with owners.
func jobOf(namespace string, owners []metav1.OwnerReference) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "job", OwnerReferences: owners},
		Spec:       rig.Binding("", "", "").Spec.JobTemplate.Spec,
	}
}

var ofABinding = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "QueueBinding", Name: "pings", UID: "1", Controller: new(true)}}

func secretOf(namespace, name string, kind corev1.SecretType, labels map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}, Type: kind}
}

var ofAMessage = map[string]string{v1alpha1.LabelBinding: "pings"}

// An attack is a request of somebody's.
type attack func(ctx context.Context) error

func create(as *client.Client, object func() client.Object) attack {
	return func(ctx context.Context) error { return (*as).Create(ctx, object()) }
}

func remove(as *client.Client, object client.Object) attack {
	return func(ctx context.Context) error { return (*as).Delete(ctx, object) }
}

// patch merges JSON into an object.
func patch(as *client.Client, object client.Object, change string) attack {
	return func(ctx context.Context) error {
		return (*as).Patch(ctx, object.DeepCopyObject().(client.Object), client.RawPatch(types.MergePatchType, []byte(change)))
	}
}

// existing is the attacker's binding that is there.
func existing() client.Object {
	return &v1alpha1.QueueBinding{ObjectMeta: metav1.ObjectMeta{Namespace: mine, Name: "existing"}}
}

// myNamespace is the attacker's.
func myNamespace() client.Object {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: mine}}
}

// requeue asks for all of a binding by the subresource.
func requeue(as *client.Client, namespace string) attack {
	return func(ctx context.Context) error {
		// In that group the kind of bindings is Requeue, too.
		binding, asked := &unstructured.Unstructured{}, &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"all": true}}}
		for _, object := range []*unstructured.Unstructured{binding, asked} {
			object.SetGroupVersionKind(subresources.GroupVersion.WithKind("Requeue"))
		}
		binding.SetNamespace(namespace)
		binding.SetName("existing")
		return (*as).SubResource("requeue").Create(ctx, binding, asked)
	}
}

// Each is refused with words that name what was refused, and by what where it was a policy. What the schema refuses is tested in
// api/v1alpha1, what a producer can try in internal/job and test/crash.
var _ = Describe("Attacks", Ordered, ContinueOnFailure, func() {
	BeforeAll(func(ctx SpecContext) {
		install(ctx)
		tenants(ctx)
	})

	refused := func(ctx SpecContext, try attack, words ...string) {
		GinkgoHelper()
		err := try(ctx)
		Expect(err).To(HaveOccurred())
		for _, want := range words {
			Expect(err).To(MatchError(ContainSubstring(want)))
		}
	}
	const tenancy, jobCreators, operatorPolicy = "ValidatingAdmissionPolicy 'tenancy'", "ValidatingAdmissionPolicy 'queuebinding-job-creators'", "ValidatingAdmissionPolicy 'queuebinding-operator'"

	DescribeTable("by who writes bindings are refused:", refused,
		Entry("another tenant's queue", create(&developer, func() client.Object { return bindingOf(theirs, inMine) }),
			tenancy, "namespace team-a may not use the queue arn:aws:sqs:eu-west-1:000000000000:team-b-pings: ask an administrator"),
		Entry("another tenant's queue, by the namespace's administrator", create(&administrator, func() client.Object { return bindingOf(theirs, inMine) }),
			tenancy, "may not use the queue arn:aws:sqs:eu-west-1:000000000000:team-b-pings"),
		Entry("another tenant's queue, in a binding that is there", patch(&developer, existing(), `{"spec": {"queue": {"url": "https://sqs.eu-west-1.amazonaws.com/000000000000/team-b-pings"}}}`),
			"spec.queue", "is immutable"),
		Entry("another tenant's queue, by a region", create(&developer, func() client.Object {
			return bindingOf(mine, func(b *v1alpha1.QueueBinding) { b.Spec.Queue.Region = "us-east-1" })
		}), tenancy, "may not use the queue arn:aws:sqs:us-east-1:000000000000:team-a-pings"),
		Entry("another tenant's role", create(&developer, func() client.Object { return bindingOf(mine, withRole(theirs)) }),
			tenancy, "namespace team-a may not assume the role arn:aws:iam::000000000000:role/team-b/pings: ask an administrator"),
		Entry("another tenant's role, in a binding that is there", patch(&developer, existing(), `{"spec": {"queue": {"credentials": {"roleARN": "`+fmt.Sprintf(roleOf, theirs)+`"}}}}`),
			tenancy, "may not assume the role arn:aws:iam::000000000000:role/team-b/pings"),
		Entry("another tenant's Secret, by a namespace", patch(&developer, existing(), `{"spec": {"queue": {"credentials": {"secretRef": {"name": "team-b-keys", "namespace": "team-b"}}}}}`),
			`unknown field "spec.queue.credentials.secretRef.namespace"`),
		Entry("a binding in another tenant's namespace", create(&developer, func() client.Object { return bindingOf(theirs) }),
			`cannot create resource "queuebindings"`, `in the namespace "team-b"`),
		Entry("a binding of who may not create Jobs", create(&writer, func() client.Object { return bindingOf(mine) }),
			jobCreators, "user system:serviceaccount:team-a:writer may not create Jobs in namespace team-a"),
		Entry("a template of who may not create Jobs", patch(&writer, existing(), `{"spec": {"jobTemplate": {"spec": {"backoffLimit": 5}}}}`),
			jobCreators, "may not create a QueueBinding there or change its jobTemplate"),
		Entry("a status", func(ctx context.Context) error {
			return developer.Status().Patch(ctx, existing(), client.RawPatch(types.MergePatchType, []byte(`{"status": {"activeJobs": 0}}`)))
		}, `cannot patch resource "queuebindings/status"`, `in the namespace "team-a"`),
		Entry("the right to make bindings owners that block deletion", func(ctx context.Context) error {
			return developer.SubResource("finalizers").Patch(ctx, existing(), client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"finalizers": ["example.com/x"]}}`)))
		}, `cannot patch resource "queuebindings/finalizers"`),
		Entry("grants to itself", patch(&developer, myNamespace(), `{"metadata": {"annotations": {"queuebinding.dev/allowed-queues": "*"}}}`),
			`cannot patch resource "namespaces"`, "team-a"),
		Entry("grants to itself, by the namespace's administrator", patch(&administrator, myNamespace(), `{"metadata": {"annotations": {"queuebinding.dev/allowed-queues": "*"}}}`),
			`cannot patch resource "namespaces"`, "team-a"),
		Entry("the policies' end", remove(&administrator, &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "tenancy"}}),
			`cannot delete resource "validatingadmissionpolicies"`, `"tenancy"`),
		Entry("the key of lineages", func(ctx context.Context) error {
			return administrator.Get(ctx, key(rig.System, "queuebinding-lineage"), &corev1.Secret{})
		}, `secrets "queuebinding-lineage" is forbidden`),
	)

	DescribeTable("by who may not requeue are refused:", refused,
		Entry("the subresource", requeue(&viewer, mine), `cannot create resource "queuebindings/requeue" in API group "subresources.queuebinding.dev"`, "team-a"),
		Entry("the annotation", patch(&viewer, existing(), `{"metadata": {"annotations": {"queuebinding.dev/requeue": "all"}}}`), `cannot patch resource "queuebindings"`),
		Entry("another tenant's binding", requeue(&developer, theirs), `cannot create resource "queuebindings/requeue"`, `in the namespace "team-b"`),
	)

	DescribeTable("with the operator's token are refused:", refused,
		Entry("a Job of nobody", create(&operatorToken, func() client.Object { return jobOf(theirs, nil) }),
			operatorPolicy, "the operator may create, change and delete only Jobs whose controller is a QueueBinding"),
		Entry("a Job in a namespace of Kubernetes", create(&operatorToken, func() client.Object { return jobOf(metav1.NamespaceSystem, ofABinding) }),
			operatorPolicy, "the operator has no business in the namespaces of Kubernetes itself"),
		Entry("a Secret without the label", create(&operatorToken, func() client.Object { return secretOf(theirs, "x", corev1.SecretTypeOpaque, nil) }),
			operatorPolicy, "only Opaque Secrets with the label queuebinding.dev/binding"),
		Entry("a Secret of another type", create(&operatorToken, func() client.Object {
			token := secretOf(theirs, "x", corev1.SecretTypeServiceAccountToken, ofAMessage)
			token.Annotations = map[string]string{corev1.ServiceAccountNameKey: "default"}
			return token
		}), operatorPolicy, "only Opaque Secrets with the label queuebinding.dev/binding"),
		Entry("a Secret in a namespace of Kubernetes", create(&operatorToken, func() client.Object {
			return secretOf(metav1.NamespaceSystem, "x", corev1.SecretTypeOpaque, ofAMessage)
		}),
			operatorPolicy, "the operator has no business in the namespaces of Kubernetes itself"),
		Entry("a tenant's Secret, changed", patch(&operatorToken, secretOf(theirs, "team-b-keys", "", nil), `{"data": {"AWS_ACCESS_KEY_ID": "eA=="}}`), operatorPolicy, "only Opaque Secrets"),
		Entry("a tenant's Secret, labelled first", patch(&operatorToken, secretOf(theirs, "team-b-keys", "", nil), `{"metadata": {"labels": {"queuebinding.dev/binding": "x"}}}`), operatorPolicy, "only Opaque Secrets"),
		Entry("a tenant's Secret, deleted", remove(&operatorToken, secretOf(theirs, "team-b-keys", "", nil)), operatorPolicy, "only Opaque Secrets"),
		Entry("Secrets that it does not know the names of", func(ctx context.Context) error { return operatorToken.List(ctx, &corev1.SecretList{}) }, `cannot list resource "secrets"`),
		Entry("grants to a tenant", patch(&operatorToken, myNamespace(), `{"metadata": {"annotations": {"queuebinding.dev/allowed-queues": "*"}}}`), `cannot patch resource "namespaces"`),
		Entry("a binding", create(&operatorToken, func() client.Object { return bindingOf(mine) }), `cannot create resource "queuebindings"`),
		Entry("a Pod", create(&operatorToken, func() client.Object {
			return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: mine, Name: "x"}, Spec: jobOf(mine, nil).Spec.Template.Spec}
		}), `cannot create resource "pods"`),
		Entry("more rights", patch(&operatorToken, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "queuebinding-manager-role"}}, `{"rules": []}`), `cannot patch resource "clusterroles"`),
		Entry("the end of its policy", remove(&operatorToken, &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "queuebinding-operator"}}), `cannot delete resource "validatingadmissionpolicies"`),
	)

	DescribeTable("with the token of the requeue API are refused:", refused,
		Entry("a tenant's Secret", func(ctx context.Context) error {
			return serverToken.Get(ctx, key(theirs, "team-b-keys"), &corev1.Secret{})
		}, `secrets "team-b-keys" is forbidden`),
		Entry("the key of lineages", func(ctx context.Context) error {
			return serverToken.Get(ctx, key(rig.System, "queuebinding-lineage"), &corev1.Secret{})
		}, `secrets "queuebinding-lineage" is forbidden`),
		Entry("a Job", create(&serverToken, func() client.Object { return jobOf(mine, ofABinding) }), `cannot create resource "jobs"`),
		Entry("a Job's end", remove(&serverToken, jobOf(mine, nil)), `cannot delete resource "jobs"`),
		Entry("a binding", create(&serverToken, func() client.Object { return bindingOf(mine) }), `cannot create resource "queuebindings"`),
		Entry("a template", patch(&serverToken, existing(), `{"spec": {"jobTemplate": {"spec": {"backoffLimit": 5}}}}`), jobCreators, "may not create Jobs in namespace team-a"),
		Entry("another APIService", remove(&serverToken, &apiregistrationv1.APIService{ObjectMeta: metav1.ObjectMeta{Name: "v1.apps"}}), `cannot delete resource "apiservices"`, `"v1.apps"`),
	)

	// What only shows when the operator opens the queue, or when the Job's Pod is to be made.
	It("by another tenant's Secret are told in status: its name means one in the binding's own namespace, and a path is no name", func(ctx SpecContext) {
		for name, said := range map[string]string{
			theirs + "-keys":                    "there is no Secret team-b-keys in the namespace",
			"../" + theirs + "/team-b-keys":     "may not contain '/'",
			"../../" + theirs + "/secrets/x%2f": "may not contain '/'",
		} {
			binding := bindingOf(mine, withKeys(name))
			Expect(developer.Create(ctx, binding)).To(Succeed())
			Eventually(reachable(ctx, binding)).Should(And(HavePrefix("False "), ContainSubstring(said)))
			Expect(developer.Delete(ctx, binding)).To(Succeed())
		}
	})

	It("by a queue that was allowed once are told in status, and its messages stay", func(ctx SpecContext) {
		grant := func(queues string) {
			Expect(patch(&k8s, myNamespace(), `{"metadata": {"annotations": {"queuebinding.dev/allowed-queues": "`+queues+`"}}}`)(ctx)).To(Succeed())
		}
		grant("arn:aws:sqs:eu-west-1:000000000000:team-?-*")
		binding := bindingOf(theirs, inMine)
		Eventually(func() error { return developer.Create(ctx, binding) }).Should(Succeed())
		Eventually(reachable(ctx, binding)).Should(HavePrefix("True "))
		grant("arn:aws:sqs:eu-west-1:000000000000:team-a-*")
		Eventually(reachable(ctx, binding)).Should(And(HavePrefix("False NotAllowed: "), ContainSubstring("may not use the queue arn:aws:sqs:eu-west-1:000000000000:team-b-pings: ask an administrator")))
		id, err := queues[theirs].Send(ctx, rig.Body(1, "127.0.0.1", 1))
		Expect(err).NotTo(HaveOccurred())
		Consistently(jobsIn(ctx, mine)).Should(BeEmpty())
		Expect(developer.Delete(ctx, binding)).To(Succeed())

		By("Leaving it to whose it is")
		owner := bindingOf(theirs)
		Expect(k8s.Create(ctx, owner)).To(Succeed())
		Eventually(jobsIn(ctx, theirs)).Should(ConsistOf(HaveField("Annotations", HaveKeyWithValue(v1alpha1.AnnotationMessageID, id))))
		Expect(k8s.Delete(ctx, owner)).To(Succeed())
	})

	It("by a hostPath get no Pod: the Namespace's Pod Security names it, status counts it, and the message is not lost", func(ctx SpecContext) {
		Expect(patch(&k8s, myNamespace(), `{"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}`)(ctx)).To(Succeed())
		binding := bindingOf(mine, func(b *v1alpha1.QueueBinding) {
			b.Spec.JobTemplate.Spec.ActiveDeadlineSeconds = new(int64(5))
			b.Spec.JobTemplate.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "node", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
		})
		Expect(developer.Create(ctx, binding)).To(Succeed())
		id, err := queues[mine].Send(ctx, rig.Body(1, "127.0.0.1", 1))
		Expect(err).NotTo(HaveOccurred())
		Eventually(events(ctx, mine)).Should(ContainElement(And(
			ContainSubstring(`violates PodSecurity "baseline:latest"`), ContainSubstring("hostPath volumes"), ContainSubstring(`"node"`))))
		pods := &corev1.PodList{}
		Expect(developer.List(ctx, pods, client.InNamespace(mine))).To(Succeed())
		Expect(pods.Items).To(BeEmpty())
		Eventually(status(ctx, binding)).Should(And(HaveField("FailedJobs", HaveValue(Equal(int32(1)))), HaveField("RecentFailures", ConsistOf(And(
			HaveField("MessageID", id), HaveField("Reason", batchv1.JobReasonDeadlineExceeded))))))

		By("Mending the template and asking for it again, as a tenant would")
		Expect(patch(&developer, binding, `{"spec": {"jobTemplate": {"spec": {"template": {"spec": {"volumes": null}}}}}}`)(ctx)).To(Succeed())
		Expect(patch(&developer, binding, `{"metadata": {"annotations": {"queuebinding.dev/requeue": "all"}}}`)(ctx)).To(Succeed())
		Eventually(status(ctx, binding)).Should(And(HaveField("FailedJobs", HaveValue(BeZero())), HaveField("SucceededJobs", HaveValue(Equal(int32(1))))))
		Expect(developer.Delete(ctx, binding)).To(Succeed())
	})

	// Policies are not asked for reads: docs/security.md says what to do instead.
	It("with the operator's token can read a Secret whose name is known, where the right is granted everywhere", func(ctx SpecContext) {
		Expect(operatorToken.Get(ctx, key(theirs, "team-b-keys"), &corev1.Secret{})).To(Succeed())
	})
})

// status reads a binding's status, for Eventually.
func status(ctx context.Context, binding *v1alpha1.QueueBinding) func() v1alpha1.QueueBindingStatus {
	return func() v1alpha1.QueueBindingStatus {
		current := &v1alpha1.QueueBinding{}
		if err := k8s.Get(ctx, client.ObjectKeyFromObject(binding), current); err != nil {
			return v1alpha1.QueueBindingStatus{}
		}
		return current.Status
	}
}

// reachable is the condition QueueReachable as `<status> <reason>: <message>`, for Eventually.
func reachable(ctx context.Context, binding *v1alpha1.QueueBinding) func() string {
	return func() string {
		for _, c := range status(ctx, binding)().Conditions {
			if c.Type == v1alpha1.ConditionQueueReachable {
				return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
			}
		}
		return ""
	}
}

func jobsIn(ctx context.Context, namespace string) func() ([]batchv1.Job, error) {
	return func() ([]batchv1.Job, error) {
		list := &batchv1.JobList{}
		err := k8s.List(ctx, list, client.InNamespace(namespace))
		return list.Items, err
	}
}

// events are the texts of a namespace's events, for Eventually.
func events(ctx context.Context, namespace string) func() []string {
	return func() []string {
		list := &corev1.EventList{}
		if err := k8s.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return []string{err.Error()}
		}
		var texts []string
		for _, e := range list.Items {
			texts = append(texts, e.Message)
		}
		return texts
	}
}
