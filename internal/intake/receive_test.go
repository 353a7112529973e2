package intake

import (
	"fmt"
	"testing"
	"time"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// A queue that is far away must not be slower than the API server; one that is empty must not cost more than one poll.
func TestReceivesGoSideBySideWhileBatchesAreFull(t *testing.T) {
	for name, tc := range map[string]struct {
		url      string
		messages int
		want     int
	}{
		"many messages":    {"https://sqs.eu-west-1.amazonaws.com/123456789012/pings", 400, parallelReceives},
		"few messages":     {"https://sqs.eu-west-1.amazonaws.com/123456789012/pings", 9, 1},
		"in FIFO's order":  {"https://sqs.eu-west-1.amazonaws.com/123456789012/pings.fifo", 400, 1},
		"nothing to do":    {"https://sqs.eu-west-1.amazonaws.com/123456789012/pings", 0, 1},
		"the limit is low": {"https://sqs.eu-west-1.amazonaws.com/123456789012/pings", 400, 1},
	} {
		t.Run(name, func(t *testing.T) {
			limit := int32(1000)
			if name == "the limit is low" {
				limit = 5
			}
			run(t, func(b *v1alpha1.QueueBinding) {
				b.Spec.Queue.URL = tc.url
				b.Spec.Concurrency.MaxActiveJobs = &limit
			}, func(b *bench) {
				b.queue.SetLatency(100 * time.Millisecond)
				for i := range tc.messages {
					b.queue.Put(fmt.Sprint(i))
				}
				time.Sleep(time.Minute)
				if names, most := b.jobs(); len(names) != min(tc.messages, int(limit)) || most > 1 {
					t.Errorf("got %d Jobs, one of them created %d times; want %d, each once", len(names), most, min(tc.messages, int(limit)))
				}
				if got := b.queue.Counts().MaxReceiving; got != tc.want {
					t.Errorf("got %d receives side by side, want %d", got, tc.want)
				}
				if got := b.queue.Receiving(); got > 1 {
					t.Errorf("got %d receives open after all is done, want one at most", got)
				}
			})
		})
	}
}
