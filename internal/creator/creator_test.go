package creator

import (
	"context"
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

	"github.com/queuebinding/queuebinding/internal/ledger"
)

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
