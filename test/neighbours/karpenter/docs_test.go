package karpenter_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// indented are blocks of lines that Markdown shows as code.
var indented = regexp.MustCompile(`(?m)(?:^    .*\n)+`)

var _ = Describe("docs/cluster-autoscaling.md", func() {
	It("quotes the samples that the others here apply", func() {
		page, err := os.ReadFile(filepath.Join(cluster.Root, "docs", "cluster-autoscaling.md"))
		Expect(err).NotTo(HaveOccurred())
		quotes := indented.FindAllString(string(page), -1)
		Expect(quotes).To(HaveLen(4))
		samples := string(sampleFile("autoscaled.yaml")) + string(sampleFile("karpenter.yaml"))
		for _, quote := range quotes {
			Expect(quote).To(Satisfy(func(quote string) bool { return quotedFrom(samples, quote) }))
		}
	})
})

// quotedFrom reports whether a text holds the lines of a quote, all of them as much further to the right or left.
func quotedFrom(text, quote string) bool {
	margin := len(quote) - len(strings.TrimLeft(quote, " "))
	flush := "\n" + strings.ReplaceAll(quote, "\n"+strings.Repeat(" ", margin), "\n")[margin:]
	for indent := range 20 {
		if strings.Contains(text, strings.ReplaceAll(strings.TrimRight(flush, "\n"), "\n", "\n"+strings.Repeat(" ", indent))+"\n") {
			return true
		}
	}
	return false
}
