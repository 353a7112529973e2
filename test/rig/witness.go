package rig

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// Job is what the witness knows of a Job, which may be gone.
type Job struct {
	UID             types.UID
	Namespace, Name string
	// Owner is the UID of the binding.
	Owner types.UID
	// Root and Attempt are the lineage that it bears, Body the message's.
	Root    string
	Attempt int
	Body    string
	// Added is when the witness saw it first, Revision the API server's count of changes at its creation.
	Added    time.Time
	Revision int64
	// Finished is true once it is complete or failed. Failed Jobs are finished, too.
	Finished, Failed bool
	Requeued         bool
	// Deleting is true once it is being deleted, Gone once it is.
	Deleting, Gone bool
}

// Witness sees all Jobs and bindings of a cluster, from the API server's watch, and forgets none.
type Witness struct {
	client client.WithWatch

	mu       sync.Mutex
	jobs     map[types.UID]*Job
	bindings map[types.UID]*BindingSeen
	peaks    map[types.UID]int
	onCreate []func(created Job, owner BindingSeen, active int)
	gaps     int
	followed sync.WaitGroup
}

// BindingSeen is what the witness knows of a binding, which may be gone.
type BindingSeen struct {
	UID             types.UID
	Namespace, Name string
	// Limits are its maxActiveJobs by generation. Observed is since when the operator said that it works by a generation.
	Limits   map[int64]int
	Observed map[int64]time.Time
	// DeletedAt counts the API server's changes at its deletion; 0 while it exists.
	DeletedAt int64
}

// Watch starts a witness, which ends with ctx. It has seen what exists when Watch returns.
func (c *Cluster) Watch(ctx context.Context) (*Witness, error) {
	w := &Witness{client: c.Client, jobs: map[types.UID]*Job{}, bindings: map[types.UID]*BindingSeen{}, peaks: map[types.UID]int{}}
	jobs := &follower{client: c.Client, list: &batchv1.JobList{}, changed: w.changed, listed: w.listed}
	bindings := &follower{client: c.Client, list: &v1alpha1.QueueBindingList{}, changed: w.changed, listed: w.listed}
	for _, each := range []*follower{jobs, bindings} {
		if err := each.relist(ctx); err != nil {
			return nil, fmt.Errorf("listing for the witness: %w", err)
		}
		w.followed.Go(func() { each.follow(ctx) })
	}
	return w, nil
}

// Wait waits for the witness's end after that of its context.
func (w *Witness) Wait() { w.followed.Wait() }

// OnCreate has a function called for each Job that is created, with its binding and the number of that one's active
// Jobs. It must not call the witness.
func (w *Witness) OnCreate(do func(created Job, owner BindingSeen, active int)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onCreate = append(w.onCreate, do)
}

// changed takes in one object of the watch.
func (w *Witness) changed(object client.Object, deleted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch object := object.(type) {
	case *batchv1.Job:
		w.sawJob(object, deleted)
	case *v1alpha1.QueueBinding:
		w.sawBinding(object, deleted)
	}
}

// listed takes in all that exists, after a time in which the watch may have missed something.
func (w *Witness) listed(kind client.ObjectList, objects []client.Object, gap bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if gap {
		w.gaps++
	}
	there := map[types.UID]bool{}
	for _, object := range objects {
		there[object.GetUID()] = true
	}
	if _, ok := kind.(*batchv1.JobList); ok {
		for uid, known := range w.jobs {
			known.Gone = known.Gone || !there[uid]
		}
	}
	// Those that are known first: they may have finished before the new ones were created.
	slices.SortStableFunc(objects, func(a, b client.Object) int {
		return cmp.Compare(w.novelty(a), w.novelty(b))
	})
	for _, object := range objects {
		switch object := object.(type) {
		case *batchv1.Job:
			w.sawJob(object, false)
		case *v1alpha1.QueueBinding:
			w.sawBinding(object, false)
		}
	}
}

// novelty is 1 for a Job that was not seen yet.
func (w *Witness) novelty(object client.Object) int {
	if _, ok := w.jobs[object.GetUID()]; ok {
		return 0
	}
	return 1
}

func (w *Witness) sawJob(object *batchv1.Job, deleted bool) {
	owner := metav1.GetControllerOf(object)
	if owner == nil || owner.Kind != "QueueBinding" {
		return
	}
	known, ok := w.jobs[object.UID]
	if !ok {
		known = &Job{
			UID: object.UID, Namespace: object.Namespace, Name: object.Name, Owner: owner.UID,
			Root:  object.Annotations[v1alpha1.AnnotationMessageID],
			Body:  object.Spec.Template.Annotations[v1alpha1.AnnotationBody],
			Added: time.Now(), Revision: revision(object),
		}
		known.Attempt, _ = strconv.Atoi(object.Annotations[v1alpha1.AnnotationAttempt]) // 0 is wrong, and found so
		w.jobs[object.UID] = known
	}
	for _, c := range object.Status.Conditions {
		if c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) {
			known.Finished, known.Failed = true, c.Type == batchv1.JobFailed
		}
	}
	_, known.Requeued = object.Annotations[v1alpha1.AnnotationRequeuedAt]
	known.Deleting = object.DeletionTimestamp != nil
	known.Gone = known.Gone || deleted
	if !ok {
		active := w.active(owner.UID)
		w.peaks[owner.UID] = max(w.peaks[owner.UID], active)
		for _, do := range w.onCreate {
			do(*known, w.binding(owner.UID), active)
		}
	}
}

func (w *Witness) sawBinding(object *v1alpha1.QueueBinding, deleted bool) {
	known, ok := w.bindings[object.UID]
	if !ok {
		known = &BindingSeen{UID: object.UID, Namespace: object.Namespace, Name: object.Name, Limits: map[int64]int{}, Observed: map[int64]time.Time{}}
		w.bindings[object.UID] = known
	}
	if observed := object.Status.ObservedGeneration; known.Observed[observed].IsZero() {
		known.Observed[observed] = time.Now()
	}
	if limit := object.Spec.Concurrency.MaxActiveJobs; limit != nil {
		known.Limits[object.Generation] = int(*limit)
	}
	if deleted {
		known.DeletedAt = revision(object)
	}
}

// revision is the API server's count of changes at an object's last one. It is the same count for all kinds.
func revision(object client.Object) int64 {
	n, _ := strconv.ParseInt(object.GetResourceVersion(), 10, 64) // always a number on etcd
	return n
}

func (w *Witness) active(owner types.UID) int {
	n := 0
	for _, job := range w.jobs {
		if job.Owner == owner && !job.Finished && !job.Gone {
			n++
		}
	}
	return n
}

// Jobs are all Jobs ever seen in a namespace, in the order of their creation.
func (w *Witness) Jobs(namespace string) []Job {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Job
	for _, job := range w.jobs {
		if job.Namespace == namespace {
			all = append(all, *job)
		}
	}
	slices.SortFunc(all, func(a, b Job) int { return int(a.Revision - b.Revision) })
	return all
}

// Peak is the most active Jobs that a binding ever had.
func (w *Witness) Peak(owner types.UID) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.peaks[owner]
}

// BindingOf is what was seen of a binding.
func (w *Witness) BindingOf(uid types.UID) BindingSeen {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.binding(uid)
}

func (w *Witness) binding(uid types.UID) BindingSeen {
	known, ok := w.bindings[uid]
	if !ok {
		return BindingSeen{}
	}
	copied := *known
	copied.Limits, copied.Observed = maps.Clone(known.Limits), maps.Clone(known.Observed)
	return copied
}

// Gaps is how often the watch could not be resumed, so that a Job which came and went meanwhile was not seen.
func (w *Witness) Gaps() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gaps
}
