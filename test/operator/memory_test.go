package operator_test

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

const (
	// memoryLimit is that of config/manager, goMemoryLimit what Go gets of it there, as a process of its own has no container.
	memoryLimit, goMemoryLimit = 512, "435MiB"
	mebibyte                   = 1 << 20
)

// residentPeak is the most that a process has had in memory so far, in MiB.
func residentPeak(pid int) int {
	GinkgoHelper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	Expect(err).NotTo(HaveOccurred())
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	Expect(found).NotTo(BeNil())
	kib, err := strconv.Atoi(string(found[1]))
	Expect(err).NotTo(HaveOccurred())
	return kib >> 10
}

// filled repeats an item up to SQS's largest message.
func filled(begin, item, end string) string {
	return begin + strings.Repeat(item, (mebibyte-len(begin)-len(end))/len(item)) + end
}

// storm is what tenants send and write.
type storm struct {
	body, expression string
	messages         int
	// jobs reports whether its messages become Jobs; else they are rejected.
	jobs bool
}

var _ = Describe("The operator's memory", func() {
	var quiet *workspace
	var asked int
	BeforeEach(func(ctx SpecContext) {
		if runtime.GOOS != "linux" {
			Skip("the peak of a process is read from /proc, which only Linux has")
		}
		operator.Kill()
		started, err := cluster.StartOperator(program, cluster.DirectEndpoints("operator", "GOMEMLIMIT="+goMemoryLimit))
		Expect(err).NotTo(HaveOccurred())
		operator = started
		quiet, asked = newWorkspace(ctx), 0
		Eventually(status(ctx, quiet.binding(ctx))).Should(ready(HavePrefix("True")))
	})

	// othersNoticeNothing has messages of another binding become Jobs.
	othersNoticeNothing := func(ctx SpecContext) {
		GinkgoHelper()
		for range 3 {
			asked++
			quiet.send(ctx, "127.0.0.1")
			Eventually(quiet.jobs).WithArguments(ctx).Should(HaveLen(asked))
		}
		Expect(operator.Alive()).To(Succeed())
	}
	staysWithinItsLimit := func() {
		GinkgoHelper()
		peak := residentPeak(operator.PID())
		AddReportEntry("peak in MiB", peak)
		GinkgoWriter.Printf("peak: %d MiB\n", peak)
		Expect(peak).To(BeNumerically("<", memoryLimit))
	}

	DescribeTable("is bounded, and other bindings notice nothing, with messages of 1 MiB", func(ctx SpecContext, s storm) {
		var bindings []*v1alpha1.QueueBinding
		var queues []*queue
		for range 3 {
			w := newWorkspace(ctx)
			for range s.messages / 3 {
				w.queue.send(ctx, s.body)
			}
			bindings = append(bindings, w.binding(ctx, inFiles, func(b *v1alpha1.QueueBinding) {
				b.Spec.Queue.VisibilityTimeoutSeconds = new(int32(60))
				b.Spec.Concurrency.MaxActiveJobs = new(int32(100))
				b.Spec.Message.Variables = []v1alpha1.Variable{{Name: "v", Expression: s.expression}}
			}))
			queues = append(queues, w.queue)
		}
		othersNoticeNothing(ctx)
		for i, binding := range bindings {
			Eventually(queues[i].numbers(ctx)).Should(HaveExactElements("0", Not(BeEmpty()))) // each was received
			if s.jobs {
				Eventually(queues[i].numbers(ctx)).Should(Equal(empty))
				continue
			}
			Eventually(status(ctx, binding)).Should(HaveField("LastRejection", Not(BeNil())))
			Expect(status(ctx, binding)().LastRejection.Message).NotTo(ContainSubstring("tell-nobody"))
		}
		staysWithinItsLimit()
	},
		Entry("of small JSON objects", storm{filled("[", `{"":0},`, "0]"), "message.json.size()", 60, true}),
		Entry("of a list of numbers, which is asked for whole", storm{filled("[", "1,", `"tell-nobody"]`), "message.json", 30, false}),
		Entry("of nested lists", storm{strings.Repeat("[", 9999) + `"tell-nobody"` + strings.Repeat("]", 9999), "message.json", 30, false}),
		Entry("of a number's digits", storm{filled(`{"n": `, "9", "}"), "message.json.n + 1", 30, false}),
		Entry("that multiply by replace", storm{filled(`"tell-nobody`, "a", `"`), "message.json.replace('a', message.json)", 30, false}),
		Entry("that multiply by join", storm{filled(`"tell-nobody`, ",", `"`), "message.json.split(',').join(message.json)", 30, false}),
		Entry("that multiply by format", storm{filled(`"tell-nobody`, "a", `"`), "[['%s%s%s%s'.format([message.json, message.json, message.json, message.json])].map(x, '%s%s%s%s%s%s%s%s'.format([x, x, x, x, x, x, x, x]))].map(x, '%s%s%s%s'.format([x, x, x, x]))[0]", 30, false}),
		Entry("that multiply by +", storm{filled(`["tell-nobody`, "a", `"]`), "[[[[[message.json].map(x, x + x + x + x)[0]].map(x, x + x + x + x)[0]].map(x, x + x + x + x)[0]].map(x, [x, x, x, x])[0]].map(x, [x, x, x, x])[0]", 30, false}),
	)

	It("is bounded while the files of many bindings wait for an API server that takes none", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		quota := noSecrets(ctx, w.namespace)
		body := filled(`{"target": "`, "x", `"}`)
		var queues []*queue
		var bindings []*v1alpha1.QueueBinding
		for i := range 12 {
			q := createQueue(ctx, fmt.Sprintf("%s-%d", w.namespace, i))
			for range 10 {
				q.send(ctx, body)
			}
			queues = append(queues, q)
			bindings = append(bindings, w.binding(ctx, inFiles, func(b *v1alpha1.QueueBinding) {
				b.Name, b.Spec.Queue.URL = fmt.Sprintf("pings-%d", i), q.url
				b.Spec.Queue.VisibilityTimeoutSeconds = new(int32(60))
				b.Spec.Message.Variables = nil
			}))
		}
		for _, binding := range bindings {
			Eventually(status(ctx, binding)).Should(ready(HavePrefix("False QuotaExceeded")))
		}
		othersNoticeNothing(ctx)
		staysWithinItsLimit()
		Expect(k8s.Delete(ctx, quota)).To(Succeed())
		for _, q := range queues {
			Eventually(q.numbers(ctx), "2m").Should(Equal(empty))
		}
		Expect(w.jobs(ctx)).To(HaveLen(120))
		staysWithinItsLimit()
	})

	It("is bounded with 10 MiB of expressions", func(ctx SpecContext) {
		w := newWorkspace(ctx)
		var variables []v1alpha1.Variable
		for i := range 64 {
			begin := fmt.Sprintf("[%d, ", i)
			item := "[].exists_one(x, x), "
			variables = append(variables, v1alpha1.Variable{Name: fmt.Sprintf("v%d", i), Expression: begin + strings.Repeat(item, (4095-len(begin))/len(item)) + "1]"})
		}
		var bindings []*v1alpha1.QueueBinding
		for i := range 40 {
			bindings = append(bindings, w.binding(ctx, func(b *v1alpha1.QueueBinding) {
				b.Name, b.Spec.Message.Variables = fmt.Sprintf("pings-%d", i), variables
			}))
		}
		othersNoticeNothing(ctx)
		for _, binding := range bindings {
			Eventually(status(ctx, binding)).Should(ready(HavePrefix("False ExpressionInvalid")))
		}
		staysWithinItsLimit()
	})
})
