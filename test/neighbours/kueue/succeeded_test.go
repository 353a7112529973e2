package kueue_test

import (
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/rig"
)

var _ = Describe("Under OnJobSucceeded", func() {
	// P1, P2
	It("the messages of suspended Jobs stay hidden for ten times their visibility timeout, through a crash of the operator", func(ctx SpecContext) {
		const messages, visibility = 5, 4
		w := newWorkspace(ctx, "0")
		queue := w.queue(ctx, "work")
		send(ctx, queue, messages, 1)
		binding := w.binding(ctx, "work", queue, maxActive(messages), onJobSucceeded(visibility), func(b *v1alpha1.QueueBinding) {
			// It counts from the admission: none fails for having waited longer.
			b.Spec.JobTemplate.Spec.ActiveDeadlineSeconds = new(int64(5 * visibility))
		})
		Eventually(status(ctx, binding)).Should(counts(messages, 0))
		hidden := func() { Consistently(visible(ctx, queue), 5*visibility*time.Second).Should(Equal([]int{0, messages})) }
		hidden()
		operator.Kill()
		operator = startOperator(program)
		hidden()

		w.setQuota(ctx)
		Eventually(status(ctx, binding)).Should(counts(0, messages))
		Eventually(queue.Holds).WithArguments(ctx, 0).Should(BeEmpty())
		w.expectOnce(messages, binding)
	})

	// P1, P2: SQS lets a message come back 12 hours after its receive, whatever its visibility timeout.
	It("a message whose Job waits for more than twelve hours comes back and is that Job's", func(ctx SpecContext) {
		const visibility = 3
		w := newWorkspace(ctx, "0")
		queue := w.queue(ctx, "work")
		send(ctx, queue, 1, 1)
		operator.Kill()
		operator = startOperator(buildLeaping())
		binding := w.binding(ctx, "work", queue, maxActive(2), onJobSucceeded(visibility)) // one more, or nothing is received
		Eventually(status(ctx, binding)).Should(counts(1, 0))
		receives := func() string {
			jobs := w.jobs(ctx, binding)
			if len(jobs) != 1 {
				return ""
			}
			return jobs[0].Annotations[v1alpha1.AnnotationReceiveCount]
		}

		By("leaping by three hours at a time, and then to some seconds before the twelve hours")
		for range 3 {
			Expect(operator.Signal(syscall.SIGUSR1)).To(Succeed())
			Consistently(visible(ctx, queue), 2*visibility*time.Second).Should(Equal([]int{0, 1}))
		}
		Expect(receives()).To(Equal("1"))
		Expect(operator.Signal(syscall.SIGUSR2)).To(Succeed())
		Eventually(receives).Should(Equal("2"))
		Consistently(visible(ctx, queue), 2*visibility*time.Second).Should(Equal([]int{0, 1}))
		Expect(w.count(ctx, binding, waiting)()).To(Equal(1))

		By("having an operator whose clock does not leap")
		operator.Kill()
		operator = startOperator(program)
		w.setQuota(ctx)
		Eventually(status(ctx, binding)).Should(counts(0, 1))
		Eventually(queue.Holds).WithArguments(ctx, 0).Should(BeEmpty())
		w.expectOnce(1, binding)
	})
})

// buildLeaping builds an operator whose clock goes as real time does, and leaps: by three hours at SIGUSR1, to some seconds
// before twelve hours from its start at SIGUSR2. It polls for a second at most: a poll that was open during a leap would have
// begun hours ago.
func buildLeaping() string {
	GinkgoHelper()
	leaping, err := cluster.Build("leaping",
		rig.Edit{File: "internal/queue/queue.go", Old: "MaxWait = 20 * time.Second", New: "MaxWait = time.Second"},
		rig.Edit{File: "cmd/main.go", Old: "realClock := clock.RealClock{}", New: "realClock := newLeapingClock()"},
		rig.Edit{File: "cmd/main.go", Old: "\t\"k8s.io/utils/clock\"\n", New: "\ttestingclock \"k8s.io/utils/clock/testing\"\n\t\"os/signal\"\n\t\"syscall\"\n"},
		rig.Edit{File: "cmd/main.go", Old: "// addController wires", New: leapingClock + "\n// addController wires"},
	)
	Expect(err).NotTo(HaveOccurred())
	return leaping
}

const leapingClock = `
func newLeapingClock() *testingclock.FakeClock {
	start := time.Now()
	leaping := testingclock.NewFakeClock(start)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		last := start
		for {
			select {
			case s := <-signals:
				if s == syscall.SIGUSR1 {
					leaping.Step(3 * time.Hour)
				} else {
					leaping.Step(start.Add(12*time.Hour - 15*time.Second).Sub(leaping.Now()))
				}
			case now := <-time.After(50 * time.Millisecond):
				leaping.Step(now.Sub(last))
				last = now
			}
		}
	}()
	return leaping
}
`
