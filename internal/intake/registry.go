package intake

import (
	"context"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/metrics"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// Registry starts, joins and stops loops: at most one for each binding, and never a new one before the old one has
// ended. It is a Runnable of the manager that needs leader election.
type Registry struct {
	deps   *Dependencies
	opener queue.Opener
	log    logr.Logger
	// changed is called with a binding whose loop has something new to tell.
	changed func(types.NamespacedName)

	mu      sync.Mutex
	running map[types.NamespacedName]*running
	// ended is what loops left that ended, for a loop of the same binding after them.
	ended  map[types.NamespacedName]legacy
	closed bool
}

// target is what a loop works for and cannot change.
type target struct {
	uid     types.UID
	address queue.Address
}

type running struct {
	target target
	loop   *Loop
	stop   context.CancelFunc
	done   chan struct{}
	// leaves reports whether the loop leaves what it knows to the next one of its binding.
	leaves bool
}

// disown stops the loop of a binding that was deleted, also where it was told to stop before.
func (r *running) disown() {
	r.loop.disown()
	r.stop()
}

// stopUnwanted stops a loop that is not to make Jobs of what it still receives.
func (r *running) stopUnwanted() {
	settings := *r.loop.settings.Load()
	settings.Paused = true
	r.loop.update(&settings)
	r.stop()
}

// NewRegistry makes an empty registry.
func NewRegistry(deps *Dependencies, opener queue.Opener, log logr.Logger, changed func(types.NamespacedName)) *Registry {
	return &Registry{deps: deps, opener: opener, log: log, changed: changed, running: map[types.NamespacedName]*running{}, ended: map[types.NamespacedName]legacy{}}
}

// Start implements manager.Runnable: it blocks until ctx ends, then stops all loops and waits for them.
func (r *Registry) Start(ctx context.Context) error {
	<-ctx.Done()
	r.mu.Lock()
	r.closed = true
	var ending []*running
	for _, each := range r.running {
		each.stop()
		ending = append(ending, each)
	}
	r.mu.Unlock()
	if len(ending) > 0 {
		r.log.Info("Waiting for open polls to be answered and their messages to be handled", "loops", len(ending))
	}
	for _, each := range ending {
		<-each.done
	}
	return nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (r *Registry) NeedLeaderElection() bool { return true }

// Ensure has a loop run with these settings and returns its report, and the queue where it is open. Where the loop of
// another target still runs, that is stopped, and changed is called when it has ended.
func (r *Registry) Ensure(ctx context.Context, settings *Settings) (Report, queue.Queue) {
	key := client.ObjectKeyFromObject(settings.Binding)
	wanted := target{
		uid:     settings.Binding.UID,
		address: queue.Address{URL: settings.Binding.Spec.Queue.URL, Region: settings.Binding.Spec.Queue.Region, Credentials: settings.Credentials},
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if current, ok := r.running[key]; ok {
		if current.target == wanted {
			current.loop.update(settings)
			return current.loop.report.snapshot(), current.loop.queue
		}
		if current.target.uid != wanted.uid {
			current.disown()
		}
		current.stop()
		return r.reportOf(key, wanted.uid), nil
	}
	if r.closed {
		return Report{}, nil
	}
	opened, err := r.opener.Open(ctx, wanted.address)
	if err != nil {
		return Report{QueueHeard: true, QueueReason: string(queue.ReasonOf(err)), QueueMessage: events.Truncate(err.Error())}, nil
	}

	stopping, stop := context.WithCancel(context.Background())
	loop := newLoop(stopping, r.deps, r.log.WithValues("binding", key.String()), settings, opened, func() { r.changed(key) })
	if left, ok := r.ended[key]; ok && left.uid == wanted.uid {
		loop.inherit(left)
	}
	delete(r.ended, key)
	started := &running{target: wanted, loop: loop, stop: stop, done: make(chan struct{}), leaves: true}
	r.running[key] = started
	go func() {
		loop.run()
		stop()
		r.mu.Lock()
		delete(r.running, key)
		if started.leaves && !loop.bindingGone.Load() {
			r.ended[key] = loop.legacy()
		}
		r.mu.Unlock()
		close(started.done)
		r.changed(key)
	}()
	return loop.report.snapshot(), loop.queue
}

// reportOf returns what the running loop of a binding last reported, so that other credentials do not make it unknown.
func (r *Registry) reportOf(key types.NamespacedName, uid types.UID) Report {
	if current, ok := r.running[key]; ok && current.target.uid == uid {
		return current.loop.report.snapshot()
	}
	return Report{}
}

// Gone stops the loop of a binding that was deleted, at once: whoever hears of it first says so. Messages are given back and
// none is deleted. The UID keeps it off the loop of another binding of the same name; an empty one stands for any.
func (r *Registry) Gone(key types.NamespacedName, uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if current, ok := r.running[key]; ok && (uid == "" || current.target.uid == uid) {
		current.disown()
	}
	delete(r.ended, key)
}

// Suspicions are those that the binding's loop has reported.
func (r *Registry) Suspicions(key types.NamespacedName) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if current, ok := r.running[key]; ok {
		return current.loop.report.snapshot().Suspicions
	}
	return 0
}

// Observe returns what the binding's loop has to tell at a scrape, nil where none runs.
func (r *Registry) Observe(key types.NamespacedName) *metrics.Intake {
	r.mu.Lock()
	current, ok := r.running[key]
	r.mu.Unlock()
	if !ok {
		return nil
	}
	return current.loop.observe()
}

// HandOver stops the loop of a binding that is another operator's from now on, if there is one. What still arrives in its
// open poll is given back, as the slots are the other's to give by then; what is being created is finished, and the other
// finds it.
func (r *Registry) HandOver(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ended, key)
	if current, ok := r.running[key]; ok {
		current.leaves = false
		current.stopUnwanted()
	}
}

// Revoke stops the loop of a binding that may not use its queue any more, if there is one. What still arrives in its open poll is
// given back.
func (r *Registry) Revoke(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if current, ok := r.running[key]; ok {
		current.stopUnwanted()
	}
}

// Stop stops the loop of a binding, if there is one; it finishes the messages that it has. Stop does not wait: a loop that is
// wanted again starts after its end.
func (r *Registry) Stop(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if current, ok := r.running[key]; ok {
		current.stop()
	}
}
