// Package walk is the walk of a tenant: what somebody who may do only what the shipped roles say, in one namespace, does with a
// binding from its first message to its end, and what they are refused on the way. It needs an installation with tenancy whose
// operator reaches the environment's queues, and Pods that run: however it was installed, the walk is the same.
package walk

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/onsi/gomega"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/queuebinding/queuebinding/test/testenv"
)

// Installation is one to walk through.
type Installation struct {
	Environment *testenv.Environment
	// Namespace is the operator's own.
	Namespace string
	// Prefix begins the names of the shipped ClusterRoles, such as `queuebinding-`.
	Prefix string
}

// tenant is the one who walks.
type tenant struct {
	Installation
	gomega.Gomega
	namespace, dir, kubeconfig string
	sqs                        *sqs.Client
	url, arn                   string
}

// developer is the ServiceAccount whose token the tenant has, and its rights beside the shipped roles: what `edit` would give it on
// Jobs, and to see their Pods.
const developer = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: developer}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: jobs}
rules:
- {apiGroups: [batch], resources: [jobs], verbs: [get, list, watch, create, update, patch, delete]}
- {apiGroups: [""], resources: [pods, pods/log], verbs: [get, list, watch]}
- {apiGroups: [events.k8s.io, ""], resources: [events], verbs: [get, list, watch]}
`

// AsTenant walks, in a namespace of this name that it makes and deletes, and in a directory for its files. It fails through g.
func AsTenant(ctx context.Context, g gomega.Gomega, installation Installation, namespace, dir string) {
	t := &tenant{Installation: installation, Gomega: g, namespace: namespace, dir: dir}
	t.arrive(ctx)
	jobs := t.work(ctx)
	t.requeue(ctx, jobs)
	t.trespass(ctx)
	t.leave(ctx)
}

// arrive is what administrators do for a new tenant: a namespace with grants, roles in it, and a kubeconfig.
func (t *tenant) arrive(ctx context.Context) {
	t.sqs = sqs.New(sqs.Options{
		BaseEndpoint: aws.String(t.Environment.SQSEndpoint), Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	created, err := t.sqs.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &t.namespace})
	t.Expect(err).NotTo(gomega.HaveOccurred())
	t.url = *created.QueueUrl
	attributes, err := t.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &t.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn}})
	t.Expect(err).NotTo(gomega.HaveOccurred())
	t.arn = attributes.Attributes[string(types.QueueAttributeNameQueueArn)]

	admin := func(args ...string) string { return t.kubectl(ctx, t.Environment.Kubeconfig, args...) }
	admin("create", "namespace", t.namespace)
	admin("label", "namespace", t.namespace, "pod-security.kubernetes.io/enforce=baseline")
	admin("annotate", "namespace", t.namespace, "queuebinding.dev/allowed-queues="+t.arn, "queuebinding.dev/operator-identity=true")
	admin("apply", "-n", t.namespace, "-f", t.file("developer.yaml", developer))
	account := "--serviceaccount=" + t.namespace + ":developer"
	admin("create", "rolebinding", "jobs", "-n", t.namespace, "--role=jobs", account)
	for _, role := range []string{"editor-role", "requeuer"} {
		admin("create", "rolebinding", role, "-n", t.namespace, "--clusterrole="+t.Prefix+role, account)
	}
	config, err := clientcmd.LoadFromFile(t.Environment.Kubeconfig)
	t.Expect(err).NotTo(gomega.HaveOccurred())
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: strings.TrimSpace(admin("create", "token", "developer", "-n", t.namespace))}
	}
	for _, entry := range config.Contexts {
		entry.Namespace = t.namespace
	}
	t.kubeconfig = filepath.Join(t.dir, "tenant.kubeconfig")
	t.Expect(clientcmd.WriteToFile(*config, t.kubeconfig)).To(gomega.Succeed())
}

// work applies the sample, sends messages, and returns the Jobs that failed.
func (t *tenant) work(ctx context.Context) []string {
	root, err := testenv.Root()
	t.Expect(err).NotTo(gomega.HaveOccurred())
	sample, err := os.ReadFile(filepath.Join(root, "config", "samples", "ping.yaml"))
	t.Expect(err).NotTo(gomega.HaveOccurred())
	// Each retry would wait longer. The emulator's URL does not tell the region.
	manifest := regexp.MustCompile(`url: .*`).ReplaceAllLiteralString(string(sample), "url: "+t.url+"\n    region: eu-west-1")
	manifest = strings.Replace(manifest, "backoffLimit: 3", "backoffLimit: 0", 1)
	t.do(ctx, "apply", "-f", t.file("ping.yaml", manifest))
	t.do(ctx, "wait", "--for=condition=Ready", "queuebinding/pings", "--timeout=2m")
	for _, body := range []string{
		`{"target": "127.0.0.1", "duration": "2"}`, `{"target": "this.is.invalid", "duration": "10"}`, `{"target": "this.is.also.invalid", "duration": "10"}`,
	} {
		_, err := t.sqs.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &t.url, MessageBody: &body})
		t.Expect(err).NotTo(gomega.HaveOccurred())
	}
	t.Eventually(t.counts).WithArguments(ctx).Should(gomega.Equal("0 1 2"))
	t.Expect(t.do(ctx, "get", "queuebindings")).To(gomega.MatchRegexp(`pings +True +Running`))
	done := t.jobs(ctx, "Complete")
	t.Expect(done).To(gomega.HaveLen(1))
	t.Expect(t.do(ctx, "logs", "job/"+done[0])).To(gomega.ContainSubstring("0% packet loss"))
	failed := t.jobs(ctx, "Failed")
	t.Expect(failed).To(gomega.HaveLen(2))
	return failed
}

// requeue asks for one Job by the annotation and then for all by the subresource.
func (t *tenant) requeue(ctx context.Context, failed []string) {
	t.do(ctx, "annotate", "queuebinding", "pings", "queuebinding.dev/requeue="+failed[0])
	t.Eventually(t.jobs).WithArguments(ctx, "Failed").Should(gomega.And(gomega.HaveLen(2), gomega.ContainElement(failed[1]), gomega.Not(gomega.ContainElement(failed[0]))))
	before := t.jobs(ctx, "Failed")
	path := fmt.Sprintf("/apis/subresources.queuebinding.dev/v1alpha1/namespaces/%s/queuebindings/pings/requeue", t.namespace)
	answer := t.do(ctx, "create", "--raw", path, "-f", t.file("requeue.json", `{"spec": {"all": true}}`))
	for _, job := range before {
		t.Expect(answer).To(gomega.ContainSubstring(job))
	}
	t.Eventually(t.jobs).WithArguments(ctx, "Failed").Should(gomega.And(
		gomega.HaveLen(2), gomega.Not(gomega.ContainElement(before[0])), gomega.Not(gomega.ContainElement(before[1]))))
	t.Eventually(t.counts).WithArguments(ctx).Should(gomega.Equal("0 1 2"))
	t.Eventually(t.do).WithArguments(ctx, "get", "events").Should(gomega.ContainSubstring("system:serviceaccount:" + t.namespace + ":developer"))
}

// trespass tries what the tenant must not do. test/tenants has more of it.
func (t *tenant) trespass(ctx context.Context) {
	sample, err := os.ReadFile(filepath.Join(t.dir, "ping.yaml"))
	t.Expect(err).NotTo(gomega.HaveOccurred())
	foreign := strings.Replace(string(sample), t.url, t.url+"-of-others", 1)
	foreign = strings.Replace(foreign, "name: pings", "name: others", 1)
	t.refused(ctx, "namespace "+t.namespace+" may not use the queue "+t.arn+"-of-others: ask an administrator", "create", "-f", t.file("foreign.yaml", foreign))
	t.refused(ctx, `resource "namespaces"`, "annotate", "namespace", t.namespace, "queuebinding.dev/allowed-queues=*", "--overwrite")
	t.refused(ctx, `cannot patch resource "queuebindings/status"`, "patch", "queuebinding", "pings", "--subresource=status", "--type=merge", "-p", `{"status": {"failedJobs": 0}}`)
	t.refused(ctx, `cannot create resource "queuebindings"`, "create", "-n", "default", "-f", filepath.Join(t.dir, "ping.yaml"))
	t.refused(ctx, `cannot list resource "secrets"`, "get", "secrets", "-n", t.Namespace)
	t.refused(ctx, `cannot delete resource "apiservices"`, "delete", "apiservice", "v1alpha1.subresources.queuebinding.dev")
}

// leave scales, suspends and deletes the binding, and then the namespace goes.
func (t *tenant) leave(ctx context.Context) {
	t.do(ctx, "scale", "queuebinding/pings", "--replicas=3")
	t.do(ctx, "patch", "queuebinding", "pings", "--type=merge", "-p", `{"spec": {"suspend": true}}`)
	t.Eventually(t.do).WithArguments(ctx, "get", "queuebinding", "pings", "--no-headers").Should(gomega.ContainSubstring("Suspended"))
	t.do(ctx, "delete", "queuebinding", "pings")
	t.Eventually(t.do).WithArguments(ctx, "get", "jobs", "-o", "name").Should(gomega.BeEmpty())
	t.kubectl(ctx, t.Environment.Kubeconfig, "delete", "namespace", t.namespace, "--timeout=2m")
}

// counts are the numbers of active, succeeded and failed Jobs in the status.
func (t *tenant) counts(ctx context.Context) string {
	return t.do(ctx, "get", "queuebinding", "pings", "-o", "jsonpath={.status.activeJobs} {.status.succeededJobs} {.status.failedJobs}")
}

// jobs are the names of the Jobs whose last condition is of a type.
func (t *tenant) jobs(ctx context.Context, condition string) []string {
	var names []string
	for line := range strings.Lines(t.do(ctx, "get", "jobs", "-o", `jsonpath={range .items[*]}{.metadata.name} {.status.conditions[-1:].type}{"\n"}{end}`)) {
		if name, last, _ := strings.Cut(strings.TrimSpace(line), " "); last == condition {
			names = append(names, name)
		}
	}
	return names
}

// file writes a file and returns its path.
func (t *tenant) file(name, content string) string {
	path := filepath.Join(t.dir, name)
	t.Expect(os.WriteFile(path, []byte(content), 0o600)).To(gomega.Succeed())
	return path
}

// do runs kubectl as the tenant, in its namespace, and returns what it printed.
func (t *tenant) do(ctx context.Context, args ...string) string {
	return t.kubectl(ctx, t.kubeconfig, args...)
}

func (t *tenant) kubectl(ctx context.Context, kubeconfig string, args ...string) string {
	output, err := t.command(ctx, kubeconfig, args...).Output()
	var problem string
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // Output returns it as it is
		problem = string(exit.Stderr)
	}
	t.Expect(err).NotTo(gomega.HaveOccurred(), "kubectl "+strings.Join(args, " ")+": "+problem)
	return string(output)
}

// refused runs kubectl as the tenant, and expects it to fail with words.
func (t *tenant) refused(ctx context.Context, words string, args ...string) {
	output, err := t.command(ctx, t.kubeconfig, args...).CombinedOutput()
	t.Expect(err).To(gomega.HaveOccurred(), "kubectl "+strings.Join(args, " "))
	t.Expect(string(output)).To(gomega.ContainSubstring(words))
}

func (t *tenant) command(ctx context.Context, kubeconfig string, args ...string) *exec.Cmd {
	return t.Environment.Command(ctx, "kubectl", append([]string{"--kubeconfig=" + kubeconfig}, args...)...)
}
