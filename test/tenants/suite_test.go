// Package tenants_test tests what tenants that share a cluster, and whoever took over one of our processes, cannot do, and how the
// operator is uninstalled: on a real API server with the manifests of config/default and config/tenancy, real controllers, and the
// built operator and server of the requeue subresource as processes with the rights of their ServiceAccounts.
package tenants_test

import (
	"context"
	"net"
	"os/exec"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/test/process"
	"github.com/queuebinding/queuebinding/test/rig"
	"github.com/queuebinding/queuebinding/test/testenv"
)

const apiService = "v1alpha1.subresources.queuebinding.dev"

var (
	cluster *rig.Cluster
	k8s     client.Client
	// operator does the work, server serves the subresource. They are nil where nothing is installed.
	operator, server *process.Process
)

func TestTenants(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(time.Minute) // patience for a busy machine; nothing asserts a speed
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	SetDefaultConsistentlyDuration(time.Second)
	RunSpecs(t, "A cluster that tenants share")
}

var _ = BeforeSuite(func() {
	var err error
	cluster, err = rig.StartEmptyCluster(GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return cluster.End(false) })
	k8s = cluster.Client
	Expect(apiregistrationv1.AddToScheme(k8s.Scheme())).To(Succeed())
	_, err = cluster.Build("manager")
	Expect(err).NotTo(HaveOccurred())
	build := exec.Command("go", "build", "-trimpath", "-o", cluster.Work, "./cmd/queuebinding-apiserver")
	build.Dir = cluster.Root
	output, err := build.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
	DeferCleanup(kill)
})

// What was logged is shown with what failed.
var _ = ReportAfterEach(func(report SpecReport) {
	if report.Failed() && operator != nil && server != nil {
		AddReportEntry("operator's log", operator.LastLines(60))
		AddReportEntry("server's log", server.LastLines(60))
	}
})

// install installs everything, unless it is there.
func install(ctx context.Context) {
	GinkgoHelper()
	if operator != nil {
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	address := listener.Addr().(*net.TCPAddr)
	Expect(listener.Close()).To(Succeed())
	Expect(cluster.Install(ctx, testenv.Tenancy, address.Port)).To(Succeed())
	operator = startOperator(ctx)
	server = start(ctx, "queuebinding-apiserver", rig.ServerAccount, "--leader-elect", "--bind-address="+address.String())
	Eventually(cluster.SubresourceAvailable).WithArguments(ctx).Should(BeTrue(), server.LastLines(20))
}

func startOperator(ctx context.Context) *process.Process {
	GinkgoHelper()
	return start(ctx, "manager", rig.OperatorAccount, "--tenancy=namespaces", "--leader-elect")
}

// start starts a program with the rights of its ServiceAccount.
func start(ctx context.Context, program, account string, args ...string) *process.Process {
	GinkgoHelper()
	kubeconfig, err := cluster.KubeconfigOf(ctx, rig.System, account)
	Expect(err).NotTo(HaveOccurred())
	started, err := cluster.StartOperator(cluster.Work+"/"+program, cluster.DirectEndpoints(program, "KUBECONFIG="+kubeconfig), append(args, "--namespace="+rig.System)...)
	Expect(err).NotTo(HaveOccurred())
	return started
}

// kill kills what runs of ours, as a crash would.
func kill() {
	for _, running := range []*process.Process{operator, server} {
		if running != nil {
			running.Kill()
		}
	}
	operator, server = nil, nil
}

// createNamespace makes a namespace with annotations, which is there until the spec or container ends.
func createNamespace(ctx context.Context, name string, annotations map[string]string) {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}}
	Expect(k8s.Create(ctx, namespace)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(client.IgnoreNotFound(k8s.Delete(ctx, namespace))).To(Succeed())
		Eventually(func() error { return k8s.Get(ctx, client.ObjectKeyFromObject(namespace), namespace) }).Should(MatchError(apierrors.IsNotFound, "IsNotFound"))
	})
}

// createUser makes a ServiceAccount of the attacker's with roles in its namespace, and returns a client of its.
func createUser(ctx context.Context, name string, roles ...rbacv1.RoleRef) client.Client {
	GinkgoHelper()
	Expect(k8s.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: mine, Name: name}})).To(Succeed())
	for _, role := range roles {
		Expect(k8s.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: mine, Name: name + "-" + role.Name},
			RoleRef:    role,
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: mine, Name: name}},
		})).To(Succeed())
	}
	return clientOf(ctx, mine, name)
}

// clientOf returns a client with the token of a ServiceAccount. It has fields that the API server does not know refused.
func clientOf(ctx context.Context, namespace, account string) client.Client {
	GinkgoHelper()
	path, err := cluster.KubeconfigOf(ctx, namespace, account)
	Expect(err).NotTo(HaveOccurred())
	config, err := clientcmd.BuildConfigFromFlags("", path)
	Expect(err).NotTo(HaveOccurred())
	c, err := client.New(config, client.Options{Scheme: k8s.Scheme()})
	Expect(err).NotTo(HaveOccurred())
	return client.WithFieldValidation(c, metav1.FieldValidationStrict)
}

func clusterRole(name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
}
