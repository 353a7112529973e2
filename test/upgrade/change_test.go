package upgrade_test

import (
	"context"
	"flag"
	"strings"
	"sync"
	"sync/atomic"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/queuebinding/queuebinding/test/process"
)

// The steps of docs/upgrading.md that have commands.
const (
	stepRequeues  = "Requeues"
	stepLeftovers = "What is left over"
	stepPolicies  = "Policies"
	stepUnknown   = "What 0.1.0 does not have"
)

var whole = flag.Bool("whole", false, "try each way in which a version ends in both directions, and not only one in each")

var _ = Describe("Work of all kinds", Ordered, func() {
	It("goes on when 0.1.0 is replaced in a rollout", func(ctx SpecContext) {
		through(ctx, released, head, terminated)
	})
	It("goes on when 0.1.0 takes over from this version, which is killed", func(ctx SpecContext) {
		through(ctx, head, released, killed)
	})
	if !*whole {
		return
	}
	It("goes on when 0.1.0 is killed while it is replaced", func(ctx SpecContext) {
		through(ctx, released, head, killed)
	})
	It("goes on when 0.1.0 takes over in a rollout", func(ctx SpecContext) {
		through(ctx, head, released, terminated)
	})
	It("goes on where the versions are Pods of a node", func(ctx SpecContext) { asPods(ctx) })
})

// through begins work under one version, replaces that by another, its operators being ended in a way, and sees that the work goes on.
func through(ctx context.Context, from, to *version, end func(context.Context, *process.Process)) {
	GinkgoHelper()
	Expect(installed.version).To(BeIdenticalTo(from), "an earlier spec left another version")
	all := allWork()
	By("beginning the work")
	each(all, func(w work) { w.begin(ctx) })

	By("applying what comes next, CRD first")
	if to == released {
		Expect(writesCertificate(ctx)).To(MatchError(ContainSubstring("the operator may create, change and delete only Opaque Secrets")))
		documented(ctx, stepPolicies)
		Eventually(writesCertificate).WithContext(ctx).Should(Succeed())
	}
	crd, rest := split(to.manifests)
	apply(ctx, crd)
	apply(ctx, rest)
	next := to.start(ctx, false)
	Eventually(cluster.SubresourceAvailable).WithContext(ctx).Should(BeTrue())
	each(all, func(w work) { w.roll(ctx) })

	By("ending what was there")
	before := holder(ctx)
	each(all, func(w work) { w.leave(ctx) })
	for _, operator := range installed.operators {
		end(ctx, operator)
	}
	each(all, func(w work) { w.alone(ctx) })
	if installed.server != nil {
		terminated(ctx, installed.server)
	}
	installed = next
	Eventually(holder).WithContext(ctx).ShouldNot(BeElementOf("", before))

	By("removing what is left over")
	if to == released {
		documented(ctx, stepUnknown)
	} else {
		documented(ctx, stepLeftovers)
	}
	left := leftovers(from, to)
	var want []string
	for _, each := range left {
		want = append(want, identity(each))
	}
	Expect(missing(ctx, left)).To(ConsistOf(want), "docs/upgrading.md leaves some of them")
	Expect(missing(ctx, objects(to.manifests))).To(BeEmpty(), "docs/upgrading.md removes what is needed")

	Eventually(editorWrites).WithContext(ctx).Should(Equal(to == released), "whoever may edit a namespace may write bindings in 0.1.0 only")

	By("finishing the work")
	each(all, func(w work) { w.finish(ctx) })
	var places []*place
	for _, w := range all {
		places = append(places, w.places()...)
	}
	gone(ctx, places)
}

// writesCertificate tries, for the operator, to make a Secret as that of 0.1.0 has one.
func writesCertificate(ctx context.Context) error {
	_, err := tryIn(ctx, cluster.Environment, "", "kubectl", "create", "secret", "generic", "another-tls", "-n", system, "--dry-run=server",
		"--as=system:serviceaccount:"+system+":queuebinding-controller-manager")
	return err
}

// editorWrites reports whether somebody with the cluster's edit role may write bindings.
func editorWrites(ctx context.Context) bool {
	answer, _ := tryIn(ctx, cluster.Environment, "", "kubectl", "auth", "can-i", "create", "queuebindings", "-n", "default", "--as=editor") // no is an exit code
	return strings.TrimSpace(answer) == "yes"
}

// each does something for all work side by side, and goes on only where nothing failed.
func each(all []work, do func(work)) {
	GinkgoHelper()
	var done sync.WaitGroup
	var succeeded atomic.Int64
	for _, w := range all {
		done.Go(func() {
			defer GinkgoRecover() // which keeps the first failure
			do(w)
			succeeded.Add(1)
		})
	}
	done.Wait()
	Expect(succeeded.Load()).To(BeEquivalentTo(len(all)))
}

// split divides manifests into CRDs and the rest.
func split(manifests string) (crds, rest string) {
	GinkgoHelper()
	for _, object := range objects(manifests) {
		text, err := object.MarshalJSON()
		Expect(err).NotTo(HaveOccurred())
		if isCRD(object) {
			crds += "---\n" + string(text) + "\n"
		} else {
			rest += "---\n" + string(text) + "\n"
		}
	}
	return crds, rest
}

func isCRD(object *unstructured.Unstructured) bool {
	return object.GetKind() == "CustomResourceDefinition"
}
