package autoscaling_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/neighbours/autoscaling"
	"github.com/queuebinding/queuebinding/test/recorder"
	"github.com/queuebinding/queuebinding/test/rig"
)

const (
	namespace = "autoscaling"
	// hurry is what the times of the documented autoscaler are divided by.
	hurry = 30
	// drained is how many messages are drained by Jobs of some seconds.
	drained = 80
)

// stage is a cluster with an operator, a binding, the documented autoscaler, and what serves it the operator's metrics.
type stage struct {
	*testing.T
	cluster  *rig.Cluster
	queue    *rig.Queue
	binding  *v1alpha1.QueueBinding
	scaler   *autoscalingv2.HorizontalPodAutoscaler
	recorded *recorder.Recorder
	metrics  string
}

func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{T: t}
	ctx := t.Context()
	var err error
	s.cluster, err = rig.StartCluster(ctx, io.Discard)
	s.must(err)
	t.Cleanup(func() {
		if err := s.cluster.End(t.Failed()); err != nil {
			t.Error(err)
		}
	})
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	t.Cleanup(func() {
		stop()
		if s.recorded != nil {
			s.recorded.Wait()
		}
	})
	s.recorded, err = recorder.Start(watching, s.cluster.Client)
	s.must(err)
	s.must(s.cluster.CreateNamespace(ctx, namespace))
	s.queue, err = s.cluster.CreateQueue(ctx, namespace, "", 0)
	s.must(err)

	address, err := rig.FreeAddress()
	s.must(err)
	s.metrics = "http://" + address.String() + "/metrics"
	program, err := s.cluster.Build("manager")
	s.must(err)
	operator, err := s.cluster.StartOperator(program, s.cluster.DirectEndpoints("operator"), "--metrics-bind-address="+address.String(), "--metrics-secure=false")
	s.must(err)
	t.Cleanup(func() {
		operator.Kill()
		if t.Failed() {
			t.Log(operator.LastLines(40))
		}
	})
	stopAdapter, err := (&autoscaling.Adapter{MetricsURL: s.metrics}).Start(ctx, s.cluster.Client)
	s.must(err)
	t.Cleanup(stopAdapter)

	s.binding = rig.Binding(namespace, "pings", s.queue.URL)
	s.binding.Spec.Concurrency.MaxActiveJobs = new(int32(1))
	s.must(s.cluster.Client.Create(ctx, s.binding))
	s.scaler = documented(t)
	s.must(s.cluster.Client.Create(ctx, s.scaler))
	return s
}

// documented is the autoscaler of docs/autoscaling.md, in a hurry.
func documented(t *testing.T) *autoscalingv2.HorizontalPodAutoscaler {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "autoscaling.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(page), "```yaml\n")
	text, _, found := strings.Cut(after, "```")
	scaler := &autoscalingv2.HorizontalPodAutoscaler{}
	if err := yaml.UnmarshalStrict([]byte(text), scaler); err != nil || !found {
		t.Fatalf("docs/autoscaling.md has no HorizontalPodAutoscaler: %v", err)
	}
	scaler.Namespace = namespace
	for _, rules := range []*autoscalingv2.HPAScalingRules{scaler.Spec.Behavior.ScaleUp, scaler.Spec.Behavior.ScaleDown} {
		*rules.StabilizationWindowSeconds /= hurry
		for i := range rules.Policies {
			rules.Policies[i].PeriodSeconds /= hurry
		}
	}
	return scaler
}

// limits are the values that maxActiveJobs had, in order.
func (s *stage) limits() []int {
	seen := s.recorded.Binding(s.binding.UID).Limits
	var all []int
	for _, generation := range slices.Sorted(maps.Keys(seen)) {
		all = append(all, seen[generation])
	}
	return all
}

// awaitLimit waits until maxActiveJobs is as wanted, and says why the autoscaler has not set it if it is not.
func (s *stage) awaitLimit(want int) {
	s.Helper()
	err := rig.AwaitFor(s.Context(), 3*rig.Timeout, fmt.Sprintf("maxActiveJobs %d", want), func() string {
		if all := s.limits(); len(all) > 0 && all[len(all)-1] == want {
			return ""
		}
		if err := s.cluster.Client.Get(s.Context(), client.ObjectKeyFromObject(s.scaler), s.scaler); err != nil {
			return err.Error()
		}
		return fmt.Sprintf("it was %v, and the autoscaler says %+v", s.limits(), s.scaler.Status)
	})
	s.must(err)
}

// await waits until a condition of the Jobs holds.
func (s *stage) await(what string, holds func([]recorder.Job) bool) {
	s.Helper()
	s.must(rig.AwaitFor(s.Context(), 3*rig.Timeout, what, func() string {
		jobs := s.recorded.Jobs(namespace)
		if holds(jobs) {
			return ""
		}
		return fmt.Sprintf("there are %d Jobs, %d active, limits %v", len(jobs), active(jobs), s.limits())
	}))
}

func active(jobs []recorder.Job) int {
	n := 0
	for _, job := range jobs {
		if job.Active() {
			n++
		}
	}
	return n
}

// endRunningPods ends the Pods that run, as a kubelet does when their container ends.
func (s *stage) endRunningPods() {
	s.Helper()
	pods := &corev1.PodList{}
	s.must(s.cluster.Client.List(s.Context(), pods, client.InNamespace(namespace)))
	for i := range pods.Items {
		if pods.Items[i].Status.Phase == corev1.PodRunning {
			s.must(s.cluster.Client.Status().Patch(s.Context(), &pods.Items[i], client.RawPatch(types.MergePatchType, []byte(`{"status": {"phase": "Succeeded"}}`))))
		}
	}
}

func bodies(from, count int, seconds float64) []string {
	var all []string
	for i := range count {
		all = append(all, rig.Body(from+i, "127.0.0.1", seconds))
	}
	return all
}

// The limit follows the queue in the steps of the autoscaler, up to its maximum and down to its minimum; Jobs that run are left alone, and
// intake waits for them.
func TestAnAutoscalerDrivesTheLimitAndStopsNoJob(t *testing.T) {
	s := newStage(t)
	ctx := t.Context()
	lowest, highest := int(*s.scaler.Spec.MinReplicas), int(s.scaler.Spec.MaxReplicas)

	// Messages pile up, and Jobs drain them.
	s.must(s.queue.SendAll(ctx, bodies(0, drained, 4)))
	s.awaitLimit(highest)
	s.await("the end of the backlog", func(jobs []recorder.Job) bool { return len(jobs) == drained && active(jobs) == 0 })
	s.awaitLimit(lowest)

	// They pile up again, and are taken by somebody else while as many Jobs as may be run on.
	s.must(s.queue.SendAll(ctx, bodies(drained, 6*highest, 3600)))
	s.await("Jobs up to the maximum", func(jobs []recorder.Job) bool { return active(jobs) == highest })
	s.must(s.queue.Purge(ctx))
	s.awaitLimit(lowest)
	s.checkSteps()
	if jobs := s.recorded.Jobs(namespace); len(jobs) != drained+highest || active(jobs) != highest {
		t.Fatalf("%d of %d Jobs are active after scaling in, not %d of %d", active(jobs), len(jobs), highest, drained+highest)
	}
	s.must(s.queue.SendAll(ctx, bodies(drained+6*highest, 1, 1)))
	s.awaitMetric(`queuebinding_queue_messages{name="pings",namespace="autoscaling",state="visible"} 1`, true)
	if jobs := s.recorded.Jobs(namespace); len(jobs) != drained+highest {
		t.Fatalf("a message was received though %d Jobs were active, and the limit was %d", highest, lowest)
	}

	s.endRunningPods()
	s.await("the last Job", func(jobs []recorder.Job) bool { return len(jobs) == drained+highest+1 && active(jobs) == 0 })
	s.checkJobs(drained+highest+1, highest)
	s.must(rig.Await(ctx, "an empty queue", func() string { return s.queue.Holds(ctx, 0) }))

	// A binding that is gone leaves no series.
	s.must(s.cluster.Client.Delete(ctx, s.binding))
	s.awaitMetric(`name="pings"`, false)
}

// checkSteps checks how far the limit went at a time. A policy counts from where its period began, so that a step after a turn may also
// take back the one before.
func (s *stage) checkSteps() {
	s.Helper()
	limits := s.limits()
	s.Logf("maxActiveJobs was %v", limits)
	up, down := int(s.scaler.Spec.Behavior.ScaleUp.Policies[0].Value), int(s.scaler.Spec.Behavior.ScaleDown.Policies[0].Value)
	before := 0
	for i := 1; i < len(limits); i++ {
		step := limits[i] - limits[i-1]
		if step > up+max(0, -before) || step < -down-max(0, before) {
			s.Errorf("a step of %d from %d, in %v", step, limits[i-1], limits)
		}
		before = step
	}
}

// checkJobs checks that there was one Job for each of some messages, that each ended by itself, and that there were never too many.
func (s *stage) checkJobs(messages, highest int) {
	s.Helper()
	seen := map[string]bool{}
	for _, job := range s.recorded.Jobs(namespace) {
		if !job.Succeeded() || job.Attempt != 1 || seen[job.Root] {
			s.Errorf("%+v is not the one Job of its message, ended by itself", job)
		}
		seen[job.Root] = true
	}
	if len(seen) != messages {
		s.Errorf("%d messages had Jobs, not %d", len(seen), messages)
	}
	if peak := s.recorded.Peak(s.binding.UID); peak > highest {
		s.Errorf("%d Jobs were active, with a limit of at most %d", peak, highest)
	}
	if gaps := s.recorded.Gaps(); gaps > 0 {
		s.Errorf("%d gaps in the watch", gaps)
	}
}

// awaitMetric waits until the operator's metrics hold a text, or do not.
func (s *stage) awaitMetric(text string, wanted bool) {
	s.Helper()
	s.must(rig.AwaitFor(s.Context(), 3*rig.Timeout, text, func() string {
		page, err := s.scrape()
		if err != nil {
			return err.Error()
		}
		if strings.Contains(page, text) != wanted {
			return fmt.Sprintf("the metrics hold it: %t", !wanted)
		}
		return ""
	}))
}

func (s *stage) scrape() (string, error) {
	request, err := http.NewRequestWithContext(s.Context(), http.MethodGet, s.metrics, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	return string(page), err
}
