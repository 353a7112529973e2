// Package recorder records the Jobs and bindings of a cluster as the API server's watch tells of them, without asking the
// operator. It forgets none that goes, and counts the Jobs that were active at once instead of sampling them.
package recorder

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
)

// Job is what was last seen of a Job, which may be gone.
type Job struct {
	UID             types.UID
	Namespace, Name string
	// Owner is the UID of what controls it, a binding or another operator's object, or empty.
	Owner types.UID
	// Root and Attempt are the lineage that it bears, Body the message's.
	Root    string
	Attempt int
	Body    string
	// Added is when it was seen first, Revision the API server's count of changes at its creation. FinishedBy is that count when
	// it was first seen finished, or 0.
	Added                time.Time
	Revision, FinishedBy int64
	// Finished is true once it is complete or failed. Failed Jobs are finished, too.
	Finished, Failed bool
	Requeued         bool
	// Deleting is true once it is being deleted, Gone once it is.
	Deleting, Gone bool
}

// Succeeded reports whether the Job is complete.
func (j Job) Succeeded() bool { return j.Finished && !j.Failed }

// Active reports whether the Job exists and has not finished.
func (j Job) Active() bool { return !j.Finished && !j.Gone }

// Recorder has all Jobs and bindings that it ever saw.
type Recorder struct {
	mu       sync.Mutex
	jobs     map[types.UID]*Job
	bindings map[types.UID]*Binding
	peaks    map[types.UID]int
	onCreate []func(created Job, owner Binding, active int)
	listed   bool
	gaps     int
	followed sync.WaitGroup
}

// New makes a recorder that has seen nothing.
func New() *Recorder {
	return &Recorder{jobs: map[types.UID]*Job{}, bindings: map[types.UID]*Binding{}, peaks: map[types.UID]int{}}
}

// Start makes a recorder of a cluster, which ends with ctx. It has seen what exists when Start returns.
func Start(ctx context.Context, cluster client.WithWatch) (*Recorder, error) {
	r := New()
	for _, each := range []*Follower{
		{Client: cluster, Kind: &batchv1.JobList{}, Observe: r.Observe, Replace: r.ReplaceJobs},
		{Client: cluster, Kind: &v1alpha1.QueueBindingList{}, Observe: r.Observe, Replace: r.replaceBindings},
	} {
		if err := each.List(ctx); err != nil {
			return nil, err
		}
		r.followed.Go(func() { each.Follow(ctx) })
	}
	return r, nil
}

// Wait waits for the recorder's end after that of its context.
func (r *Recorder) Wait() { r.followed.Wait() }

// OnCreate has a function called for each Job that is created, with its binding and the number of that one's active
// Jobs. It must not call the recorder.
func (r *Recorder) OnCreate(do func(created Job, owner Binding, active int)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onCreate = append(r.onCreate, do)
}

// Observe takes in one change of a Job or a binding.
func (r *Recorder) Observe(event watch.EventType, object client.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch object := object.(type) {
	case *batchv1.Job:
		r.sawJob(object, event == watch.Deleted)
	case *v1alpha1.QueueBinding:
		r.sawBinding(object, event == watch.Deleted)
	}
}

// ReplaceJobs takes in all Jobs that exist: at the beginning, and again when changes may have been missed.
func (r *Recorder) ReplaceJobs(objects []client.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listed {
		r.gaps++
	}
	r.listed = true
	there := map[types.UID]bool{}
	for _, object := range objects {
		there[object.GetUID()] = true
	}
	for uid, known := range r.jobs {
		known.Gone = known.Gone || !there[uid]
	}
	// Those that are known first: they may have finished before the new ones were created.
	objects = slices.SortedStableFunc(slices.Values(objects), func(a, b client.Object) int { return cmp.Compare(r.novelty(a), r.novelty(b)) })
	for _, object := range objects {
		r.sawJob(object.(*batchv1.Job), false)
	}
}

// novelty is 1 for a Job that was not seen yet.
func (r *Recorder) novelty(object client.Object) int {
	if _, ok := r.jobs[object.GetUID()]; ok {
		return 0
	}
	return 1
}

func (r *Recorder) sawJob(object *batchv1.Job, deleted bool) {
	known, ok := r.jobs[object.UID]
	if !ok {
		known = &Job{
			UID: object.UID, Namespace: object.Namespace, Name: object.Name, Owner: controller(object),
			Root:  object.Annotations[v1alpha1.AnnotationMessageID],
			Body:  object.Spec.Template.Annotations[v1alpha1.AnnotationBody],
			Added: time.Now(), Revision: revision(object),
		}
		known.Attempt, _ = strconv.Atoi(object.Annotations[v1alpha1.AnnotationAttempt]) // 0 is wrong, and found so
		r.jobs[object.UID] = known
	}
	if state := job.Observe(object).State; state != job.Active {
		if !known.Finished {
			known.FinishedBy = revision(object)
		}
		known.Finished, known.Failed = true, state == job.Failed
	}
	_, known.Requeued = object.Annotations[v1alpha1.AnnotationRequeuedAt]
	known.Deleting = object.DeletionTimestamp != nil
	known.Gone = known.Gone || deleted
	if !ok {
		active := r.active(known.Owner)
		r.peaks[known.Owner] = max(r.peaks[known.Owner], active)
		for _, do := range r.onCreate {
			do(*known, r.binding(known.Owner), active)
		}
	}
}

// controller is the UID of what controls an object, or empty.
func controller(object client.Object) types.UID {
	owner := metav1.GetControllerOf(object)
	if owner == nil {
		return ""
	}
	return owner.UID
}

// revision is the API server's count of changes at an object's last one. It is the same count for all kinds.
func revision(object client.Object) int64 {
	n, _ := strconv.ParseInt(object.GetResourceVersion(), 10, 64) // always a number on etcd
	return n
}

func (r *Recorder) active(owner types.UID) int {
	n := 0
	for _, each := range r.jobs {
		if each.Owner == owner && each.Active() {
			n++
		}
	}
	return n
}

// Jobs are all Jobs ever seen in a namespace, in the order of their creation.
func (r *Recorder) Jobs(namespace string) []Job {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Job
	for _, each := range r.jobs {
		if each.Namespace == namespace {
			all = append(all, *each)
		}
	}
	slices.SortFunc(all, func(a, b Job) int { return cmp.Compare(a.Revision, b.Revision) })
	return all
}

// Peak is the most Jobs of a binding, or of another operator's object, that were ever active at once.
func (r *Recorder) Peak(owner types.UID) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peaks[owner]
}

// Gaps is how often the watch of Jobs could not be resumed, so that one which came and went meanwhile was not seen.
func (r *Recorder) Gaps() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gaps
}
