package v1alpha1_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/cli"
	"github.com/queuebinding/queuebinding/test/testenv"
)

// least is the shortest valid binding.
const least = `
apiVersion: queuebinding.dev/v1alpha1
kind: QueueBinding
metadata: {name: NAME, namespace: default}
spec:
  queue: {url: "https://sqs.eu-west-1.amazonaws.com/123456789012/pings"}
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: c, image: i}]
`

// parsed is the least binding under a name, changed at a path of fields.
func parsed(name string, value any, path ...string) *unstructured.Unstructured {
	GinkgoHelper()
	binding := &unstructured.Unstructured{}
	Expect(yaml.Unmarshal([]byte(strings.ReplaceAll(least, "NAME", name)), &binding.Object)).To(Succeed())
	if len(path) > 0 {
		Expect(unstructured.SetNestedField(binding.Object, value, path...)).To(Succeed())
	}
	return binding
}

func variable(name, expression string) []any {
	return []any{map[string]any{"name": name, "expression": expression}}
}

var _ = Describe("The schema", func() {
	It("fills in the defaults", func(ctx SpecContext) {
		Expect(k8s.Create(ctx, parsed("defaults", nil))).To(Succeed())
		binding := &v1alpha1.QueueBinding{}
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: "default", Name: "defaults"}, binding)).To(Succeed())
		Expect(binding.Spec.Concurrency.MaxActiveJobs).To(HaveValue(BeEquivalentTo(10)))
		Expect(binding.Spec.Concurrency.MaxPendingJobs).To(BeNil())
		Expect(binding.Spec.Queue.VisibilityTimeoutSeconds).To(HaveValue(BeEquivalentTo(60)))
		Expect(binding.Spec.SuccessfulJobsHistoryLimit).To(HaveValue(BeEquivalentTo(100)))
		Expect(binding.Spec.FailedJobsHistoryLimit).To(HaveValue(BeEquivalentTo(1000)))
	})

	DescribeTable("refuses with words that say what to do",
		func(ctx SpecContext, binding func() *unstructured.Unstructured, words string) {
			err := k8s.Create(ctx, binding())
			Expect(err).To(MatchError(ContainSubstring(words)))
		},
		Entry("a name over 50 characters", func() *unstructured.Unstructured { return parsed(strings.Repeat("x", 51), nil) }, "at most 50 characters"),
		Entry("a name with a dot", func() *unstructured.Unstructured { return parsed("a.b", nil) }, "no dots"),
		Entry("a URL that is no queue's", func() *unstructured.Unstructured { return parsed("a", "https://example.com", "spec", "queue", "url") }, "must be the URL of an SQS queue"),
		Entry("an ARN for a URL", func() *unstructured.Unstructured {
			return parsed("a", "arn:aws:sqs:eu-west-1:123456789012:pings", "spec", "queue", "url")
		}, "must be the URL of an SQS queue"),
		Entry("a URL with a query", func() *unstructured.Unstructured { return parsed("a", "https://h/1/q?x=y", "spec", "queue", "url") }, "must be the URL of an SQS queue"),
		Entry("a URL with a user", func() *unstructured.Unstructured { return parsed("a", "https://u@h/1/q", "spec", "queue", "url") }, "must be the URL of an SQS queue"),
		Entry("a URL with a fragment", func() *unstructured.Unstructured { return parsed("a", "https://h/1/q#f", "spec", "queue", "url") }, "must be the URL of an SQS queue"),
		Entry("a URL with a letter beyond ASCII", func() *unstructured.Unstructured {
			return parsed("a", "https://sqs.eu-west-1.amazonaws.com/123456789012é/pings", "spec", "queue", "url")
		}, "must be the URL of an SQS queue"),
		Entry("a URL with a control character", func() *unstructured.Unstructured { return parsed("a", "https://h\x1b[2J/1/q", "spec", "queue", "url") }, "must be the URL of an SQS queue"),
		Entry("a port on an AWS host", func() *unstructured.Unstructured {
			return parsed("a", "https://sqs.eu-west-1.amazonaws.com:8080/123456789012/pings", "spec", "queue", "url")
		}, "must not name a port"),
		Entry("more active Jobs than an operator can hold", func() *unstructured.Unstructured {
			return parsed("a", int64(20001), "spec", "concurrency", "maxActiveJobs")
		}, "less than or equal to 20000"),
		Entry("more succeeded Jobs than an operator can hold", func() *unstructured.Unstructured {
			return parsed("a", int64(20001), "spec", "successfulJobsHistoryLimit")
		}, "less than or equal to 20000"),
		Entry("more failed Jobs than an operator can hold", func() *unstructured.Unstructured {
			return parsed("a", int64(20001), "spec", "failedJobsHistoryLimit")
		}, "less than or equal to 20000"),
		Entry("no URL", func() *unstructured.Unstructured { return parsed("a", map[string]any{}, "spec", "queue") }, "spec.queue.url: Required"),
		Entry("two kinds of credentials", func() *unstructured.Unstructured {
			return parsed("a", map[string]any{"roleARN": "arn:aws:iam::123456789012:role/a", "secretRef": map[string]any{"name": "a"}}, "spec", "queue", "credentials")
		}, "exactly one of roleARN and secretRef"),
		Entry("no kind of credentials", func() *unstructured.Unstructured {
			return parsed("a", map[string]any{}, "spec", "queue", "credentials")
		}, "exactly one of roleARN and secretRef"),
		Entry("a role that is none", func() *unstructured.Unstructured {
			return parsed("a", map[string]any{"roleARN": "admin"}, "spec", "queue", "credentials")
		}, "should match"),
		Entry("no visibility timeout", func() *unstructured.Unstructured {
			return parsed("a", int64(0), "spec", "queue", "visibilityTimeoutSeconds")
		}, "greater than or equal to 1"),
		Entry("a visibility timeout over SQS's", func() *unstructured.Unstructured {
			return parsed("a", int64(43201), "spec", "queue", "visibilityTimeoutSeconds")
		}, "less than or equal to 43200"),
		Entry("a negative limit", func() *unstructured.Unstructured {
			return parsed("a", int64(-1), "spec", "concurrency", "maxActiveJobs")
		}, "greater than or equal to 0"),
		Entry("a pending limit that stops everything", func() *unstructured.Unstructured {
			return parsed("a", int64(0), "spec", "concurrency", "maxPendingJobs")
		}, "greater than or equal to 1"),
		Entry("restartPolicy Always", func() *unstructured.Unstructured {
			return parsed("a", "Always", "spec", "jobTemplate", "spec", "template", "spec", "restartPolicy")
		}, "must be set to Never or OnFailure"),
		Entry("no restartPolicy", func() *unstructured.Unstructured {
			binding := parsed("a", nil)
			unstructured.RemoveNestedField(binding.Object, "spec", "jobTemplate", "spec", "template", "spec", "restartPolicy")
			return binding
		}, "must be set to Never or OnFailure"),
		Entry("no Pod", func() *unstructured.Unstructured {
			return parsed("a", map[string]any{}, "spec", "jobTemplate", "spec", "template")
		}, "must be set to Never or OnFailure"),
		Entry("a time to live", func() *unstructured.Unstructured {
			return parsed("a", int64(60), "spec", "jobTemplate", "spec", "ttlSecondsAfterFinished")
		}, "use successfulJobsHistoryLimit"),
		Entry("a selector", func() *unstructured.Unstructured {
			return parsed("a", true, "spec", "jobTemplate", "spec", "manualSelector")
		}, "not supported"),
		Entry("a variable with a dash", func() *unstructured.Unstructured {
			return parsed("a", variable("a-b", "1"), "spec", "message", "variables")
		}, "letters, digits and underscores"),
		Entry("a variable of the operator's", func() *unstructured.Unstructured {
			return parsed("a", variable("QUEUEBINDING_X", "1"), "spec", "message", "variables")
		}, "must not begin with QUEUEBINDING_"),
		Entry("a variable twice", func() *unstructured.Unstructured {
			return parsed("a", append(variable("v", "1"), variable("v", "2")...), "spec", "message", "variables")
		}, "Duplicate value"),
		Entry("a policy that there is not", func() *unstructured.Unstructured { return parsed("a", "Ignore", "spec", "failedJobsPolicy") }, "Unsupported value"),
		Entry("a limit of no failed Jobs that pauses for ever", func() *unstructured.Unstructured {
			return parsed("a", int64(0), "spec", "failedJobsHistoryLimit")
		}, "needs failedJobsPolicy: DeleteOldest"),
	)

	It("keeps the queue of a binding", func(ctx SpecContext) {
		binding := parsed("immutable", nil)
		Expect(k8s.Create(ctx, binding)).To(Succeed())
		Expect(unstructured.SetNestedField(binding.Object, "https://sqs.eu-west-1.amazonaws.com/123456789012/other", "spec", "queue", "url")).To(Succeed())
		Expect(k8s.Update(ctx, binding)).To(MatchError(ContainSubstring("is immutable")))
	})

	It("keeps the region of a queue", func(ctx SpecContext) {
		binding := parsed("immutable-region", nil)
		Expect(k8s.Create(ctx, binding)).To(Succeed())
		Expect(unstructured.SetNestedField(binding.Object, "eu-west-2", "spec", "queue", "region")).To(Succeed())
		Expect(k8s.Update(ctx, binding)).To(MatchError(ContainSubstring("is immutable")))
	})

	It("keeps labels of the Pod template", func(ctx SpecContext) {
		labels := map[string]any{"team": "net"}
		Expect(k8s.Create(ctx, parsed("labels", labels, "spec", "jobTemplate", "spec", "template", "metadata", "labels"))).To(Succeed())
		binding := &v1alpha1.QueueBinding{}
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: "default", Name: "labels"}, binding)).To(Succeed())
		Expect(binding.Spec.JobTemplate.Spec.Template.Labels).To(HaveKeyWithValue("team", "net"))
	})

	It("takes a URL of the emulator and of a FIFO queue", func(ctx SpecContext) {
		Expect(k8s.Create(ctx, parsed("emulator", "http://sqs.eu-west-1.127.0.0.1:4566/000000000000/a", "spec", "queue", "url"))).To(Succeed())
		Expect(k8s.Create(ctx, parsed("fifo", "https://sqs.eu-west-1.amazonaws.com/123456789012/a.fifo", "spec", "queue", "url"))).To(Succeed())
	})

	It("scales maxActiveJobs", func(ctx SpecContext) {
		Expect(k8s.Create(ctx, parsed("scaled", nil))).To(Succeed())
		binding := &v1alpha1.QueueBinding{}
		key := client.ObjectKey{Namespace: "default", Name: "scaled"}
		Expect(k8s.Get(ctx, key, binding)).To(Succeed())
		scale := &autoscalingv1.Scale{}
		Expect(k8s.SubResource("scale").Get(ctx, binding, scale)).To(Succeed())
		Expect(scale.Spec.Replicas).To(BeEquivalentTo(10))

		binding.Status.ActiveJobs, binding.Status.Selector = new(int32(4)), "a=b"
		Expect(k8s.Status().Update(ctx, binding)).To(Succeed())
		Expect(k8s.SubResource("scale").Get(ctx, binding, scale)).To(Succeed())
		Expect(scale.Status.Replicas).To(BeEquivalentTo(4))
		Expect(scale.Status.Selector).To(Equal("a=b"))

		scale.Spec.Replicas = 50
		Expect(k8s.SubResource("scale").Update(ctx, binding, client.WithSubResourceBody(scale))).To(Succeed())
		Expect(k8s.Get(ctx, key, binding)).To(Succeed())
		Expect(binding.Spec.Concurrency.MaxActiveJobs).To(HaveValue(BeEquivalentTo(50)))
	})
})

var _ = Describe("What users apply", func() {
	kubectl := func(ctx SpecContext, args ...string) string {
		GinkgoHelper()
		root, err := testenv.Root()
		Expect(err).NotTo(HaveOccurred())
		command := exec.CommandContext(ctx, "/usr/bin/env", append([]string{"kubectl"}, args...)...)
		command.Dir, command.Env = root, append(os.Environ(), environment.Env...)
		output, err := command.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(output))
		return string(output)
	}

	It("takes the CRD by plain kubectl apply, as it is under 200 kB", func(ctx SpecContext) {
		root, err := testenv.Root()
		Expect(err).NotTo(HaveOccurred())
		info, err := os.Stat(filepath.Join(root, "config", "crd", "bases", "queuebinding.dev_queuebindings.yaml"))
		Expect(err).NotTo(HaveOccurred())
		Expect(info.Size()).To(BeNumerically("<", 200_000))
		Expect(kubectl(ctx, "apply", "-k", "config/crd")).To(ContainSubstring("queuebindings.queuebinding.dev"))
	})

	It("takes every sample", func(ctx SpecContext) {
		Expect(kubectl(ctx, "apply", "--dry-run=server", "-k", "config/samples")).NotTo(ContainSubstring("Warning"))
	})

	It("takes what the plugin converts from a ScaledJob of KEDA", func(ctx SpecContext) {
		const scaledJob = `{apiVersion: keda.sh/v1alpha1, kind: ScaledJob, metadata: {name: converted, namespace: default}, spec: {maxReplicaCount: 7, failedJobsHistoryLimit: 0,
			jobTargetRef: {ttlSecondsAfterFinished: 9, template: {spec: {containers: [{name: a, image: b}]}}},
			triggers: [{type: aws-sqs-queue, metadata: {queueURLFromEnv: NOWHERE}}]}}`
		var out, messages strings.Builder
		env := &cli.Env{IOStreams: genericiooptions.IOStreams{In: strings.NewReader(scaledJob), Out: &out, ErrOut: &messages}}
		Expect(cli.Run(ctx, env, []string{"convert", "-f", "-"})).To(BeZero(), messages.String())
		file := filepath.Join(GinkgoT().TempDir(), "binding.yaml")
		Expect(os.WriteFile(file, []byte(out.String()), 0o600)).To(Succeed())
		Expect(kubectl(ctx, "create", "--validate=strict", "-f", file)).To(ContainSubstring("queuebinding.queuebinding.dev/converted created"))
		binding := &v1alpha1.QueueBinding{}
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: "default", Name: "converted"}, binding)).To(Succeed())
		Expect(binding.Spec.Concurrency.MaxActiveJobs).To(HaveValue(BeEquivalentTo(7)))
		Expect(binding.Spec.Suspend).To(BeTrue()) // its queue is not known
	})

	It("explains the fields", func(ctx SpecContext) {
		Expect(kubectl(ctx, "explain", "queuebinding.spec.queue")).To(ContainSubstring("url is the queue's URL"))
		Expect(kubectl(ctx, "explain", "qb.spec.concurrency.maxActiveJobs")).To(ContainSubstring("never passed"))
		Expect(kubectl(ctx, "explain", "qb")).To(ContainSubstring("--cascade=orphan"))
	})
})
