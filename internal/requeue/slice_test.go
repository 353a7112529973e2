package requeue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// failures are n failed Jobs, created one second after the other.
func failures(n int) []client.Object {
	all := make([]client.Object, n)
	for i := range all {
		created := func(j *batchv1.Job) { j.CreationTimestamp = metav1.NewTime(noon.Add(time.Duration(i-n) * time.Second)) }
		// Their names are in another order.
		all[i] = aFailed(fmt.Sprintf("%s-%03d", string(rune('a'+i*7%26)), i), created)
	}
	return all
}

// still is a clock that stands.
func still(w *world) *clocktesting.FakeClock {
	c := clocktesting.NewFakeClock(noon.Add(time.Hour))
	w.Clock = c
	return c
}

func TestASliceHasAHundredJobsInBatchesOfTen(t *testing.T) {
	for name, intent := range map[string]string{"all": "all", "names": Named(namesOf(failures(250))...).String()} {
		t.Run(name, func(t *testing.T) {
			to := &sink{}
			w := newWorld(t, newClient(t, append(failures(250), asking(aBinding(), intent))...), to)
			still(w)
			for i, want := range []int{100, 100, 50} {
				outcome, err := w.next(true)
				if err != nil || len(outcome.Requeued) != want {
					t.Fatalf("slice %d sent %d and %v, want %d", i, len(outcome.Requeued), err, want)
				}
				said := w.binding().Status.LastRequeue
				if goes := i < 2; said.InProgress != goes || said.RequeuedJobs != int32(min(100*(i+1), 250)) {
					t.Errorf("after slice %d the status says %+v", i, said)
				}
			}
			if len(to.batches) != 25 || slices.ContainsFunc(to.batches, func(b []string) bool { return len(b) != queue.MaxBatch }) {
				t.Errorf("sent in %v", to.batches)
			}
			if w.progress.Goes() || w.binding().Annotations[v1alpha1.AnnotationRequeue] != "" {
				t.Errorf("it goes on: %v", w.binding().Annotations)
			}
		})
	}
}

func namesOf(objects []client.Object) []string {
	var names []string
	for _, o := range objects {
		names = append(names, o.GetName())
	}
	return names
}

func TestASliceEndsWithItsTime(t *testing.T) {
	to := &sink{}
	w := newWorld(t, newClient(t, append(failures(50), asking(aBinding(), "all"))...), to)
	c := still(w)
	to.sending = func() { c.Step(sliceTime) } // a slow queue
	if outcome, err := w.next(true); err != nil || len(outcome.Requeued) != queue.MaxBatch {
		t.Errorf("sent %v and %v, want one batch", outcome.Requeued, err)
	}
}

func TestWhatIsInHandIsBounded(t *testing.T) {
	const mib = 1 << 20
	for name, tc := range map[string]struct {
		bytes []int64
		want  int
	}{
		"small":     {bytes: make([]int64, 25), want: 10},
		"few":       {bytes: make([]int64, 3), want: 3},
		"mebibytes": {bytes: []int64{mib, mib, mib}, want: 2},
		"huge":      {bytes: []int64{3 * mib, 1}, want: 1},
	} {
		items := make([]Item, len(tc.bytes))
		for i := range items {
			items[i].Bytes = tc.bytes[i]
		}
		if chunk, rest := inHand(items); len(chunk) != tc.want || len(rest) != len(items)-tc.want {
			t.Errorf("%s: %d in hand and %d left, want %d", name, len(chunk), len(rest), tc.want)
		}
	}
}

// P5: what the queue refuses is refused, what it fails at is tried again, and neither keeps back the others.
func TestAPartOfABatchFails(t *testing.T) {
	jobs := failures(25)
	names := namesOf(jobs)
	to := &sink{fails: map[string]error{
		names[1]: queue.Errorf(queue.InvalidMessage, "a limit of the queue"), names[2]: queue.Errorf(queue.Throttled, "slower"),
	}}
	w := newWorld(t, newClient(t, append(jobs, asking(aBinding(), "all"))...), to)
	r, err := w.finish()
	if err == nil || len(r.Requeued) != 23 || len(r.Refused) != 1 || r.Refused[0].Reason != v1alpha1.RefusedNotSendable || r.left == "" {
		t.Fatalf("got %+v and %v", r, err)
	}
	to.fails = nil
	if r, err = w.finish(); err != nil || !slices.Equal(r.Requeued, names[2:3]) || len(r.Refused) != 0 {
		t.Errorf("the next try: %+v and %v", r, err)
	}
	if r.result.RequeuedJobs != 24 || r.result.RefusedJobs != 1 || r.result.InProgress || r.left != "" {
		t.Errorf("the status says %+v", r.result)
	}
}

// A group's messages keep their order, whatever fails.
func TestAFIFOGroupIsSentInItsOrder(t *testing.T) {
	binding := aBinding()
	binding.Spec.Queue.URL += ".fifo"
	jobs := failures(24)
	group := map[string]string{}
	want := map[string][]string{}
	for i, each := range jobs {
		name := fmt.Sprint("group-", i%3)
		each.GetAnnotations()[v1alpha1.AnnotationGroupID] = name
		group[each.GetName()] = name
		want[name] = append(want[name], each.GetName())
	}
	to := &sink{fails: map[string]error{jobs[4].GetName(): queue.Errorf(queue.Throttled, "slower")}}
	w := newWorld(t, newClient(t, append(jobs, asking(binding, "all"))...), to)
	if r, err := w.finish(); err == nil || r.left == "" {
		t.Fatalf("got %+v and no error", r)
	}
	to.fails = nil
	if r, err := w.finish(); err != nil || r.result.RequeuedJobs != 24 {
		t.Fatalf("the next try: %+v and %v", r, err)
	}
	got := map[string][]string{}
	for _, message := range to.messages {
		got[message.GroupID] = append(got[message.GroupID], message.Body)
		if message.DeduplicationID == "" || group[message.Body] != message.GroupID {
			t.Errorf("sent %+v", message)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("sent %v, want %v", got, want)
	}
	for _, batch := range to.batches {
		seen := map[string]bool{}
		for _, body := range batch {
			if seen[group[body]] {
				t.Errorf("batch %v has two of a group", batch)
			}
			seen[group[body]] = true
		}
	}
}

// `all` sends something, or says why not.
func TestAllIsNeverSilent(t *testing.T) {
	deleting := func(j *batchv1.Job) {
		j.DeletionTimestamp, j.Finalizers = new(metav1.NewTime(noon)), []string{"batch.kubernetes.io/job-tracking"}
	}
	untied := func(j *batchv1.Job) {
		sentBefore(j)
		j.Annotations[v1alpha1.AnnotationUntied] = "true"
	}
	for name, tc := range map[string]struct {
		text     string
		jobs     []client.Object
		wantSent int
		wantSaid string
	}{
		"nothing failed":                       {wantSaid: "the messages of 0 were sent again before, and 0 are being deleted"},
		"all were sent before":                 {jobs: []client.Object{aFailed("a", sentBefore), aFailed("b", untied)}, wantSaid: "of 2 were sent again before"},
		"all are being deleted":                {jobs: []client.Object{aFailed("a", deleting)}, wantSaid: "and 1 are being deleted"},
		"asked for by a time of long ago":      {text: "all@2000-01-01T00:00:00Z", jobs: []client.Object{aFailed("a")}, wantSaid: "no failed Job is left"},
		"created in the second of the failure": {jobs: []client.Object{aFailed("a", secondAttempt(noon))}, wantSent: 1},
		"one of them was":                      {jobs: []client.Object{aFailed("a", secondAttempt(noon)), aFailed("b"), aFailed("c", secondAttempt(noon.Add(-time.Second)))}, wantSent: 3},
		"created after it, by another clock":   {jobs: []client.Object{aFailed("a", secondAttempt(noon.Add(time.Minute)))}, wantSent: 1},
	} {
		t.Run(name, func(t *testing.T) {
			to := &sink{}
			if tc.text == "" {
				tc.text = "all"
			}
			r, err := newWorld(t, newClient(t, append(tc.jobs, asking(aBinding(), tc.text))...), to).finish()
			if err != nil || len(to.sent) != tc.wantSent || int(r.result.RequeuedJobs) != tc.wantSent || r.left != "" {
				t.Fatalf("sent %v, %+v and %v", to.sent, r, err)
			}
			said := ""
			for _, refusal := range r.result.Refused {
				said += refusal.JobName + ": " + refusal.Reason + ": " + refusal.Message
			}
			if tc.wantSaid == "" && said != "" || !strings.Contains(said, tc.wantSaid) || tc.wantSaid != "" && !strings.HasPrefix(said, "all: NothingToRequeue: ") {
				t.Errorf("said %q, want %q", said, tc.wantSaid)
			}
		})
	}
}

// Times have whole seconds: a successor that comes and fails within the last one of them is not sent by the requeue that made it.
func TestAllDoesNotChaseItsSuccessors(t *testing.T) {
	to := &sink{}
	c := newClient(t, aFailed("a"), aFailed("b", secondAttempt(noon)), asking(aBinding(), "all"))
	w := newWorld(t, c, to)
	to.sending = func() {
		for _, name := range []string{"after-a", "after-b"} {
			successor := aFailed(name, secondAttempt(noon))
			if err := c.Create(t.Context(), successor); err != nil && len(to.batches) == 0 {
				t.Error(err)
			}
		}
	}
	r, err := w.finish()
	slices.Sort(to.sent)
	if err != nil || !slices.Equal(to.sent, []string{"a", "b"}) || r.result.RequeuedJobs != 2 {
		t.Errorf("sent %v, %+v and %v", to.sent, r.result, err)
	}
}

// A name that the binding has no room for is told of.
func TestAllTellsWhatItHasNoRoomFor(t *testing.T) {
	var names []string
	for i := range MaxNames {
		names = append(names, fmt.Sprintf("job-%04d", i))
	}
	second := aFailed("second", secondAttempt(noon))
	records := func(yield func(*job.Record) bool) {
		record := job.Observe(second)
		yield(&record)
	}
	settled, tooMany := Named(names...).Merge(Intent{All: true}).settle(records, noon.Add(time.Hour))
	if !slices.Equal(tooMany, []string{"second"}) || len(settled.Names) != MaxNames || !settled.Before.Equal(noon) {
		t.Errorf("settled %d names by %s, no room for %v", len(settled.Names), settled.Before, tooMany)
	}
}

// What was seen may be behind what a user saw who then asked for all.
func TestAllTakesWhatWasNotSeenYet(t *testing.T) {
	to := &sink{}
	w := newWorld(t, newClient(t, aFailed("a"), aFailed("late", failedAt(noon.Add(time.Second))), asking(aBinding(), "all")), to)
	w.asIf = func(r *job.Record) {
		if r.Name == "late" {
			r.State, r.Finished, r.ResourceVersion = job.Active, time.Time{}, "1"
		}
	}
	r, err := w.finish()
	slices.Sort(to.sent)
	if err != nil || !slices.Equal(to.sent, []string{"a", "late"}) || r.result.RequeuedJobs != 2 {
		t.Errorf("sent %v, %+v and %v", to.sent, r.result, err)
	}
}

// What was seen may still show as not sent what was: it is sent once, and the end is found.
func TestAllSendsOnceWhatIsNotSeenAsSent(t *testing.T) {
	to := &sink{}
	w := newWorld(t, newClient(t, append(failures(150), asking(aBinding(), "all"))...), to)
	w.asIf = func(r *job.Record) { r.Sent, r.Requeued, r.SentAt = false, false, time.Time{} }
	r, err := w.finish()
	if err != nil || len(to.sent) != 150 || r.result.RequeuedJobs != 150 || r.slices > 3 {
		t.Errorf("sent %d in %d slices, %+v and %v", len(to.sent), r.slices, r.result, err)
	}
}

// A page's token is good for some minutes.
func TestASurveyBeginsAnewWhenItsTokenExpired(t *testing.T) {
	asked := 0
	c := interceptor.NewClient(newClient(t, aFailed("a", sentBefore), aFailed("b")), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			asked++
			token := client.ListOptions{}
			token.ApplyOptions(options)
			if asked == 2 {
				if token.Continue != "more" {
					t.Errorf("asked to continue at %q", token.Continue)
				}
				return expired()
			}
			err := c.List(ctx, list, options[:2]...)
			if asked == 1 {
				list.SetContinue("more")
			}
			return err
		},
	})
	e := &Executor{Reader: c, Clock: clocktesting.NewFakeClock(noon)}
	s := &Survey{Until: noon}
	unseen := func(string) (job.Record, bool) { return job.Record{}, false }
	if finished, err := e.Survey(t.Context(), s, aBinding(), unseen, noon); finished || err != nil {
		t.Fatalf("the first page: %t and %v", finished, err)
	}
	finished, err := e.Survey(t.Context(), s, aBinding(), unseen, noon)
	if !finished || err != nil || !slices.Equal(s.Sent, []string{"a"}) || len(s.Late) != 2 || asked != 3 {
		t.Errorf("got %t, %v, %+v after %d lists", finished, err, s, asked)
	}
}

// A Job that is not counted yet stays, unless its mark cannot be an operator's.
func TestWhatTheStatusAwaits(t *testing.T) {
	told := &v1alpha1.RequeueResult{Time: metav1.NewTime(noon)}
	for name, tc := range map[string]struct {
		sent time.Time
		last *v1alpha1.RequeueResult
		want bool
	}{
		"not sent":                 {last: told},
		"counted":                  {sent: noon, last: told},
		"not counted":              {sent: noon.Add(time.Second), last: told, want: true},
		"the first one":            {sent: noon, want: true},
		"by a clock that is ahead": {sent: noon.Add(clockSkew), last: told, want: true},
		"somebody else's":          {sent: noon.Add(clockSkew + time.Second), last: told},
		"a clock that was ahead":   {sent: noon.Add(time.Hour + time.Second), last: &v1alpha1.RequeueResult{Time: metav1.NewTime(noon.Add(time.Hour))}, want: true},
	} {
		if got := AwaitsStatus(&job.Record{SentAt: tc.sent}, tc.last, noon); got != tc.want {
			t.Errorf("%s: got %t, want %t", name, got, tc.want)
		}
	}
}

// errCut is what an operator sees that is cut off.
var errCut = errors.New("the connection broke")

// ending is how an operator is cut off.
type ending struct {
	// write is the write to the API server at which it is, from 1, after whether that is done.
	write int
	after bool
	// once has all writes after that one done.
	once bool
	// survives has the same operator go on, else there is another one.
	survives bool
}

// cutAt breaks the way to the API server, and counts the writes.
func cutAt(c client.WithWatch, at ending) (cut client.Client, writes *int) {
	writes = new(int)
	broken := func(do func() error) error {
		*writes++
		switch {
		case *writes < at.write, *writes > at.write && at.once:
			return do()
		case *writes == at.write && at.after:
			return errors.Join(do(), errCut)
		}
		return errCut
	}
	return interceptor.NewClient(c, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
			return broken(func() error { return c.Patch(ctx, object, patch, options...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
			return broken(func() error { return c.SubResource(sub).Patch(ctx, object, patch, options...) })
		},
	}), writes
}

// slow has each slice take a batch and half a second, by a clock that is behind the one of the operator before.
func (w *world) slow(leader int) *world {
	c := clocktesting.NewFakeClock(noon.Add(time.Hour - time.Duration(leader)*time.Second))
	w.Clock = c
	w.to.sending = func() { c.Step(sliceTime) }
	return w
}

const crashJobs = 13

// Whenever the operator ends, the one after it does the rest, and the status counts each Job once.
func TestARequeueAddsUpOverCrashes(t *testing.T) {
	for name, intent := range map[string]string{"all": "all", "names": Named(namesOf(failures(crashJobs))...).String()} {
		t.Run(name, func(t *testing.T) {
			counting, writes := cutAt(newClient(t, append(failures(crashJobs), asking(aBinding(), intent))...), ending{write: 1 << 30})
			if _, err := newWorld(t, counting, &sink{}).slow(1).finish(); err != nil {
				t.Fatal(err)
			}
			for write := 1; write <= *writes; write++ {
				for _, after := range []bool{false, true} {
					crashOnce(t, intent, ending{write: write, after: after})
					crashOnce(t, intent, ending{write: write, after: after, once: true})
					crashOnce(t, intent, ending{write: write, after: after, once: true, survives: true})
				}
			}
		})
	}
}

func crashOnce(t *testing.T, intent string, at ending) {
	t.Helper()
	to := &sink{}
	c := newClient(t, append(failures(crashJobs), asking(aBinding(), intent))...)
	cut, _ := cutAt(c, at)
	w := newWorld(t, cut, to).slow(1)
	if _, err := w.finish(); err == nil {
		t.Fatalf("%+v: nothing was cut", at)
	}
	if !at.survives {
		w = newWorld(t, c, to).slow(2)
	}
	if _, err := w.finish(); err != nil {
		t.Fatalf("%+v: then %v", at, err)
	}
	sent := slices.Clone(to.sent)
	slices.Sort(sent)
	if sent = slices.Compact(sent); len(sent) != crashJobs {
		t.Errorf("%+v: sent %v", at, sent)
	}
	b := w.binding()
	if said := b.Status.LastRequeue; said.RequeuedJobs != crashJobs || said.RefusedJobs != 0 || said.InProgress || b.Annotations[v1alpha1.AnnotationRequeue] != "" {
		t.Errorf("%+v: the status says %+v, and left is %q", at, said, b.Annotations[v1alpha1.AnnotationRequeue])
	}
}

// expired is the API server's answer to a token that is too old.
func expired() error { return apierrors.NewResourceExpired("the token is too old") }
