package job

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// A producer must not be able to understate what the API server stores for a message.
func TestStoredBytesCoverJobPodAndSecrets(t *testing.T) {
	body := strings.Repeat("x", 100<<10)
	for delivery, least := range map[v1alpha1.Delivery]int64{v1alpha1.DeliverEnv: 2 * 100 << 10, v1alpha1.DeliverFile: 100 << 10} {
		binding := aBinding()
		binding.Spec.Message.Delivery = delivery
		if got := Observe(rendered(t, binding, aMessage(body))).StoredBytes; got < least || got > least+20<<10 {
			t.Errorf("%s: %d bytes, want %d and some", delivery, got, least)
		}
	}
	for _, text := range []string{"", "-1", "no number", "1"} {
		of := &batchv1.Job{}
		of.Annotations = map[string]string{v1alpha1.AnnotationStoredBytes: text}
		if got := Observe(of).StoredBytes; got != smallJob {
			t.Errorf("%q counts as %d bytes", text, got)
		}
	}
	h := NewHistory()
	h.Put(Record{Name: "a", StoredBytes: 5, State: Active})
	h.Put(Record{Name: "b", StoredBytes: 7, State: Succeeded})
	h.Put(Record{Name: "a", StoredBytes: 6, State: Active})
	if h.Drop("b"); h.StoredBytes() != 6 {
		t.Errorf("%d bytes are left", h.StoredBytes())
	}
	// A requeue must be possible at the limit: its Job goes, and does not count any more.
	h.Put(Record{Name: "a", StoredBytes: 6, State: Failed})
	if h.StoredBytes() != 6 {
		t.Errorf("a failed Job counts as %d bytes", h.StoredBytes())
	}
	h.Put(Record{Name: "a", StoredBytes: 6, State: Failed, Sent: true, Requeued: true})
	if h.StoredBytes() != 0 {
		t.Errorf("a requeued Job counts as %d bytes", h.StoredBytes())
	}
	if h.Drop("a"); h.StoredBytes() != 0 {
		t.Errorf("%d bytes are left of nothing", h.StoredBytes())
	}
}
