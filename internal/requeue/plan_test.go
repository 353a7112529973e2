package requeue

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
)

var binding = &v1alpha1.QueueBinding{ObjectMeta: metav1.ObjectMeta{Name: "pings", UID: "uid"}}

// failedJob is a failed Job of the binding, changed by change.
func failedJob(name string, change ...func(*batchv1.Job)) batchv1.Job {
	j := batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Name: name, Annotations: map[string]string{}, Labels: map[string]string{"team": "net"},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "QueueBinding", Name: binding.Name, UID: binding.UID, Controller: new(true),
		}},
	}}
	j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: "BackoffLimitExceeded"}}
	for _, c := range change {
		c(&j)
	}
	return j
}

func TestSelect(t *testing.T) {
	at := func(seconds int64) func(*batchv1.Job) {
		return func(j *batchv1.Job) { j.Status.Conditions[0].LastTransitionTime = metav1.Unix(seconds, 0) }
	}
	jobs := []batchv1.Job{
		failedJob("b", at(2)),
		failedJob("a", at(2)),
		failedJob("first", at(1)),
		failedJob("late", at(3), func(j *batchv1.Job) { j.Status.Conditions[0].Reason = "DeadlineExceeded" }),
		failedJob("labelled", at(4), func(j *batchv1.Job) { j.Labels["team"] = "other" }),
		failedJob("sent", func(j *batchv1.Job) { j.Annotations[v1alpha1.AnnotationRequeuedAt] = "2026-01-01T00:00:00Z" }),
		failedJob("going", func(j *batchv1.Job) { j.DeletionTimestamp = new(metav1.NewTime(time.Unix(1, 0))) }),
		failedJob("running", func(j *batchv1.Job) { j.Status.Conditions = nil }),
		failedJob("done", func(j *batchv1.Job) { j.Status.Conditions[0].Type = batchv1.JobComplete }),
		failedJob("another's", func(j *batchv1.Job) { j.OwnerReferences[0].UID = "other" }),
	}
	for name, tc := range map[string]struct {
		selector string
		reasons  []string
		want     []string
	}{
		"all, oldest first": {"", nil, []string{"first", "a", "b", "late", "labelled"}},
		"by reason":         {"", []string{"DeadlineExceeded", "Other"}, []string{"late"}},
		"by label":          {"team=other", nil, []string{"labelled"}},
		"by both":           {"team=other", []string{"DeadlineExceeded"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			selector, err := labels.Parse(tc.selector)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, record := range Select(binding, jobs, selector, tc.reasons) {
				got = append(got, record.Name)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestNote(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		wish Wish
		want string
	}{
		"nothing to nothing":         {"", Wish{}, ""},
		"names":                      {"", Wish{Names: []string{"b", "a"}}, "a,b"},
		"names to names":             {"c,a", Wish{Names: []string{"b", "a"}}, "a,b,c"},
		"all":                        {"a", Wish{All: true, Names: []string{"a", "b"}}, "all,a"},
		"all again":                  {"all@2026-01-02T03:04:05Z", Wish{All: true}, "all"},
		"names to all":               {"all@2026-01-02T03:04:05Z", Wish{Names: []string{"a"}}, "all@2026-01-02T03:04:05Z,a"},
		"what nobody can read stays": {"Bad_name,a", Wish{Names: []string{"b"}}, "Bad_name,a,b"},
	} {
		t.Run(name, func(t *testing.T) {
			got, accepted, refused := Note(tc.text, tc.wish)
			if got != tc.want || !slices.Equal(accepted, tc.wish.Names) || refused != nil {
				t.Errorf("got %q, accepted %q, refused %v; want %q", got, accepted, refused, tc.want)
			}
		})
	}
}

// However many ask for however much, the annotation never holds more names than the leader takes, and who is accepted is
// in it.
func TestNoteLeavesRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := ""
		for range rapid.IntRange(1, 4).Draw(t, "requests") {
			from, count := rapid.IntRange(0, 900).Draw(t, "from"), rapid.IntRange(0, MaxNames).Draw(t, "count")
			var names []string
			for i := range count {
				names = append(names, fmt.Sprintf("job-%d", from+i))
			}
			merged, accepted, refused := Note(text, Wish{Names: names})
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
