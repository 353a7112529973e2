package requeue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

func TestMerge(t *testing.T) {
	for name, tc := range map[string]struct {
		text      string
		selection Selection
		want      string
	}{
		"nothing to nothing":         {"", Selection{}, ""},
		"names":                      {"", Selection{Names: []string{"b", "a"}}, "a,b"},
		"names to names":             {"c,a", Selection{Names: []string{"b", "a"}}, "a,b,c"},
		"all":                        {"a", Selection{All: true, Names: []string{"a", "b"}}, "all,a"},
		"all again":                  {"all@2026-01-02T03:04:05Z", Selection{All: true}, "all"},
		"names to all":               {"all@2026-01-02T03:04:05Z", Selection{Names: []string{"a"}}, "all@2026-01-02T03:04:05Z,a"},
		"what nobody can read stays": {"Bad_name,a", Selection{Names: []string{"b"}}, "Bad_name,a,b"},
	} {
		t.Run(name, func(t *testing.T) {
			got, merged := merge(tc.text, tc.selection)
			if got != tc.want || !slices.Equal(merged.Names, tc.selection.Names) || merged.Refused != nil {
				t.Errorf("got %q, selection %+v; want %q", got, merged, tc.want)
			}
		})
	}
}

// However many ask for however much, the annotation never holds more names than the leader takes, and who is accepted is
// in it.
func TestMergeLeavesRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := ""
		for range rapid.IntRange(1, 4).Draw(t, "requests") {
			from, count := rapid.IntRange(0, 900).Draw(t, "from"), rapid.IntRange(0, MaxNames).Draw(t, "count")
			var names []string
			for i := range count {
				names = append(names, fmt.Sprintf("job-%d", from+i))
			}
			merged, selection := merge(text, Selection{Names: names})
			accepted, refused := selection.Names, selection.Refused
			intent, _ := Parse(merged)
			if len(intent.Names) > MaxNames {
				t.Fatalf("%d names", len(intent.Names))
			}
			if len(accepted)+len(refused) != len(names) {
				t.Fatalf("%d accepted and %d refused of %d", len(accepted), len(refused), len(names))
			}
			for _, name := range append(accepted, strings.Split(text, ",")...) {
				if _, ok := intent.Names[name]; !ok && name != "" {
					t.Fatalf("%s is not asked for", name)
				}
			}
			text = merged
		}
	})
}

func storeWith(t *testing.T, binding *v1alpha1.QueueBinding) (*IntentStore, client.Client) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(binding).Build()
	return &IntentStore{Reader: c, Writer: c}, c
}

func textOf(ctx context.Context, t *testing.T, c client.Client) string {
	t.Helper()
	current := &v1alpha1.QueueBinding{}
	if err := c.Get(ctx, client.ObjectKeyFromObject(aBinding()), current); err != nil {
		t.Fatal(err)
	}
	return current.Annotations[v1alpha1.AnnotationRequeue]
}

// Whoever adds while others add and the leader removes is heard.
func TestIntentStoreKeepsConcurrentWrites(t *testing.T) {
	binding := aBinding()
	binding.Annotations = map[string]string{v1alpha1.AnnotationRequeue: "done"}
	store, c := storeWith(t, binding)
	var writers sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		writers.Go(func() {
			if added, err := store.Add(t.Context(), binding, Selection{Names: []string{name}}, false); err != nil || len(added.Names) != 1 {
				t.Errorf("added %+v, %v", added, err)
			}
		})
	}
	writers.Go(func() {
		if err := store.Remove(t.Context(), binding, Named("done")); err != nil {
			t.Error(err)
		}
	})
	writers.Wait()
	if text := textOf(t.Context(), t, c); text != "a,b,c" {
		t.Errorf("the annotation is %q", text)
	}
}

func TestIntentStoreWritesNothingInADryRun(t *testing.T) {
	store, c := storeWith(t, aBinding())
	added, err := store.Add(t.Context(), aBinding(), Selection{Names: []string{"a"}}, true)
	if err != nil || !slices.Equal(added.Names, []string{"a"}) {
		t.Errorf("added %+v, %v", added, err)
	}
	if text := textOf(t.Context(), t, c); text != "" {
		t.Errorf("the annotation is %q", text)
	}
}

func TestIntentStoreLeavesOtherBindingsAlone(t *testing.T) {
	store, c := storeWith(t, aBinding())
	namesake := aBinding()
	namesake.UID = "deleted-since"
	if _, err := store.Add(t.Context(), namesake, Selection{All: true}, false); !apierrors.IsNotFound(err) {
		t.Errorf("got %v, want NotFound", err)
	}
	if err := store.Remove(t.Context(), namesake, Named("a")); err != nil {
		t.Error(err)
	}
	if text := textOf(t.Context(), t, c); text != "" {
		t.Errorf("the annotation is %q", text)
	}
}

// The leader settles the time of `all` on what it has read: if somebody asked for more since, it must read that first.
func TestReplaceNoticesChanges(t *testing.T) {
	store, c := storeWith(t, aBinding())
	read, err := store.Binding(t.Context(), client.ObjectKeyFromObject(aBinding()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Add(t.Context(), read, Selection{Names: []string{"a"}}, false); err != nil {
		t.Fatal(err)
	}
	if err := store.Replace(t.Context(), read, Intent{All: true, Before: noon}); !apierrors.IsConflict(err) {
		t.Errorf("got %v, want a conflict", err)
	}
	if text := textOf(t.Context(), t, c); text != "a" {
		t.Errorf("the annotation is %q", text)
	}
}
