package recorder_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/queuebinding/queuebinding/test/recorder"
)

func pod(namespace, name string, phase corev1.PodPhase) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + name)},
		Status:     corev1.PodStatus{Phase: phase},
	}
}

func node(name string, labels map[string]string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: labels}}
}

func TestNodesCountsTheMostAtOnce(t *testing.T) {
	n := recorder.NewNodes("batch", "pool")
	n.Observe(watch.Added, node("a", map[string]string{"pool": "x"}))
	n.Observe(watch.Added, node("other", nil))
	n.Observe(watch.Added, pod("batch", "1", corev1.PodPending))
	n.Observe(watch.Added, pod("batch", "2", corev1.PodPending))
	n.Observe(watch.Added, pod("elsewhere", "3", corev1.PodPending))
	n.Observe(watch.Modified, pod("batch", "1", corev1.PodRunning))
	n.Observe(watch.Added, pod("batch", "4", corev1.PodPending))
	n.Observe(watch.Modified, pod("batch", "1", corev1.PodSucceeded))
	n.Observe(watch.Deleted, pod("batch", "2", corev1.PodPending))
	n.Observe(watch.Deleted, node("a", map[string]string{"pool": "x"}))
	want := recorder.Counts{Pending: 1, MostPending: 2, MostRunning: 1, MostNodes: 1}
	if got := n.Counts(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
