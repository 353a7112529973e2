// Package rights_test runs the built operator and the built server of the requeue subresource in each form of the installation, each
// with the rights and the arguments that the form's manifests give and no others. In each form they do all that they do, and then the
// API server's audit log tells that no right was missing and that none was granted for nothing.
package rights_test

import (
	"fmt"
	"os/exec"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/test/rig"
)

var (
	cluster   *rig.Cluster
	k8s       client.Client
	clientset *kubernetes.Clientset
)

func TestRights(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(time.Minute) // patience for a busy machine; nothing asserts a speed
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	SetDefaultConsistentlyDuration(2 * time.Second)
	RunSpecs(t, "Rights in each form of the installation")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	cluster, err = rig.StartCluster(ctx, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return cluster.End(false) })
	k8s = cluster.Client
	Expect(apiregistrationv1.AddToScheme(k8s.Scheme())).To(Succeed())
	clientset, err = kubernetes.NewForConfig(cluster.Config)
	Expect(err).NotTo(HaveOccurred())
	build := exec.Command("go", "build", "-trimpath", "-o", cluster.Work+"/queuebinding-controller-manager", "./cmd")
	build.Dir = cluster.Root
	output, err := build.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
	build = exec.Command("go", "build", "-trimpath", "-o", cluster.Work+"/queuebinding-apiserver", "./cmd/queuebinding-apiserver")
	build.Dir = cluster.Root
	output, err = build.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
	refuseLabelled(ctx)
})

// labelRefused is the label of the Jobs that a policy of the suite refuses.
const labelRefused = "rights-test/refused"

// refuseLabelled has the API server refuse Jobs with a label.
func refuseLabelled(ctx SpecContext) {
	GinkgoHelper()
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "rights-test"},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{"batch"}, APIVersions: []string{"v1"}, Resources: []string{"jobs"}},
				},
			}}},
			Validations: []admissionv1.Validation{{Expression: fmt.Sprintf("!(%q in object.metadata.labels)", labelRefused), Message: "no such Jobs"}},
		},
	}
	Expect(k8s.Create(ctx, policy)).To(Succeed())
	Expect(k8s.Create(ctx, &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: policy.Name},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: policy.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
	})).To(Succeed())
}
