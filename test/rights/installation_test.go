package rights_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/test/audit"
	"github.com/queuebinding/queuebinding/test/process"
	"github.com/queuebinding/queuebinding/test/rig"
)

// edit replaces text in a file of config, where it is exactly once.
type edit struct{ file, old, new string }

// uncomment takes the comment sign off a line of a file.
func uncomment(file, line string) edit { return edit{file, "# " + line + "\n", line + "\n"} }

// without takes a line out of a file.
func without(file, line string) edit { return edit{file, line + "\n", ""} }

// installation is one form of the installation, by a name of its own, so that several fit into the cluster.
type installation struct {
	name string
	// kustomization is the folder in config that is built.
	kustomization string
	edits         []edit
	// args are those of the containers in the manifests, by the names that the programs have here.
	args map[string][]string
	// probes and metrics are the ports of the programs.
	probes, metrics map[string]int
	port            int // of the subresource
	processes       map[string]*process.Process
}

// The programs, which are called as their Deployments and ServiceAccounts, after the installation's prefix.
const (
	operator = "controller-manager"
	server   = "apiserver"
)

func (i *installation) system() string { return i.name + "-system" }

// namespace returns the name of one of its namespaces for bindings, such as a.
func (i *installation) namespace(suffix string) string { return i.name + "-" + suffix }

func (i *installation) account(program string) audit.Account {
	return audit.Account{Namespace: i.system(), Name: i.name + "-" + program}
}

// manifests builds the kustomization, with the installation's names, out of a copy of config.
func (i *installation) manifests(ctx context.Context, edits ...edit) string {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	Expect(os.CopyFS(dir, os.DirFS(filepath.Join(cluster.Root, "config")))).To(Succeed())
	names := strings.NewReplacer("queuebinding-system", i.system(), "namePrefix: queuebinding-", "namePrefix: "+i.name+"-", "team-a", i.namespace("a"), "team-b", i.namespace("b"))
	for _, e := range edits {
		path := filepath.Join(dir, e.file)
		text, err := os.ReadFile(path)
		Expect(err).NotTo(HaveOccurred())
		Expect(strings.Count(string(text), e.old)).To(Equal(1), "%s: %q", e.file, e.old)
		Expect(os.WriteFile(path, []byte(strings.Replace(string(text), e.old, e.new, 1)), 0o600)).To(Succeed())
	}
	Expect(filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.Name() != "kustomization.yaml" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(names.Replace(string(text))), 0o600)
	})).To(Succeed())
	for _, suffix := range []string{"a", "b"} {
		Expect(os.Rename(filepath.Join(dir, "namespaced", "team-"+suffix), filepath.Join(dir, "namespaced", i.namespace(suffix)))).To(Succeed())
	}
	built, err := cluster.Kubectl(ctx, "kustomize", filepath.Join(dir, i.kustomization))
	Expect(err).NotTo(HaveOccurred())
	return built
}

// install makes the namespaces for bindings and applies the manifests. Of the Deployments it takes the arguments alone, as the programs run
// outside the cluster; the APIService leads to this machine.
func (i *installation) install(ctx context.Context) {
	GinkgoHelper()
	i.args, i.probes, i.metrics, i.processes = map[string][]string{}, map[string]int{}, map[string]int{}, map[string]*process.Process{}
	for _, suffix := range []string{"a", "b", "c"} {
		Expect(k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: i.namespace(suffix)}})).To(Succeed())
	}
	i.port = freePort()
	i.apply(ctx, i.manifests(ctx, i.edits...))
	// It is about all bindings of the cluster.
	DeferCleanup(func(ctx SpecContext) {
		policy := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: i.name + "-tenancy"}}
		Expect(client.IgnoreNotFound(k8s.Delete(ctx, policy))).To(Succeed())
	})
}

// apply creates what is not there yet.
func (i *installation) apply(ctx context.Context, manifests string) {
	GinkgoHelper()
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return
		}
		Expect(err).NotTo(HaveOccurred())
		switch object.GetKind() {
		case "PodDisruptionBudget", "Service":
			continue
		case "Deployment":
			deployment := &appsv1.Deployment{}
			Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, deployment)).To(Succeed())
			i.args[strings.TrimPrefix(deployment.Name, i.name+"-")] = deployment.Spec.Template.Spec.Containers[0].Args
			continue
		case "APIService":
			i.leadHere(ctx, object)
		}
		if err := k8s.Create(ctx, object); !apierrors.IsAlreadyExists(err) {
			Expect(err).NotTo(HaveOccurred(), object.GetKind()+" "+object.GetName())
		}
	}
}

// leadHere has an APIService lead to the port of the server. The cluster has one at a time.
func (i *installation) leadHere(ctx context.Context, apiService *unstructured.Unstructured) {
	GinkgoHelper()
	before := &apiregistrationv1.APIService{ObjectMeta: metav1.ObjectMeta{Name: apiService.GetName()}}
	Expect(client.IgnoreNotFound(k8s.Delete(ctx, before))).To(Succeed())
	Eventually(func() bool {
		return apierrors.IsNotFound(k8s.Get(ctx, client.ObjectKeyFromObject(before), before))
	}).Should(BeTrue())
	Expect(unstructured.SetNestedField(apiService.Object, int64(i.port), "spec", "service", "port")).To(Succeed())
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: i.system(), Name: i.account(server).Name}}
	service.Spec.Type, service.Spec.ExternalName = corev1.ServiceTypeExternalName, "localhost"
	Expect(k8s.Create(ctx, service)).To(Succeed())
}

// start starts the programs that the manifests have, and does not wait for them.
func (i *installation) start(ctx context.Context) {
	GinkgoHelper()
	for program := range i.args {
		i.startProgram(ctx, program)
	}
}

func (i *installation) startProgram(ctx context.Context, program string, more ...string) {
	GinkgoHelper()
	kubeconfig, err := cluster.KubeconfigOf(ctx, i.system(), i.account(program).Name)
	Expect(err).NotTo(HaveOccurred())
	i.probes[program], i.metrics[program] = freePort(), freePort()
	args := append([]string{}, i.args[program]...)
	args = append(args, "--namespace="+i.system(), fmt.Sprintf("--health-probe-bind-address=127.0.0.1:%d", i.probes[program]))
	if program == operator {
		args = append(args, "--debug-bind-address=0") // the manifests' port may be taken
	}
	if program == server {
		args = append(args, fmt.Sprintf("--bind-address=127.0.0.1:%d", i.port))
	}
	if strings.Contains(strings.Join(i.args[program], " "), "--metrics-bind-address") {
		args = append(args, fmt.Sprintf("--metrics-bind-address=127.0.0.1:%d", i.metrics[program]))
	}
	started, err := cluster.StartOperator(filepath.Join(cluster.Work, "queuebinding-"+program),
		cluster.DirectEndpoints(i.name+"-"+program, "KUBECONFIG="+kubeconfig), append(args, more...)...)
	Expect(err).NotTo(HaveOccurred())
	i.processes[program] = started
	DeferCleanup(started.Kill)
}

// stop ends the programs as a crash does: in good order an open poll would have to end first.
func (i *installation) stop() {
	for _, each := range i.processes {
		each.Kill()
	}
	clear(i.processes)
}

// ready returns what a program answers to whether it is ready.
func (i *installation) ready(program string) func() int {
	return func() int {
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", i.probes[program]))
		if err != nil {
			return 0
		}
		defer response.Body.Close()
		return response.StatusCode
	}
}

// scrape reads the metrics, those of bindings among them, as somebody whom the form's role lets.
func (i *installation) scrape(ctx context.Context) {
	GinkgoHelper()
	for _, args := range [][]string{
		{"create", "serviceaccount", "scraper", "-n", i.system()},
		{"create", "clusterrolebinding", i.name + "-scraper", "--clusterrole=" + i.name + "-metrics-reader", "--serviceaccount=" + i.system() + ":scraper"},
	} {
		_, err := cluster.Kubectl(ctx, args...)
		Expect(err).NotTo(HaveOccurred())
	}
	token, err := cluster.Kubectl(ctx, "create", "token", "scraper", "-n", i.system())
	Expect(err).NotTo(HaveOccurred())
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // it signs its own certificate
	defer insecure.CloseIdleConnections()
	Eventually(func() (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/metrics", i.metrics[operator]), nil)
		if err != nil {
			return "", err
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
		response, err := insecure.Do(request)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return string(body), err
	}).Should(ContainSubstring("queuebinding_jobs{name=\"pings\",namespace=%q", i.namespace("a")))
}

// requests are all of a program's, the refused ones and the others.
func (i *installation) requests(program string) (allowed, forbidden []audit.Request) {
	GinkgoHelper()
	allowed, forbidden, err := audit.Requests(cluster.Dir, i.account(program))
	Expect(err).NotTo(HaveOccurred())
	return allowed, forbidden
}

// unused are the rights that a program has and did not use.
func (i *installation) unused(ctx context.Context, program string) []string {
	GinkgoHelper()
	allowed, _ := i.requests(program)
	Expect(allowed).NotTo(BeEmpty(), "the audit log does not know "+program)
	granted, err := audit.Granted(ctx, k8s, i.account(program))
	Expect(err).NotTo(HaveOccurred())
	return audit.Unused(granted, allowed)
}

// requeue posts a Requeue of all failed Jobs of a binding.
func requeue(ctx context.Context, namespace, name string) error {
	body := bytes.NewBufferString(`{"apiVersion": "subresources.queuebinding.dev/v1alpha1", "kind": "Requeue", "spec": {"all": true}}`)
	return clientset.RESTClient().Post().AbsPath("/apis/subresources.queuebinding.dev/v1alpha1/namespaces/"+namespace+"/queuebindings/"+name+"/requeue").
		SetHeader("Content-Type", "application/json").Body(body.Bytes()).Do(ctx).Error()
}

func freePort() int {
	GinkgoHelper()
	address, err := rig.FreeAddress()
	Expect(err).NotTo(HaveOccurred())
	return address.Port
}
