package creator

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// deniedPatches denies patches as a webhook does that calls its denial a conflict.
type deniedPatches struct {
	client.Client
	existing *batchv1.Job
	patches  atomic.Int32
}

func (c *deniedPatches) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	c.existing.DeepCopyInto(into.(*batchv1.Job))
	return nil
}

func (c *deniedPatches) Patch(context.Context, client.Object, client.Patch, ...client.PatchOption) error {
	if c.patches.Add(1) > 1000 {
		return nil
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Code: http.StatusConflict, Reason: metav1.StatusReasonConflict, Message: `admission webhook "w" denied the request: no`,
	}}
}

// P5: a webhook that denies changes of Jobs as conflicts is asked after a growing delay, not without end.
func TestADeniedPatchIsNoConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		received := time.Now()
		lineage, message := job.Lineage{Root: "a", Attempt: 1}, &queue.Message{ID: "a", ReceiptHandle: "second", ReceiveCount: 2, ReceivedTime: received}
		existing := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: "b-a", UID: "job", OwnerReferences: []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "QueueBinding", UID: "b", Controller: new(true)}},
			Annotations: job.ReceiptOf(&queue.Message{ID: "a", ReceiptHandle: "first", ReceiveCount: 1, ReceivedTime: received.Add(-time.Minute)}).Annotations(),
		}}
		api := &deniedPatches{existing: existing}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		creator := New(ctx, ctx, Options{
			Client: api, Reader: api, Clock: clock.RealClock{}, Log: logr.Discard(), Limiter: NewLimiter(1), Ledger: ledger.NewSet(clock.RealClock{}).Of("b"),
			Binding: types.NamespacedName{Namespace: "n", Name: "b"}, UID: "b", Blocked: func(string, string) {}, Crowded: roomy,
		})
		record := job.Observe(existing)
		record.Lineage = lineage
		if _, err := creator.Adopt(record, message); !errors.Is(err, ErrNotWanted) {
			t.Errorf("got %v, want the message to be kept until the operator stops", err)
		}
		if n := api.patches.Load(); n == 0 || n > 10 {
			t.Errorf("patched %d times within a minute", n)
		}
	})
}

// slowWebhooks answers creates of some bindings after a long time, with an error, and the others at once.
type slowWebhooks struct {
	client.Client
	slow     map[string]bool
	requests atomic.Int32
}

func (c *slowWebhooks) Create(ctx context.Context, object client.Object, _ ...client.CreateOption) error {
	if !c.slow[object.GetNamespace()] {
		return nil
	}
	c.requests.Add(1)
	select {
	case <-time.After(25 * time.Second):
	case <-ctx.Done():
	}
	return apierrors.NewTimeoutError("failed calling webhook", 1)
}

// P5: what waits on slow webhooks holds its places once, and not again for each message behind.
func TestSlowWebhooksStallNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &slowWebhooks{slow: map[string]bool{"slow-a": true, "slow-b": true}}
		limiter, ledgers := NewLimiter(2*parallelCreates), ledger.NewSet(clock.RealClock{})
		ctx, cancel := context.WithCancel(t.Context())
		creators := map[string]*Creator{}
		for _, namespace := range []string{"slow-a", "slow-b", "quick"} {
			creators[namespace] = New(ctx, ctx, Options{
				Client: api, Clock: clock.RealClock{}, Log: logr.Discard(), Limiter: limiter, Ledger: ledgers.Of(types.UID(namespace)),
				Binding: types.NamespacedName{Namespace: namespace, Name: "b"}, UID: types.UID(namespace), Blocked: func(string, string) {}, Crowded: roomy,
			})
		}
		create := func(namespace string) error {
			return creators[namespace].requests.create(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}, false)
		}
		for namespace := range api.slow {
			for range 10 * parallelCreates {
				go func() {
					if isBlocked(create(namespace)) {
						creators[namespace].gate.refuse("", "")
					}
				}()
			}
		}
		synctest.Wait()
		began := time.Now()
		if err := create("quick"); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited > 26*time.Second {
			t.Errorf("the quick binding waited for %s, longer than the requests that were under way", waited)
		}
		time.Sleep(time.Minute)
		if got, most := api.requests.Load(), int32(2*parallelCreates); got > most {
			t.Errorf("%d requests to slow webhooks, want the first %d and no more", got, most)
		}
		cancel()
	})
}
