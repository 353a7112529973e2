package controller

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Enqueuer enqueues bindings for the controller from outside its watches. It never blocks, also when the controller does not run
// (any more).
type Enqueuer struct {
	mu    sync.Mutex
	queue requests
}

// Enqueue enqueues a binding.
func (e *Enqueuer) Enqueue(key types.NamespacedName) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.queue != nil {
		e.queue.Add(reconcile.Request{NamespacedName: key})
	}
}

func (e *Enqueuer) start(_ context.Context, q requests) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue = q
	return nil
}
