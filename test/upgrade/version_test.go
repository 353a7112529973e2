package upgrade_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/test/process"
	"github.com/queuebinding/queuebinding/test/rig"
	"github.com/queuebinding/queuebinding/test/testenv"
)

// version is a state of the repository as an admin has it: its manifests and its programs.
type version struct {
	// name is that of its logs.
	name string
	// files is a folder with the repository's files, programs one with what was built of them.
	files, programs string
	// port is where it serves the requeue subresource.
	port int
	// servesItself is true where the operator does that, and there is no other server.
	servesItself bool
	// manifests are its config/default, but for where the processes are.
	manifests string
}

// newVersion builds a version, and writes its manifests.
func newVersion(ctx context.Context, name, files string, servesItself bool) *version {
	GinkgoHelper()
	v := &version{name: name, files: files, programs: filepath.Join(cluster.Work, name), port: freePort(), servesItself: servesItself}
	targets := []string{"./cmd", "./cmd/kubectl-queuebinding"}
	if !servesItself {
		targets = append(targets, "./cmd/queuebinding-apiserver")
	}
	Expect(rig.BuildAll(files, v.programs, targets...)).To(Succeed())
	v.manifests = v.render(ctx)
	return v
}

// overlay makes of config/default what fits processes outside of the cluster: no Pods, and a Service that leads here.
const overlay = `
resources: [%s]
patches:
- target: {kind: Deployment}
  patch: '[{"op": "replace", "path": "/spec/replicas", "value": 0}]'
- target: {kind: Service, name: queuebinding-apiserver}
  patch: '[{"op": "replace", "path": "/spec", "value": {"type": "ExternalName", "externalName": "localhost"}}]'
- target: {kind: APIService}
  patch: '[{"op": "add", "path": "/spec/service/port", "value": %d}]'
`

func (v *version) render(ctx context.Context) string {
	GinkgoHelper()
	// The way from one folder to the other must not lead through links.
	work, err := filepath.EvalSymlinks(v.programs)
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(filepath.Join(work, "kustomization.yaml"), fmt.Appendf(nil, overlay, v.base(work), v.port), 0o600)).To(Succeed())
	return kubectl(ctx, "kustomize", work)
}

// base is the way from a folder to config/default.
func (v *version) base(from string) string {
	GinkgoHelper()
	base, err := filepath.Rel(from, filepath.Join(v.files, "config", "default"))
	Expect(err).NotTo(HaveOccurred())
	return base
}

func freePort() int {
	GinkgoHelper()
	address, err := rig.FreeAddress()
	Expect(err).NotTo(HaveOccurred())
	return address.Port
}

// installation is what runs of a version.
type installation struct {
	*version
	operators []*process.Process
	// server is nil where the operators serve the subresource.
	server *process.Process
}

// start starts two replicas of the operator with the rights of their ServiceAccount, as the Deployment does, and the server of the
// subresource. Where no other version leads, the first replica does.
func (v *version) start(ctx context.Context, leads bool) *installation {
	GinkgoHelper()
	i := &installation{version: v, operators: []*process.Process{v.operator(ctx, 0)}}
	if leads {
		Eventually(holder).WithArguments(ctx).ShouldNot(BeEmpty())
	}
	i.operators = append(i.operators, v.operator(ctx, 1))
	if !v.servesItself {
		i.server = v.run(ctx, "queuebinding-apiserver", "server", "queuebinding-apiserver", "--namespace="+system, fmt.Sprintf("--bind-address=127.0.0.1:%d", v.port))
	}
	return i
}

// operator starts a replica. The last one is who serves the subresource where operators do.
func (v *version) operator(ctx context.Context, replica int) *process.Process {
	GinkgoHelper()
	log := fmt.Sprintf("operator-%d", replica)
	if !v.servesItself {
		return v.run(ctx, "manager", log, "queuebinding-controller-manager", "--namespace="+system)
	}
	port := v.port
	if replica == 0 {
		port = freePort()
	}
	return v.run(ctx, "manager", log, "queuebinding-controller-manager", "--leader-election-namespace="+system,
		"--apiserver-namespace="+system, fmt.Sprintf("--apiserver-bind-address=127.0.0.1:%d", port))
}

func (v *version) run(ctx context.Context, program, log, account string, args ...string) *process.Process {
	GinkgoHelper()
	endpoints := cluster.DirectEndpoints(v.name+"-"+log, "KUBECONFIG="+kubeconfig(ctx, account))
	started, err := cluster.StartOperator(filepath.Join(v.programs, program), endpoints, append([]string{"--leader-elect"}, args...)...)
	Expect(err).NotTo(HaveOccurred())
	processes = append(processes, started)
	return started
}

// kubeconfig writes one with a ServiceAccount's rights, and returns its path.
func kubeconfig(ctx context.Context, account string) string {
	GinkgoHelper()
	config, err := clientcmd.LoadFromFile(cluster.Kubeconfig)
	Expect(err).NotTo(HaveOccurred())
	token := strings.TrimSpace(kubectl(ctx, "create", "token", account, "-n", system))
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token}
	}
	path := filepath.Join(cluster.Work, account+".kubeconfig")
	Expect(clientcmd.WriteToFile(*config, path)).To(Succeed())
	return path
}

// holder is who holds the operators' Lease, or nothing.
func holder(ctx context.Context) string {
	lease := &coordinationv1.Lease{}
	if err := k8s.Get(ctx, client.ObjectKey{Namespace: system, Name: "leader.queuebinding.dev"}, lease); err != nil {
		return ""
	}
	return ptr.Deref(lease.Spec.HolderIdentity, "")
}

// all are the processes.
func (i *installation) all() []*process.Process {
	if i.server == nil {
		return i.operators
	}
	return append([]*process.Process{i.server}, i.operators...)
}

// kubectl runs a command that is to succeed, and returns its output.
func kubectl(ctx context.Context, args ...string) string {
	GinkgoHelper()
	return run(ctx, "", append([]string{"kubectl"}, args...)...)
}

// apply applies manifests as users do.
func apply(ctx context.Context, manifests string) {
	GinkgoHelper()
	run(ctx, manifests, "kubectl", "apply", "-f", "-")
}

// run runs a program of the cluster that is to succeed, and returns its output.
func run(ctx context.Context, stdin string, command ...string) string {
	GinkgoHelper()
	return runIn(ctx, cluster.Environment, stdin, command...)
}

// runIn runs a program that is to succeed in an environment, and returns its output.
func runIn(ctx context.Context, in *testenv.Environment, stdin string, command ...string) string {
	GinkgoHelper()
	output, err := tryIn(ctx, in, stdin, command...)
	Expect(err).NotTo(HaveOccurred())
	return output
}

func tryIn(ctx context.Context, in *testenv.Environment, stdin string, command ...string) (string, error) {
	c := in.Command(ctx, command[0], command[1:]...)
	c.Stdin = strings.NewReader(stdin)
	var problem strings.Builder
	c.Stderr = &problem
	output, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, problem.String())
	}
	return string(output), nil
}
