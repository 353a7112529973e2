package kueue_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/rig"
)

var _ = Describe("The sample in docs/kueue.md", func() {
	// P2, P3
	It("works as it stands there", func(ctx SpecContext) {
		const reports, urgent = 24, 2
		w := &workspace{namespace: "sample"}
		Expect(cluster.CreateNamespace(ctx, w.namespace)).To(Succeed())
		bindings, queues := map[string]*v1alpha1.QueueBinding{}, map[string]*rig.Queue{}
		for _, object := range documented(filepath.Join(cluster.Root, "docs", "kueue.md")) {
			switch object.GetKind() {
			case "LocalQueue":
				object.SetNamespace(w.namespace)
			case "QueueBinding":
				binding := &v1alpha1.QueueBinding{}
				Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, binding)).To(Succeed())
				binding.Namespace = w.namespace
				queues[binding.Name] = w.queue(ctx, binding.Name)
				binding.Spec.Queue.URL = queues[binding.Name].URL
				Expect(k8s.Create(ctx, binding)).To(Succeed())
				bindings[binding.Name] = binding
				continue
			}
			Expect(k8s.Create(ctx, object)).To(Succeed(), object.GetKind())
		}
		report, urgentReport := bindings["reports"], bindings["urgent-reports"]
		reportQueue, urgentQueue := queues["reports"], queues["urgent-reports"]

		send(ctx, reportQueue, reports, 5)
		Eventually(status(ctx, report)).Should(HaveField("ActiveJobs", HaveValue(BeEquivalentTo(20))))
		Eventually(w.count(ctx, report, running)).Should(Equal(4))
		send(ctx, urgentQueue, urgent, 1)
		Eventually(status(ctx, urgentReport)).Should(counts(0, urgent))
		Expect(w.count(ctx, report, waiting)()).NotTo(BeZero(), "urgent ones came after all others")
		Eventually(status(ctx, report)).Should(counts(0, reports))
		Eventually(reportQueue.Holds).WithArguments(ctx, 0).Should(BeEmpty())
		Eventually(urgentQueue.Holds).WithArguments(ctx, 0).Should(BeEmpty())
		w.expectOnce(reports+urgent, report, urgentReport)
	})
})

// documented are the objects in a page's blocks of YAML.
func documented(page string) []*unstructured.Unstructured {
	GinkgoHelper()
	text, err := os.ReadFile(page)
	Expect(err).NotTo(HaveOccurred())
	var objects []*unstructured.Unstructured
	blocks := strings.Split(string(text), "```yaml\n")[1:]
	Expect(blocks).NotTo(BeEmpty())
	for _, block := range blocks {
		block, _, closed := strings.Cut(block, "```\n")
		Expect(closed).To(BeTrue())
		decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(block), 4096)
		for {
			object := &unstructured.Unstructured{}
			err := decoder.Decode(object)
			if errors.Is(err, io.EOF) {
				break
			}
			Expect(err).NotTo(HaveOccurred())
			objects = append(objects, object)
		}
	}
	return objects
}
