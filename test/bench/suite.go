package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/rig"
)

// plenty is a maxActiveJobs that nothing here reaches.
const plenty = 10_000

// suite is what all measurements share.
type suite struct {
	*rig.Cluster
	amounts    amounts
	program    string
	profiles   string
	creations  *creations
	stop       context.CancelFunc
	workspaces int
}

func newSuite(ctx context.Context, cluster *rig.Cluster, amounts amounts, profiles string) (*suite, error) {
	program, err := cluster.Build("manager")
	if err != nil {
		return nil, err
	}
	if profiles != "" {
		if err := os.MkdirAll(profiles, 0o755); err != nil {
			return nil, err
		}
	}
	watching, stop := context.WithCancel(ctx)
	creations, err := watchCreations(watching, cluster.Client)
	if err != nil {
		stop()
		return nil, err
	}
	return &suite{Cluster: cluster, amounts: amounts, program: program, profiles: profiles, creations: creations, stop: stop}, nil
}

func (s *suite) close() { s.stop() }

// operate runs an operator, as it is shipped, while do does something.
func (s *suite) operate(ctx context.Context, name string, do func(*operator) error) error {
	return s.operateBy(ctx, name, s.DirectEndpoints("operator-"+name), do)
}

func (s *suite) operateBy(ctx context.Context, name string, endpoints *rig.Endpoints, do func(*operator) error) error {
	operator, err := s.startOperator(ctx, name, endpoints)
	if err != nil {
		return err
	}
	defer operator.Kill()
	return do(operator)
}

// workspace is a namespace with a binding and its queue, and another queue for the bare client.
type workspace struct {
	suite     *suite
	namespace string
	queue     *rig.Queue
	binding   *v1alpha1.QueueBinding
	bareQueue *rig.Queue
	bare      *bare
}

// newWorkspace makes a workspace whose binding is suspended, or what change makes of it.
func (s *suite) newWorkspace(ctx context.Context, change func(*v1alpha1.QueueBinding)) (*workspace, error) {
	s.workspaces++
	w := &workspace{suite: s, namespace: fmt.Sprintf("bench-%d", s.workspaces)}
	err := s.CreateNamespace(ctx, w.namespace)
	if err != nil {
		return nil, err
	}
	if w.queue, err = s.CreateQueue(ctx, w.namespace, "", 0); err != nil {
		return nil, err
	}
	if w.bareQueue, err = s.CreateQueue(ctx, w.namespace+"-bare", "", 0); err != nil {
		return nil, err
	}
	if w.bare, err = newBare(ctx, s.Cluster, w.namespace, w.bareQueue); err != nil {
		return nil, err
	}
	w.binding = benchBinding(w.namespace, "pings", w.queue.URL)
	if change != nil {
		change(w.binding)
	}
	if err := s.Client.Create(ctx, w.binding); err != nil {
		return nil, fmt.Errorf("creating a binding: %w", err)
	}
	return w, nil
}

// benchBinding is a binding for as many Jobs as come. Its Jobs are suspended: they hold a slot and have no Pods, so that
// scheduler and simulated nodes do not take part in what is measured.
func benchBinding(namespace, name, queueURL string) *v1alpha1.QueueBinding {
	binding := rig.Binding(namespace, name, queueURL)
	binding.Spec.Queue.VisibilityTimeoutSeconds = new(int32(60))
	binding.Spec.Concurrency.MaxActiveJobs = new(int32(plenty))
	binding.Spec.JobTemplate.Spec.Suspend = new(true)
	return binding
}

func suspended(binding *v1alpha1.QueueBinding) { binding.Spec.Suspend = true }

// body is the body of a message.
func body(number int) string { return rig.Body(number, "localhost", 1) }

func bodies(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = body(i)
	}
	return all
}

func (w *workspace) operator() owner { return owner{w.namespace, w.binding.Name} }

func (w *workspace) bareOwner() owner { return owner{w.namespace, bareName} }

// release has a suspended binding receive.
func (w *workspace) release(ctx context.Context) error {
	before := w.binding.DeepCopy()
	w.binding.Spec.Suspend = false
	if err := w.suite.Client.Patch(ctx, w.binding, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("resuming a binding: %w", err)
	}
	return nil
}

// polling waits until a binding has an open long poll, as far as that can be told: once it is ready, the next receive
// follows at once.
func (s *suite) polling(ctx context.Context, binding *v1alpha1.QueueBinding) error {
	return rig.Await(ctx, "a ready binding", func() string {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(binding), binding); err != nil {
			return err.Error()
		}
		for _, condition := range binding.Status.Conditions {
			if condition.Type == v1alpha1.ConditionReady && condition.Status == metav1.ConditionTrue && binding.Status.ObservedGeneration == binding.Generation {
				return ""
			}
		}
		return "it is not ready"
	})
}

// clear removes all Jobs of the workspace and its binding, and waits for the cluster to come to rest.
func (w *workspace) clear(ctx context.Context) error { return w.suite.clear(ctx, w.namespace) }

func (s *suite) clear(ctx context.Context, namespaces ...string) error {
	group, grouped := errgroup.WithContext(ctx)
	for _, namespace := range namespaces {
		group.Go(func() error {
			// The binding first, or it would fill the slots again.
			if err := s.Client.DeleteAllOf(grouped, &v1alpha1.QueueBinding{}, client.InNamespace(namespace), client.PropagationPolicy(metav1.DeletePropagationOrphan)); err != nil {
				return err
			}
			// The API server gives up after a minute, with some of them deleted.
			return rig.AwaitFor(grouped, clearsWithin, "an empty namespace", func() string {
				return rig.Problem(s.Client.DeleteAllOf(grouped, &batchv1.Job{}, client.InNamespace(namespace), client.PropagationPolicy(metav1.DeletePropagationBackground)))
			})
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("clearing up: %w", err)
	}
	return s.settle(ctx)
}

const (
	// clearsWithin bounds the deletion of a measurement's Jobs.
	clearsWithin = 10 * time.Minute
	// restless is how much of a core the cluster may use while it rests.
	restless = 0.25
	// settlesWithin bounds the wait for that: a machine that is busy otherwise must not stop the run.
	settlesWithin = 30 * time.Second
)

// settle waits until the cluster has nothing to do.
func (s *suite) settle(ctx context.Context) error {
	const look = 300 * time.Millisecond
	deadline := time.Now().Add(settlesWithin)
	for time.Now().Before(deadline) {
		before := usageOfAll()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(look):
		}
		if used := usageOfAll().since(before); used.total().Seconds() < restless*look.Seconds() {
			return nil
		}
	}
	return nil
}
