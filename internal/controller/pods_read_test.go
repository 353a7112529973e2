package controller

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

// podsServer answers lists of Pods with one that failed.
type podsServer struct {
	client.Reader
	fault error
	takes time.Duration

	reading, most atomic.Int32
}

func (s *podsServer) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	now := s.reading.Add(1)
	defer s.reading.Add(-1)
	s.most.Store(max(s.most.Load(), now))
	time.Sleep(s.takes)
	if s.fault != nil {
		return s.fault
	}
	list.(*corev1.PodList).Items = []corev1.Pod{{
		ObjectMeta: metav1.ObjectMeta{Name: "pod"},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Name: "work", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3}},
		}}},
	}}
	return nil
}

// Pods that could not be read when their Job failed are read later, though the status tells of the Job by then.
func TestPodsThatCouldNotBeReadAreReadAgain(t *testing.T) {
	server := &podsServer{fault: errors.New("try again")}
	reader, binding := newPodsReader(server, time.Now), aBinding()
	failed := []record{aJob("a", job.Failed, 1), aJob("b", job.Failed, 2)}
	read := func() (ends map[string]*v1alpha1.ContainerEnd, again time.Duration) {
		ends = reader.told(binding)
		again = reader.readEnds(t.Context(), binding, failed, ends)
		binding.Status.RecentFailures = nil
		for _, each := range failed {
			binding.Status.RecentFailures = append(binding.Status.RecentFailures, v1alpha1.Failure{JobName: each.Name, Container: ends[each.Name]})
		}
		return ends, again
	}
	if ends, again := read(); ends["a"] != nil || ends["b"] != nil || again != podsInterval {
		t.Fatalf("got %v, to be read again after %s", ends, again)
	}
	server.fault = nil
	if ends, again := read(); ends["a"] == nil || ends["b"] == nil || *ends["b"].ExitCode != 3 || again != 0 {
		t.Errorf("got %v, to be read again after %s", ends, again)
	}
	server.fault = errors.New("nobody asks")
	if ends, again := read(); ends["a"] == nil || again != 0 {
		t.Errorf("what was told was read again: %v, %s", ends, again)
	}
}

// P5: Pods hold messages. However many bindings are reconciled, one reconcile has Pods in memory, and those that wait do so for a while.
func TestOneReconcileHasPodsInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &podsServer{takes: 2 * time.Second}
		reader := newPodsReader(server, time.Now)
		began := time.Now()
		for range 8 {
			go reader.readEnds(t.Context(), aBinding(), []record{aJob("a", job.Failed, 1)}, map[string]*v1alpha1.ContainerEnd{})
			go reader.starting(t.Context(), aBinding(), 1, func() (record, bool) {
				return record{Name: "b", Created: began.Add(-time.Hour)}, true
			})
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		if most := server.most.Load(); most != 1 {
			t.Errorf("%d reads went on side by side", most)
		}
	})
}
