// Package controller reconciles QueueBindings: it gathers what is to be known of a binding, has its intake loop run
// with the current settings, does what was asked for, deletes the Jobs that have had their time, and writes the status
// once. It is the only writer of status.
package controller

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/creator"
	"github.com/queuebinding/queuebinding/internal/events"
	"github.com/queuebinding/queuebinding/internal/intake"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/ledger"
	"github.com/queuebinding/queuebinding/internal/metrics"
	"github.com/queuebinding/queuebinding/internal/queue"
	"github.com/queuebinding/queuebinding/internal/requeue"
	"github.com/queuebinding/queuebinding/internal/tracing"
)

const (
	// workers is how many bindings are reconciled side by side: requeues and deletions take their time.
	workers = 8
	// statusInterval is the least time between two writes of a binding's status.
	statusInterval = time.Second
	// statusAgain is when a status is written again that the cache was behind for, or that the binding changed under.
	statusAgain = 100 * time.Millisecond
	// tryAgain is when a template that was not accepted, or a queue that could not be opened, is tried again: what they
	// depend on can change without the binding.
	tryAgain = 30 * time.Second
	// retainAgain is when Jobs are retained again that have had their time but for the acknowledgement of their messages.
	retainAgain = time.Second
	// parallelDeletes is how many Jobs of a binding are deleted at a time, maxDeletes how many before other things come first.
	parallelDeletes = 8
	maxDeletes      = 100
)

// Reconciler reconciles QueueBindings.
type Reconciler struct {
	Client client.Client
	// Reader reads from the API server itself.
	Reader   client.Reader
	Recorder *events.Recorder
	Registry *intake.Registry
	Ledgers  *ledger.Set
	Executor *requeue.Executor
	Metrics  *metrics.Metrics
	Clock    clock.PassiveClock
	// Selector chooses the bindings that are this operator's; nil chooses all.
	Selector labels.Selector
	// MaxStoredBytes is how many bytes of the API server's storage the Jobs of a binding may take, or 0 for no limit.
	MaxStoredBytes int64
	// ClusterName is part of the external ID with which roles are assumed, where it is not empty.
	ClusterName string
	// Tenancy has Namespaces say what their bindings may use; nil lets all use what the operator can.
	Tenancy *Tenancy
	// Tracer records the Jobs that have ended; nil records none.
	Tracer *tracing.Tracer
	// Enqueuer enqueues bindings whose loop has something to report.
	Enqueuer *Enqueuer

	templates   templateChecker
	credentials credentialsReader
	requeues    requeues
	pods        *podsReader

	mu      sync.Mutex
	written map[types.NamespacedName]time.Time
}

// SetupWithManager adds the reconciler to a manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.templates = templateChecker{client: r.Client, now: r.Clock.Now, checks: map[types.NamespacedName]templateCheck{}}
	r.credentials = credentialsReader{reader: r.Reader, cluster: r.ClusterName, known: newRereads[queue.Credentials](r.Clock.Now)}
	r.requeues = newRequeues()
	r.pods = newPodsReader(r.Reader, r.Clock.Now)
	if r.Tenancy != nil {
		r.Tenancy.read = newRereads[map[string]string](r.Clock.Now)
	}
	r.written = map[types.NamespacedName]time.Time{}
	return r.watchGrants(ctrl.NewControllerManagedBy(mgr).
		Named("queuebinding").
		Watches(&v1alpha1.QueueBinding{}, bindingEvents(r.Registry)).
		Watches(&batchv1.Job{}, jobEvents(r.Ledgers, r.ends())).
		WatchesRawSource(source.Func(r.Enqueuer.start)).
		WithLogConstructor(logOf(mgr.GetLogger())).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers})).
		Complete(r)
}

// logOf makes the logs of reconciles. They name the binding as all other logs do, by one key.
func logOf(log logr.Logger) func(*reconcile.Request) logr.Logger {
	log = log.WithName("controller")
	return func(request *reconcile.Request) logr.Logger {
		if request == nil {
			return log
		}
		return log.WithValues("binding", request.String())
	}
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	binding := &v1alpha1.QueueBinding{}
	if err := r.Client.Get(ctx, request.NamespacedName, binding); err != nil {
		if client.IgnoreNotFound(err) == nil {
			r.forget(request.NamespacedName)
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if binding.DeletionTimestamp != nil {
		r.Registry.Gone(request.NamespacedName, binding.UID)
		return reconcile.Result{}, nil
	}
	if !r.selects(binding) {
		r.handOver(request.NamespacedName)
		return reconcile.Result{}, nil
	}

	r.Metrics.Of(request.NamespacedName)
	template := r.templates.check(ctx, binding, r.Registry.Suspicions(request.NamespacedName))
	report, q, after := r.ensureLoop(ctx, binding, template)
	lastRequeue, requeueAfter := r.requeueAsked(ctx, binding, q)
	var found history
	jobsOf := r.Ledgers.Of(binding.UID)
	jobsOf.View(func(jobs *job.History) {
		found = historyOf(jobs, ledger.LimitsOf(&binding.Spec, r.MaxStoredBytes), r.Clock.Now())
		found.keepUncounted(binding.Status.LastRequeue, r.Clock.Now())
	})
	deleteAgain, deleteErr := r.deleteOld(ctx, binding, &found)
	after = sooner(after, deleteAgain)
	starting, lookAgain := r.pods.starting(ctx, binding, found.pending, func() (oldest record, exists bool) {
		jobsOf.View(func(jobs *job.History) { oldest, exists = oldestPending(jobs) })
		return oldest, exists
	})
	after = sooner(after, lookAgain)
	// Pods are read for a status that is written only, or a storm of failures would be one of reads.
	wait := r.writesIn(request.NamespacedName)
	ends := r.pods.told(binding)
	if wait == 0 {
		after = sooner(after, r.pods.readEnds(ctx, binding, found.recent, ends))
	}
	status := statusOf(binding, observed{
		history: found, report: report, template: template, lastRequeue: lastRequeue, starting: starting, ends: ends,
	}, metav1.NewTime(r.Clock.Now()))
	writeAgain, err := r.writeStatus(ctx, binding, status, wait)
	if err != nil {
		return reconcile.Result{}, err
	}
	if writeAgain == 0 && lastRequeue != nil && r.requeues.of(binding).written() {
		after = sooner(after, nextSlice) // more may be asked for by now
	}
	after = sooner(sooner(after, writeAgain), requeueAfter)
	if !template.final() || q == nil {
		after = sooner(after, tryAgain)
	}
	return reconcile.Result{RequeueAfter: after}, deleteErr
}

// ensureLoop has the binding's loop run with its current settings. It returns what that reports, the queue where it is open, and
// when to look at the credentials again, 0 for not.
func (r *Reconciler) ensureLoop(ctx context.Context, binding *v1alpha1.QueueBinding, template templateCheck) (intake.Report, queue.Queue, time.Duration) {
	lasts, err := r.allowed(ctx, binding)
	if err != nil {
		r.Registry.Revoke(client.ObjectKeyFromObject(binding))
		return intake.Report{QueueHeard: true, QueueReason: string(queue.ReasonOf(err)), QueueMessage: err.Error()}, nil, lasts
	}
	credentials, after, err := r.credentials.of(ctx, binding)
	after = sooner(after, lasts)
	if err != nil {
		r.Registry.Stop(client.ObjectKeyFromObject(binding))
		return intake.Report{QueueHeard: true, QueueReason: string(queue.ReasonOf(err)), QueueMessage: err.Error()}, nil, after
	}
	report, q := r.Registry.Ensure(ctx, &intake.Settings{
		Binding:        binding.DeepCopy(), // this one changes later, and loops read theirs any time
		Credentials:    credentials,
		Variables:      template.variables,
		MaxStoredBytes: r.MaxStoredBytes,
		Paused:         binding.Spec.Suspend || template.status == metav1.ConditionFalse,
	})
	return report, q, after
}

// forget stops what is done for a binding that is gone, and drops what was kept for it.
func (r *Reconciler) forget(key types.NamespacedName) {
	r.Registry.Gone(key, "")
	r.drop(key)
}

// drop drops what was kept for a binding.
func (r *Reconciler) drop(key types.NamespacedName) {
	r.templates.forget(key)
	r.credentials.known.forget(key)
	r.requeues.forget(key)
	r.pods.forget(key)
	r.Metrics.Forget(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.written, key)
}

// writesIn returns when the status of a binding may be written again, 0 for now.
func (r *Reconciler) writesIn(key types.NamespacedName) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(0, statusInterval-r.Clock.Now().Sub(r.written[key]))
}

// writeStatus writes the status if it differs and need not wait, as the last write is too recent; else it returns when to come back.
func (r *Reconciler) writeStatus(ctx context.Context, binding *v1alpha1.QueueBinding, status v1alpha1.QueueBindingStatus, wait time.Duration) (time.Duration, error) {
	if equality.Semantic.DeepEqual(binding.Status, status) {
		return 0, nil
	}
	if wait > 0 {
		return wait, nil
	}
	key := client.ObjectKeyFromObject(binding)
	r.mu.Lock()
	r.written[key] = r.Clock.Now()
	r.mu.Unlock()
	before := binding.DeepCopy()
	binding.Status = status
	// A patch says what differs from the cache. Where that is behind, what was written last and is to go again would stay: so it has to
	// be what the API server has.
	err := r.Client.Status().Patch(ctx, binding, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.written, key)
		return statusAgain, nil
	}
	if err != nil {
		return 0, client.IgnoreNotFound(fmt.Errorf("write the status: %w", err))
	}
	for _, event := range turns(before.Status.Conditions, status.Conditions) {
		r.Recorder.Record(key, binding.UID, event)
	}
	return 0, nil
}

// deleteOld deletes the Jobs that have had their time, and returns when to look at them again, 0 for not.
func (r *Reconciler) deleteOld(ctx context.Context, binding *v1alpha1.QueueBinding, found *history) (again time.Duration, err error) {
	// The superseded ones first: without their successors, nothing would tell that they are.
	more, err := r.deleteJobs(ctx, binding, found.superseded)
	if err == nil && !more {
		more, err = r.deleteJobs(ctx, binding, found.spent)
	}
	if found.later {
		again = retainAgain
	}
	if more {
		again = sooner(again, gatherFor)
	}
	return again, err
}

// deleteJobs deletes Jobs with their Pods, so many at a time, and reports whether there are more. The UID keeps it off another Job of
// the same name.
func (r *Reconciler) deleteJobs(ctx context.Context, binding *v1alpha1.QueueBinding, records []record) (more bool, err error) {
	records = slices.DeleteFunc(records, func(each record) bool { return each.Deleting })
	group := errgroup.Group{}
	group.SetLimit(parallelDeletes)
	for _, each := range records[:min(len(records), maxDeletes)] {
		group.Go(func() error {
			target := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: binding.Namespace, Name: each.Name}}
			err := r.Client.Delete(ctx, target, client.Preconditions{UID: &each.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground))
			if err := client.IgnoreNotFound(err); err != nil {
				return fmt.Errorf("delete Job %s: %w", each.Name, creator.WithoutValues(err))
			}
			return nil
		})
	}
	return len(records) > maxDeletes, group.Wait()
}

// sooner is the sooner of two delays, where 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
