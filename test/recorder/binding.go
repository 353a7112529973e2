package recorder

import (
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// Binding is what was last seen of a binding, which may be gone.
type Binding struct {
	UID             types.UID
	Namespace, Name string
	// Limits are its maxActiveJobs by generation. Observed is since when the operator said that it works by a generation.
	Limits   map[int64]int
	Observed map[int64]time.Time
	// DeletedAt counts the API server's changes at its deletion; 0 while it exists.
	DeletedAt int64
}

// Binding is what was seen of a binding.
func (r *Recorder) Binding(uid types.UID) Binding {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.binding(uid)
}

func (r *Recorder) binding(uid types.UID) Binding {
	known, ok := r.bindings[uid]
	if !ok {
		return Binding{}
	}
	copied := *known
	copied.Limits, copied.Observed = maps.Clone(known.Limits), maps.Clone(known.Observed)
	return copied
}

func (r *Recorder) replaceBindings(objects []client.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, object := range objects {
		r.sawBinding(object.(*v1alpha1.QueueBinding), false)
	}
}

func (r *Recorder) sawBinding(object *v1alpha1.QueueBinding, deleted bool) {
	known, ok := r.bindings[object.UID]
	if !ok {
		known = &Binding{UID: object.UID, Namespace: object.Namespace, Name: object.Name, Limits: map[int64]int{}, Observed: map[int64]time.Time{}}
		r.bindings[object.UID] = known
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
