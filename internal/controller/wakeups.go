package controller

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Wakeups has bindings looked at. It never blocks, also when the controller does not run (any more).
type Wakeups struct {
	mu    sync.Mutex
	queue requests
}

// Wake has a binding looked at.
func (w *Wakeups) Wake(key types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queue != nil {
		w.queue.Add(reconcile.Request{NamespacedName: key})
	}
}

func (w *Wakeups) start(_ context.Context, q requests) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = q
	return nil
}
