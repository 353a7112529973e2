package tenants_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/rig"
	"github.com/queuebinding/queuebinding/test/testenv"
)

// clusterWide are the kinds that an installation has objects of outside its namespace.
const clusterWide = "apiservices,customresourcedefinitions,validatingadmissionpolicies,validatingadmissionpolicybindings,clusterroles,clusterrolebindings"

// left are the objects of an installation that are there outside its namespace, as kubectl names them.
func left(ctx context.Context) []string {
	GinkgoHelper()
	names, err := cluster.Kubectl(ctx, "get", clusterWide, "-o", "name")
	Expect(err).NotTo(HaveOccurred())
	var ours []string
	for name := range strings.FieldsSeq(names) {
		if strings.Contains(name, "queuebinding") || strings.Contains(name, "/tenancy") {
			ours = append(ours, name)
		}
	}
	return ours
}

// manifests writes what `kubectl delete -f` takes, one object a file, in the order of the manifests or as arranged.
func manifests(ctx context.Context, arrange func([]string) []string) string {
	GinkgoHelper()
	whole, err := cluster.Kubectl(ctx, "kustomize", filepath.Join(cluster.Root, testenv.Tenancy))
	Expect(err).NotTo(HaveOccurred())
	file := filepath.Join(GinkgoT().TempDir(), "install.yaml")
	Expect(os.WriteFile(file, []byte(strings.Join(arrange(strings.Split(whole, "\n---\n")), "\n---\n")), 0o600)).To(Succeed())
	return file
}

func asWritten(objects []string) []string { return objects }

func reversed(objects []string) []string {
	slices.Reverse(objects)
	return objects
}

// first arranges objects of a kind before all others.
func first(kind string) func([]string) []string {
	return func(objects []string) []string {
		slices.SortStableFunc(objects, func(a, b string) int {
			rank := func(object string) int {
				if strings.Contains("\n"+object, "\nkind: "+kind+"\n") {
					return 0
				}
				return 1
			}
			return rank(a) - rank(b)
		})
		return objects
	}
}

// gone asserts that a namespace which was deleted is so in the end.
func gone(ctx context.Context, name string) {
	GinkgoHelper()
	Eventually(func() error { return k8s.Get(ctx, client.ObjectKey{Name: name}, &corev1.Namespace{}) }).Should(MatchError(apierrors.IsNotFound, "IsNotFound"), "namespace "+name)
}

// terminating deletes a tenant's namespace and one that has nothing of ours, and returns what asserts that they are gone, and ours is.
func terminating(ctx context.Context, tenant string) (ended func()) {
	GinkgoHelper()
	names := []string{tenant, "other-" + tenant}
	Expect(k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: names[1]}})).To(Succeed())
	for _, name := range names {
		Expect(k8s.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})).To(Succeed())
	}
	return func() {
		GinkgoHelper()
		for _, name := range append(names, rig.System) {
			gone(ctx, name)
		}
	}
}

var serial int

// work makes a namespace with a binding that has a Job, and returns its name.
func work(ctx context.Context) string {
	GinkgoHelper()
	serial++
	name := fmt.Sprintf("work-%d", serial)
	queue, err := cluster.CreateQueue(ctx, name, "", 0)
	Expect(err).NotTo(HaveOccurred())
	Expect(k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{
		v1alpha1.AnnotationAllowedQueues: "arn:aws:sqs:eu-west-1:000000000000:" + name, v1alpha1.AnnotationOperatorIdentity: "true",
	}}})).To(Succeed())
	Eventually(func() error { return k8s.Create(ctx, rig.Binding(name, "pings", queue.URL)) }).Should(Succeed())
	_, err = queue.Send(ctx, rig.Body(1, "127.0.0.1", 1))
	Expect(err).NotTo(HaveOccurred())
	Eventually(jobsIn(ctx, name)).Should(HaveLen(1))
	return name
}

var _ = Describe("Uninstalling", Ordered, ContinueOnFailure, func() {
	BeforeEach(func(ctx SpecContext) { install(ctx) })

	uninstall := func(ctx SpecContext, file string) {
		GinkgoHelper()
		_, err := cluster.Kubectl(ctx, "delete", "--ignore-not-found", "--timeout=2m", "-f", file)
		Expect(err).NotTo(HaveOccurred())
	}
	AfterEach(func(ctx SpecContext) {
		kill()
		if CurrentSpecReport().Failed() {
			uninstall(ctx, manifests(ctx, asWritten)) // for those that follow
		}
	})

	DescribeTable("by kubectl delete -f leaves nothing, and no namespace that cannot be deleted:",
		func(ctx SpecContext, arrange func([]string) []string, before func()) {
			namespace := work(ctx)
			before()
			ended := terminating(ctx, namespace)
			uninstall(ctx, manifests(ctx, arrange))
			ended()
			Eventually(left).WithArguments(ctx).Should(BeEmpty())
			// Nothing of ours that still runs puts it back.
			Consistently(left).WithArguments(ctx).Should(BeEmpty())
		},
		Entry("in the order of the manifests, the namespace first", asWritten, func() {}),
		Entry("in the reverse order", reversed, func() {}),
		Entry("the CRD first", first("CustomResourceDefinition"), func() {}),
		Entry("the rights first, which are those of the operator and the server", first("ClusterRoleBinding"), func() {}),
		Entry("with the operator dead", asWritten, func() { operator.Kill() }),
		Entry("with the operator and the server of the subresource dead", asWritten, kill),
	)

	It("by deleting the namespace takes the APIService along; kubectl delete -f takes the rest, which is rights of nobody", func(ctx SpecContext) {
		namespace := work(ctx)
		ended := terminating(ctx, namespace)
		_, err := cluster.Kubectl(ctx, "delete", "namespace", rig.System, "--timeout=2m")
		Expect(err).NotTo(HaveOccurred())
		ended()
		Expect(left(ctx)).To(And(Not(BeEmpty()), Not(ContainElement(ContainSubstring(apiService)))))
		// Rights are bound to accounts that are gone with the namespace, and to nobody else.
		subjects, err := cluster.Kubectl(ctx, "get", "clusterrolebindings", "-o", `jsonpath={range .items[*]}{.metadata.name}{" "}{.subjects[*].kind}{" "}{.subjects[*].namespace}{"\n"}{end}`)
		Expect(err).NotTo(HaveOccurred())
		for line := range strings.Lines(subjects) {
			if strings.HasPrefix(line, "queuebinding-") || strings.HasPrefix(line, "tenancy") {
				Expect(strings.Fields(line)[1:]).To(Equal([]string{"ServiceAccount", rig.System}), line)
			}
		}
		uninstall(ctx, manifests(ctx, asWritten))
		Eventually(left).WithArguments(ctx).Should(BeEmpty())
	})

	It("by deleting the namespace while the server is dead blocks until the APIService is deleted, and nothing puts that back", func(ctx SpecContext) {
		namespace := work(ctx)
		server.Kill()
		Eventually(cluster.SubresourceAvailable).WithArguments(ctx).Should(BeFalse())
		ended := terminating(ctx, namespace)
		Expect(k8s.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: rig.System}})).To(Succeed())
		system := &corev1.Namespace{}
		Eventually(func() []corev1.NamespaceCondition {
			Expect(k8s.Get(ctx, client.ObjectKey{Name: rig.System}, system)).To(Succeed())
			return system.Status.Conditions
		}).Should(ContainElement(And(
			HaveField("Type", corev1.NamespaceDeletionDiscoveryFailure), HaveField("Status", corev1.ConditionTrue),
			HaveField("Message", ContainSubstring("subresources.queuebinding.dev/v1alpha1")))))

		// As docs/troubleshooting.md has it.
		_, err := cluster.Kubectl(ctx, "delete", "apiservice", apiService)
		Expect(err).NotTo(HaveOccurred())
		ended()
		Consistently(left).WithArguments(ctx).ShouldNot(ContainElement(ContainSubstring(apiService)))
		uninstall(ctx, manifests(ctx, asWritten))
		Eventually(left).WithArguments(ctx).Should(BeEmpty())
	})
})
