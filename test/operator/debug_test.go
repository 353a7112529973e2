package operator_test

import (
	"io"
	"net"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("The debug address", func() {
	It("tells what each binding waits for, and serves profiles", func(ctx SpecContext) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		address := listener.Addr().String()
		Expect(listener.Close()).To(Succeed())
		operator.Kill()
		operator = startOperator("--debug-bind-address=" + address)
		DeferCleanup(operator.Kill)
		w := newWorkspace(ctx)
		w.binding(ctx)
		get := func(path string) func() (string, error) {
			return func() (string, error) {
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
				if err != nil {
					return "", err
				}
				answer, err := http.DefaultClient.Do(request)
				if err != nil {
					return "", err
				}
				defer answer.Body.Close()
				text, err := io.ReadAll(answer.Body)
				return string(text), err
			}
		}
		Eventually(get("/statusz")).Should(MatchRegexp(w.namespace + `/pings +receiving `))
		Eventually(get("/debug/pprof/goroutine?debug=1")).Should(ContainSubstring("goroutine profile"))
	})

	It("is refused where others reach it", func() {
		refused := startOperator("--debug-bind-address=0.0.0.0:0")
		Eventually(refused.Ended()).Should(BeClosed())
		Expect(refused.LastLines(20)).To(ContainSubstring("not an address of the loopback interface"))
	})
})
