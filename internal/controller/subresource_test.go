package controller_test

import (
	"context"
	"encoding/json"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

var _ = Describe("The requeue subresource", func() {
	It("takes from whoever may create requeues, and from nobody else", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		w.send("a")
		failed := w.started(ctx, 1)[0]
		w.fail(ctx, failed)
		Eventually(w.status).WithArguments(ctx).Should(counts(0, 0, 1, 0))
		ask := subresources.RequeueSpec{JobNames: []string{failed.Name, "nosuch"}}
		Eventually(func() error {
			_, err := w.requeue(ctx, clientset, ask, "All")
			return err
		}).Should(Succeed(), "the API server has to find the operator first")

		caller := newUser("oncall")
		_, err := w.requeue(ctx, caller, ask, "")
		Expect(apierrors.IsForbidden(err)).To(BeTrue(), "got %v", err)
		w.allowRequeue(ctx, "oncall")
		Eventually(func() error {
			_, err := w.requeue(ctx, caller, ask, "All")
			return err
		}).Should(Succeed(), "the API server has to see the right first")
		Expect(w.attempts(ctx)).To(Equal([]string{"1"}), "a dry run asks for nothing")

		answer, err := w.requeue(ctx, caller, ask, "")
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.Accepted).To(Equal([]string{failed.Name}))
		Expect(answer.Refused).To(ConsistOf(And(HaveField("JobName", "nosuch"), HaveField("Reason", v1alpha1.RefusedNotFound))))
		Eventually(w.attempts).WithArguments(ctx).Should(Equal([]string{"2"}))
	})
})

// requeue posts a Requeue through the API server.
func (w *workspace) requeue(ctx context.Context, as *kubernetes.Clientset, spec subresources.RequeueSpec, dryRun string) (subresources.RequeueStatus, error) {
	request := subresources.Requeue{
		TypeMeta: metav1.TypeMeta{APIVersion: subresources.GroupVersion.String(), Kind: "Requeue"},
		Spec:     spec,
	}
	text, err := json.Marshal(request)
	if err != nil {
		return subresources.RequeueStatus{}, err
	}
	post := as.RESTClient().Post().Body(text).SetHeader("Content-Type", "application/json").
		AbsPath("/apis", subresources.GroupVersion.String(), "namespaces", w.namespace, "queuebindings", w.binding.Name, "requeue")
	if dryRun != "" {
		post = post.Param("dryRun", dryRun)
	}
	raw, err := post.DoRaw(ctx)
	if err != nil {
		return subresources.RequeueStatus{}, err
	}
	err = json.Unmarshal(raw, &request)
	return request.Status, err
}

// newUser returns the client of a user who has no rights.
func newUser(name string) *kubernetes.Clientset {
	GinkgoHelper()
	user, err := environment.AddUser(envtest.User{Name: name}, nil)
	Expect(err).NotTo(HaveOccurred())
	userClient, err := kubernetes.NewForConfig(user.Config())
	Expect(err).NotTo(HaveOccurred())
	return userClient
}

// allowRequeue gives a user the one right in the workspace.
func (w *workspace) allowRequeue(ctx SpecContext, user string) {
	GinkgoHelper()
	meta := metav1.ObjectMeta{Namespace: w.namespace, Name: "requeue"}
	Expect(k8s.Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{subresources.GroupVersion.Group}, Resources: []string{"queuebindings/requeue"}, Verbs: []string{"create"}},
	}})).To(Succeed())
	Expect(k8s.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	})).To(Succeed())
}
