package apiserver_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/queuebinding/queuebinding/test/rig"
)

var _ = Describe("Which build a program is", func() {
	// said returns what a program prints, which is its name, its version and the rest.
	said := func(ctx SpecContext, name string, args ...string) []string {
		GinkgoHelper()
		r := run(ctx, "", name, args...)
		Expect(r.code).To(BeZero(), r.err)
		Expect(r.out).To(MatchRegexp(`^[a-z-]+ \S+ \(commit \S+ of \S+, go\S+ %s/%s\)\n$`, runtime.GOOS, runtime.GOARCH))
		return strings.Fields(r.out)[:2]
	}

	It("is told by each, and by its requests to the API server", func(ctx SpecContext) {
		Expect(newWorkspace(ctx).plugin(ctx, "list").code).To(BeZero())
		for _, build := range [][]string{
			said(ctx, "manager", "--version"), said(ctx, "queuebinding-apiserver", "--version"), said(ctx, "kubectl-queuebinding", "version"),
		} {
			Eventually(userAgents).Should(ContainElement(
				MatchRegexp(`^%s/%s \(%s/%s\) \S+`, build[0], build[1], runtime.GOOS, runtime.GOARCH)), build[0])
		}
	})

	DescribeTable("is a metric of", func(ctx SpecContext, program, account string, args ...string) {
		metrics := freePort()
		started := start(program, kubeconfig(account), append(args,
			"--namespace="+system, fmt.Sprintf("--metrics-bind-address=127.0.0.1:%d", metrics), "--metrics-secure=false")...)
		DeferCleanup(started.Kill)
		Eventually(func(g Gomega) {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/metrics", metrics), nil)
			g.Expect(err).NotTo(HaveOccurred())
			response, err := http.DefaultClient.Do(request)
			g.Expect(err).NotTo(HaveOccurred())
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(string(body)).To(MatchRegexp(`(?m)^queuebinding_build_info\{commit="[^"]+",goversion="%s",version="%s"\} 1$`,
				runtime.Version(), said(ctx, program, "--version")[1]))
		}).Should(Succeed(), func() string { return started.LastLines(30) })
	},
		Entry("the operator", "manager", rig.OperatorAccount, "--binding-selector=nobody=has"),
		Entry("the server of the subresource", "queuebinding-apiserver", rig.ServerAccount, "--bind-address=127.0.0.1:0"),
	)
})

// userAgents are those of all requests that the API server has answered.
func userAgents() []string {
	GinkgoHelper()
	log, err := os.Open(filepath.Join(cluster.Dir, "audit.log"))
	Expect(err).NotTo(HaveOccurred())
	defer log.Close()
	seen := map[string]bool{}
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct{ UserAgent string }
		// The last line may be half written.
		if json.Unmarshal(lines.Bytes(), &event) == nil {
			seen[event.UserAgent] = true
		}
	}
	Expect(lines.Err()).NotTo(HaveOccurred())
	var agents []string
	for agent := range seen {
		agents = append(agents, agent)
	}
	return agents
}
