package karpenter_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/recorder"
)

// poolNodesLimit is how many nodes the sample's limit of 18 CPUs allows.
const poolNodesLimit = 9

var _ = Describe("Nodes", func() {
	play := func(ctx SpecContext, limited bool) recorder.Counts {
		GinkgoHelper()
		const messages = 100
		w := newWorkspace(ctx)
		Eventually(poolNodes).WithArguments(ctx).Should(BeEmpty(), "nodes before there is work")
		during, stop := recording()
		nodes, err := recorder.StartNodes(during, k8s, w.namespace, poolLabel)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { stop(); nodes.Wait() })

		w.send(ctx, messages, 15)
		w.bind(ctx, func(b *v1alpha1.QueueBinding) {
			if !limited {
				b.Spec.Concurrency.MaxPendingJobs = nil
			}
		})
		Eventually(w.succeeded).Should(Equal(messages))
		w.expectOneJobEach(ctx, messages)
		Eventually(nodes.Counts).Should(HaveField("Nodes", 0))
		counts := nodes.Counts()
		GinkgoWriter.Printf("limited %t: %+v\n", limited, counts)
		Expect(counts.Gaps).To(BeZero())
		Expect(counts.MostNodes).To(And(BeNumerically(">", 1), BeNumerically("<=", poolNodesLimit)))
		return counts
	}

	It("come for a hundred messages and go after them, and a binding without maxPendingJobs lets all Pods wait at once", func(ctx SpecContext) {
		Expect(play(ctx, false).MostPending).To(BeNumerically(">", 30))
	})

	It("come as well where maxPendingJobs holds back the Pods that wait", func(ctx SpecContext) {
		counts := play(ctx, true)
		Expect(counts.MostPending).To(And(BeNumerically(">", 1), BeNumerically("<=", 30)))
		// It bounds what waits, not what runs.
		Expect(counts.MostRunning).To(BeNumerically(">", 2*30))
	})
})
