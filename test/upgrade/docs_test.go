package upgrade_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/test/testenv"
)

// documented runs the commands of a step of docs/upgrading.md and returns what they print. In the commands old is replaced by new, by
// pairs.
func documented(ctx context.Context, step string, replace ...string) string {
	GinkgoHelper()
	return documentedIn(ctx, cluster.Environment, step, replace...)
}

// documentedIn does that in an environment.
func documentedIn(ctx context.Context, in *testenv.Environment, step string, replace ...string) string {
	GinkgoHelper()
	page, err := os.ReadFile(filepath.Join(cluster.Root, "docs", "upgrading.md"))
	Expect(err).NotTo(HaveOccurred())
	_, text, found := strings.Cut(string(page), "**"+step+"**")
	Expect(found).To(BeTrue(), "docs/upgrading.md has no step "+step)
	text, _, _ = strings.Cut(text, "\n**")
	commands := strings.Join(indented.FindAllString(text, -1), "")
	Expect(commands).NotTo(BeEmpty(), "docs/upgrading.md has no commands for "+step)
	return runIn(ctx, in, strings.NewReplacer(replace...).Replace(commands), "bash", "-euo", "pipefail", "-s")
}

// indented are lines that Markdown shows as code.
var indented = regexp.MustCompile(`(?m)^    .*\n`)

// leftovers are the objects of some manifests that other ones do not have.
func leftovers(of, without *version) []*unstructured.Unstructured {
	GinkgoHelper()
	known := map[string]bool{}
	for _, each := range objects(without.manifests) {
		known[identity(each)] = true
	}
	var left []*unstructured.Unstructured
	for _, each := range objects(of.manifests) {
		if !known[identity(each)] {
			left = append(left, each)
		}
	}
	return left
}

func identity(of *unstructured.Unstructured) string {
	return strings.Join([]string{of.GroupVersionKind().GroupKind().String(), of.GetNamespace(), of.GetName()}, " ")
}

func objects(manifests string) []*unstructured.Unstructured {
	GinkgoHelper()
	var all []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); err != nil {
			Expect(err).To(MatchError("EOF"))
			return all
		}
		all = append(all, object)
	}
}

// missing are those of some objects that do not exist.
func missing(ctx context.Context, of []*unstructured.Unstructured) []string {
	GinkgoHelper()
	var gone []string
	for _, each := range of {
		err := k8s.Get(ctx, client.ObjectKeyFromObject(each), each.DeepCopy())
		if apierrors.IsNotFound(err) {
			gone = append(gone, identity(each))
			continue
		}
		Expect(err).NotTo(HaveOccurred())
	}
	return gone
}
