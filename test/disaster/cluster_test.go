package disaster_test

import (
	"errors"
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/testenv"
)

// usersOfEtcd are stopped in this order, with etcd at last, and started in the reverse one.
var usersOfEtcd = []string{testenv.ControllerManager, testenv.KubeScheduler, testenv.APIServer, testenv.Etcd}

// withoutEtcd stops the control plane, does something, and starts it again.
func withoutEtcd(do func() error) {
	GinkgoHelper()
	var errs []error
	for _, part := range usersOfEtcd {
		errs = append(errs, cluster.StopPart(part))
	}
	errs = append(errs, do())
	for i := range usersOfEtcd {
		errs = append(errs, cluster.StartPart(usersOfEtcd[len(usersOfEtcd)-1-i]))
	}
	Expect(errors.Join(errs...)).To(Succeed())
}

var _ = Describe("etcd restored from a backup", func() {
	It("takes along the Jobs made since, which lose their messages under OnJobCreated and not under OnJobSucceeded", func(ctx SpecContext) {
		created, succeeded := newPlace(ctx), newPlace(ctx, onJobSucceeded)
		for _, p := range []*place{created, succeeded} {
			p.send(ctx, 1, "before", 0)
			Eventually(p.status).WithArguments(ctx).Should(counts(0, 1, 0, 0))
		}
		created.send(ctx, 2, "before.invalid", 0)
		Eventually(created.status).WithArguments(ctx).Should(counts(0, 1, 1, 0))
		kept := created.uids(ctx)

		data, backup := filepath.Join(cluster.Dir, "etcd"), filepath.Join(GinkgoT().TempDir(), "etcd")
		withoutEtcd(func() error { return os.CopyFS(backup, os.DirFS(data)) })

		created.send(ctx, 3, "after", 0)
		succeeded.send(ctx, 3, "after", 600) // still at work when etcd is lost
		succeeded.send(ctx, 4, "after", 0)
		created.requeueAll(ctx)
		Eventually(created.attempts).WithArguments(ctx).Should(ConsistOf("1", "1", "2"))
		Eventually(created.status).WithArguments(ctx).Should(counts(0, 2, 1, 0))
		Eventually(succeeded.status).WithArguments(ctx).Should(counts(1, 2, 0, 0))
		Eventually(succeeded.held(ctx, 1)).Should(BeEmpty())
		Eventually(created.held(ctx, 0)).Should(BeEmpty())

		Expect(operator.Terminate(ctx)).To(Succeed())
		withoutEtcd(func() error {
			return errors.Join(os.RemoveAll(data), os.CopyFS(data, os.DirFS(backup)))
		})
		operator = startOperator(cluster, "operator")

		By("OnJobCreated: message 3 is gone, and the failure that had been requeued is back as it was")
		Eventually(created.status).WithArguments(ctx).Should(And(counts(0, 1, 1, 0), ready("True Running")))
		Expect(created.uids(ctx)).To(ConsistOf(kept))
		Expect(created.queue.Holds(ctx, 0)).To(BeEmpty())
		By("OnJobSucceeded: message 3 was not acknowledged and runs once more; 4 had succeeded and does not")
		Eventually(succeeded.status).WithArguments(ctx).Should(counts(1, 1, 0, 0))
		Expect(succeeded.queue.Holds(ctx, 1)).To(BeEmpty())
		By("new messages run")
		created.send(ctx, 5, "afterwards", 0)
		Eventually(created.status).WithArguments(ctx).Should(counts(0, 2, 1, 0))
	})
})

var _ = Describe("Jobs restored by a tool that creates objects anew", func() {
	It("are collected as garbage, as the binding has another UID", func(ctx SpecContext) {
		p := newPlace(ctx)
		p.send(ctx, 1, "a.invalid", 0)
		Eventually(p.status).WithArguments(ctx).Should(counts(0, 0, 1, 0))
		saved := p.jobs(ctx)[0]
		again := p.binding.DeepCopy()
		Expect(k8s.Delete(ctx, p.binding)).To(Succeed())
		Eventually(p.jobs).WithArguments(ctx).Should(BeEmpty())

		again.ObjectMeta = metav1.ObjectMeta{Namespace: again.Namespace, Name: again.Name}
		Expect(k8s.Create(ctx, again)).To(Succeed())
		owned, alone := restored(saved), restored(saved)
		alone.Name += "-alone"
		alone.OwnerReferences = nil
		Expect(k8s.Create(ctx, alone)).To(Succeed())
		Expect(k8s.Create(ctx, owned)).To(Succeed())
		Eventually(p.uids).WithArguments(ctx).Should(ConsistOf(string(alone.UID)))
		Eventually(p.status).WithArguments(ctx).Should(counts(0, 0, 0, 0))
	})
})

// restored is a Job as such a tool creates it from its backup, suspended so that the test's own Pods do not matter.
func restored(saved batchv1.Job) *batchv1.Job {
	job := saved.DeepCopy()
	job.ObjectMeta = metav1.ObjectMeta{
		Namespace: saved.Namespace, Name: saved.Name, Labels: saved.Labels, Annotations: saved.Annotations, OwnerReferences: saved.OwnerReferences,
	}
	job.Status, job.Spec.Selector, job.Spec.Suspend = batchv1.JobStatus{}, nil, new(true)
	for _, label := range []string{"controller-uid", "job-name", batchv1.ControllerUidLabel, batchv1.JobNameLabel} {
		delete(job.Labels, label)
		delete(job.Spec.Template.Labels, label)
	}
	return job
}

var _ = Describe("All Jobs deleted by mistake", func() {
	It("are lost under OnJobCreated, running ones and records of failures, and run again under OnJobSucceeded", func(ctx SpecContext) {
		created, succeeded := newPlace(ctx), newPlace(ctx, onJobSucceeded)
		for _, p := range []*place{created, succeeded} {
			p.send(ctx, 1, "done", 0)
			Eventually(p.status).WithArguments(ctx).Should(counts(0, 1, 0, 0))
			p.send(ctx, 2, "running", 600)
			Eventually(p.status).WithArguments(ctx).Should(counts(1, 1, 0, 0))
		}
		created.send(ctx, 3, "a.invalid", 0)
		Eventually(created.status).WithArguments(ctx).Should(counts(1, 1, 1, 0))
		Eventually(created.held(ctx, 0)).Should(BeEmpty())
		Eventually(succeeded.held(ctx, 1)).Should(BeEmpty())
		before := succeeded.uids(ctx)
		for _, p := range []*place{created, succeeded} {
			_, err := cluster.Kubectl(ctx, "delete", "jobs", "--all", "-n", p.queue.Name, "--wait=false")
			Expect(err).NotTo(HaveOccurred())
		}

		Eventually(created.status).WithArguments(ctx).Should(counts(0, 0, 0, 0))
		Expect(created.queue.Holds(ctx, 0)).To(BeEmpty())
		Eventually(succeeded.uids).WithArguments(ctx).Should(And(HaveLen(1), Not(ContainElement(BeElementOf(before)))))
		Eventually(succeeded.status).WithArguments(ctx).Should(counts(1, 0, 0, 0))
		created.send(ctx, 4, "afterwards", 0)
		Eventually(created.status).WithArguments(ctx).Should(counts(0, 1, 0, 0))
		Expect(created.jobs(ctx)).To(HaveLen(1))
	})
})

var _ = Describe("The CRD deleted and applied again", func() {
	It("takes bindings and Jobs along, and leaves queues: the operator goes on when they are back", func(ctx SpecContext) {
		created, succeeded, gone := newPlace(ctx), newPlace(ctx, onJobSucceeded), newPlace(ctx)
		for _, p := range []*place{created, succeeded, gone} {
			p.send(ctx, 1, "running", 600)
			Eventually(p.status).WithArguments(ctx).Should(counts(1, 0, 0, 0))
		}
		Eventually(created.held(ctx, 0)).Should(BeEmpty())
		// The garbage collector knows a kind half a minute after its CRD came, and what goes before that it never hears of.
		_, err := cluster.Kubectl(ctx, "delete", "queuebinding", "-n", gone.binding.Namespace, gone.binding.Name)
		Expect(err).NotTo(HaveOccurred())
		Eventually(gone.jobs).WithArguments(ctx).Should(BeEmpty())
		_, err = cluster.Kubectl(ctx, "delete", "crd", "queuebindings.queuebinding.dev")
		Expect(err).NotTo(HaveOccurred())
		for _, p := range []*place{created, succeeded} {
			Eventually(p.jobs).WithArguments(ctx).Should(BeEmpty())
		}
		created.send(ctx, 2, "meanwhile", 0)

		Expect(cluster.InstallCRDs()).To(Succeed())
		for _, p := range []*place{created, succeeded} {
			p.binding.ObjectMeta = metav1.ObjectMeta{Namespace: p.binding.Namespace, Name: p.binding.Name}
			p.binding.Status = v1alpha1.QueueBindingStatus{}
			Eventually(func() error { return k8s.Create(ctx, p.binding.DeepCopy()) }).Should(Succeed())
		}
		Eventually(created.status).WithArguments(ctx).Should(counts(0, 1, 0, 0))
		Eventually(succeeded.status).WithArguments(ctx).Should(counts(1, 0, 0, 0))
		Expect(created.jobs(ctx)).To(HaveLen(1))
	})
})
