package controller_test

import (
	"context"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/config"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/events"
)

// replica is an operator with metrics of its own, which works on bindings with the label another.
type replica struct {
	measured *prometheus.Registry
	stop     context.CancelFunc
	ended    chan error
}

// startReplica runs a replica until the spec ends or stops it. Those of a namespace elect their leader.
func startReplica(namespace string) *replica {
	GinkgoHelper()
	mgr := newManager(environment.Config, k8s.Scheme(), ctrl.Options{
		Controller:     config.Controller{SkipNameValidation: new(true)},
		LeaderElection: true, LeaderElectionNamespace: namespace, LeaderElectionID: "leader-of-replicas", LeaderElectionReleaseOnCancel: true,
		RetryPeriod: new(100 * time.Millisecond),
	})
	selector, err := labels.Parse(another)
	Expect(err).NotTo(HaveOccurred())
	ctx, stop := context.WithCancel(context.Background())
	r := &replica{measured: prometheus.NewPedanticRegistry(), stop: stop, ended: make(chan error, 1)}
	Expect(addController(mgr, events.NewRecorder(mgr.GetEventRecorder("replica")), r.measured, selector)).To(Succeed())
	go func() {
		r.ended <- mgr.Start(ctx)
		close(r.ended)
	}()
	DeferCleanup(r.end)
	return r
}

// end stops the replica as a rollout does.
func (r *replica) end() {
	GinkgoHelper()
	r.stop()
	Eventually(r.ended).Should(BeClosed())
}

// series returns values, and numbers of observations, by name and further labels, without the prefix.
func (r *replica) series(g Gomega) map[string]float64 {
	families, err := r.measured.Gather()
	g.Expect(err).NotTo(HaveOccurred())
	found := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := strings.TrimPrefix(family.GetName(), "queuebinding_")
			for _, label := range metric.GetLabel() {
				if !slices.Contains([]string{"namespace", "name"}, label.GetName()) {
					name += "/" + label.GetValue()
				}
			}
			found[name] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return found
}

var _ = Describe("The metrics", func() {
	It("tell of a binding from its first message to its end, and count no Job twice when the leader changes", func(ctx SpecContext) {
		w := newWorkspaceWith(ctx, allowed, map[string]string{another: "true"})
		first := startReplica(w.namespace)
		w.send("a", "b", "c")
		jobs := w.started(ctx, 3)
		for _, job := range jobs {
			w.running(ctx, job)
		}
		Eventually(first.series).Should(And(
			HaveKeyWithValue("leader", 1.0), HaveKeyWithValue("messages_received_total", 3.0), HaveKeyWithValue("jobs_created_total", 3.0),
			HaveKeyWithValue("sent_to_job_seconds", 3.0), HaveKeyWithValue("messages_acknowledged_total", 3.0), HaveKeyWithValue("jobs/active", 3.0),
			HaveKeyWithValue("pending_jobs", 0.0), HaveKeyWithValue("max_active_jobs", 10.0), HaveKeyWithValue("max_failed_jobs", 1000.0),
			HaveKeyWithValue("ready/Running", 1.0), HaveKeyWithValue("visibility_timeout_seconds", 60.0), HaveKeyWithValue("queue_retention_seconds", 345600.0),
			HaveKey("reserved_slots"), HaveKey("oldest_message_age_seconds"), HaveKey("visibility_extension_lag_seconds"), HaveKey("last_receive_timestamp_seconds"),
		))
		Expect(first.series(Default)).NotTo(HaveKey(HavePrefix("job_duration_seconds")))
		w.succeed(ctx, jobs[0])
		Eventually(first.series).Should(And(HaveKeyWithValue("job_duration_seconds/succeeded", 1.0), HaveKeyWithValue("sent_to_finished_seconds/succeeded", 1.0)))

		first.end()
		w.fail(ctx, jobs[1]) // which nobody sees
		second := startReplica(w.namespace)
		Eventually(second.series).Should(And(HaveKeyWithValue("leader", 1.0), HaveKeyWithValue("jobs/failed", 1.0), HaveKeyWithValue("jobs/succeeded", 1.0), HaveKeyWithValue("ready/Running", 1.0)))
		waiting := startReplica(w.namespace)
		Consistently(waiting.series).Should(Equal(map[string]float64{"leader": 0}))
		w.succeed(ctx, jobs[2])
		Eventually(second.series).Should(HaveKeyWithValue("job_duration_seconds/succeeded", 1.0))
		Expect(second.series(Default)).NotTo(HaveKey("job_duration_seconds/failed"))

		w.annotate(ctx, "all")
		Eventually(second.series).Should(And(HaveKeyWithValue("jobs_requeued_total", 1.0), HaveKeyWithValue("jobs_created_total", 1.0)))

		Expect(k8s.Delete(ctx, w.binding)).To(Succeed())
		Eventually(second.series).Should(Equal(map[string]float64{"leader": 1}))
		w.send("d") // which an open poll may still receive
		Consistently(second.series).Should(Equal(map[string]float64{"leader": 1}))
	})

	It("say why a binding does not work", func(ctx SpecContext) {
		w := newWorkspaceWith(ctx, allowed, map[string]string{another: "true"}, func(s *v1alpha1.QueueBindingSpec) { s.Suspend = true })
		operator := startReplica(w.namespace)
		Eventually(operator.series).Should(HaveKeyWithValue("ready/Suspended", 1.0))
		w.edit(ctx, func(s *v1alpha1.QueueBindingSpec) {
			s.Suspend = false
			s.JobTemplate.Spec.Template.Spec.Containers[0].Name = "NO_NAME"
		})
		Eventually(operator.series).Should(And(HaveKeyWithValue("ready/JobInvalid", 0.0), Not(HaveKey("ready/Suspended"))))
	})
})
