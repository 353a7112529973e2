package requeue

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	subresources "github.com/queuebinding/queuebinding/api/subresources/v1alpha1"
	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

// counted is an API server, or a cache of one, with some Jobs, that counts what is asked of it.
type counted struct {
	client.Reader
	gets, metadata, whole atomic.Int32
}

func countedReader(t *testing.T, jobs ...batchv1.Job) *counted {
	t.Helper()
	c := &counted{}
	var objects []client.Object
	for i := range jobs {
		jobs[i].Namespace = "batch"
		objects = append(objects, &jobs[i])
	}
	c.Reader = fake.NewClientBuilder().WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, w client.WithWatch, key client.ObjectKey, into client.Object, o ...client.GetOption) error {
			c.gets.Add(1)
			return w.Get(ctx, key, into, o...)
		},
		List: func(ctx context.Context, w client.WithWatch, into client.ObjectList, o ...client.ListOption) error {
			if _, ok := into.(*metav1.PartialObjectMetadataList); ok {
				c.metadata.Add(1)
			} else {
				c.whole.Add(1)
			}
			return w.List(ctx, into, o...)
		},
	}).Build()
	return c
}

func labelled(j *batchv1.Job) { j.Labels[v1alpha1.LabelBinding] = "pings" }

func running(j *batchv1.Job) { j.Status.Conditions = nil }

func anothers(j *batchv1.Job) { j.OwnerReferences[0].UID = "other" }

// inVersion sets the version that a Job is known in.
func inVersion(version string) func(*batchv1.Job) {
	return func(j *batchv1.Job) { j.ResourceVersion = version }
}

// resolve resolves names and returns what was refused, by name.
func resolve(t *testing.T, r *Resolver, names []string) (accepted []string, refused map[string]string) {
	t.Helper()
	selection, err := r.Resolve(t.Context(), aBinding(), &subresources.RequeueSpec{JobNames: names})
	if err != nil {
		t.Fatal(err)
	}
	refused = map[string]string{}
	for _, refusal := range selection.Refused {
		refused[refusal.JobName] = refusal.Reason
	}
	return selection.Names, refused
}

// mine makes failedJob's Jobs those of aBinding.
func mine(j *batchv1.Job) { j.OwnerReferences[0].UID = "the-binding" }

// A thousand names that nobody has, or whose Jobs run, must cost the API server no thousand requests.
func TestAThousandNamesAreResolvedByOneListOfMetadata(t *testing.T) {
	var names []string
	var cached, live []batchv1.Job
	for i := range subresources.MaxJobNames - 3 {
		name := fmt.Sprintf("job-%d", i)
		names = append(names, name)
		if i%2 == 0 {
			cached = append(cached, failedJob(name, mine, labelled, running, inVersion("7")))
			live = append(live, failedJob(name, mine, labelled, running, inVersion("7")))
		}
	}
	names = append(names, "late", "strange", "failed")
	cached = append(cached, failedJob("late", mine, labelled, running, inVersion("7")), failedJob("failed", mine, labelled))
	live = append(live, failedJob("late", mine, labelled, inVersion("8")), failedJob("strange", labelled, anothers), failedJob("failed", mine, labelled))
	cache, server := countedReader(t, cached...), countedReader(t, live...)

	accepted, refused := resolve(t, &Resolver{Jobs: cache, Live: server}, names)
	if want := []string{"failed", "late"}; !slices.Equal(accepted, want) {
		t.Errorf("accepted %q, want %q", accepted, want)
	}
	for name, want := range map[string]string{"job-0": v1alpha1.RefusedNotFailed, "job-1": v1alpha1.RefusedNotFound, "strange": v1alpha1.RefusedNotOwned} {
		if refused[name] != want {
			t.Errorf("%s was refused as %q, want %q", name, refused[name], want)
		}
	}
	if gets, lists, whole := server.gets.Load(), server.metadata.Load(), server.whole.Load(); gets > parallel || lists != 1 || whole != 0 {
		t.Errorf("the API server was asked for %d Jobs, %d lists of metadata and %d of whole Jobs; want at most %d, 1 and 0", gets, lists, whole, parallel)
	}
}

// The plugin has no cache: it reads a few names with the right to get, and takes the right to list for many only.
func TestWithoutACacheAFewNamesAreReadAndManyAreListed(t *testing.T) {
	var names []string
	var jobs []batchv1.Job
	for i := range parallel + 1 {
		names = append(names, fmt.Sprintf("job-%d", i))
		jobs = append(jobs, failedJob(names[i], mine, labelled, running))
	}
	server := countedReader(t, jobs...)
	if accepted, refused := resolve(t, &Resolver{Jobs: server}, names[:parallel]); len(accepted) != 0 || len(refused) != parallel {
		t.Errorf("%q were accepted, which run", accepted)
	}
	if gets, lists := server.gets.Load(), server.metadata.Load(); gets != parallel || lists != 0 {
		t.Errorf("a few names took %d gets and %d lists, want %d and 0", gets, lists, parallel)
	}
	server = countedReader(t, jobs...)
	// The leader looks whether they have failed.
	if accepted, refused := resolve(t, &Resolver{Jobs: server}, append(names, "nosuch")); len(accepted) != len(names) || refused["nosuch"] != v1alpha1.RefusedNotFound {
		t.Errorf("accepted %q, refused %v", accepted, refused)
	}
	if gets, lists := server.gets.Load(), server.metadata.Load(); gets != 0 || lists != 1 {
		t.Errorf("many names took %d gets and %d lists, want 0 and 1", gets, lists)
	}
}
