package requeue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/internal/job"
	"github.com/queuebinding/queuebinding/internal/queue"
)

// sink takes what is sent, but for bodies that it is told to fail at.
type sink struct {
	queue.Queue
	failAt string
	// fails are the errors of bodies, sending is called with each batch first.
	fails   map[string]error
	sending func()
	// redrive is the answer to Redrive.
	redrive error

	mu       sync.Mutex
	sent     []string
	messages []queue.Outgoing
	batches  [][]string
	redrives int
}

func (s *sink) Redrive(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.redrives++
	return s.redrive
}

func (s *sink) SendBatch(_ context.Context, messages []queue.Outgoing) []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sending != nil {
		s.sending()
	}
	batches, errs := queue.Batches(messages)
	for _, batch := range batches {
		var bodies []string
		for _, i := range batch {
			body := messages[i].Body
			bodies = append(bodies, body)
			switch err := s.fails[body]; {
			case err != nil:
				errs[i] = err
			case body == s.failAt:
				errs[i] = queue.Errorf(queue.Unreachable, "the connection broke")
			default:
				s.sent, s.messages = append(s.sent, body), append(s.messages, messages[i])
			}
		}
		s.batches = append(s.batches, bodies)
	}
	return errs
}

// testKeys sign lineages.
var testKeys = job.Keys{Current: []byte("the key that only operators have")}

// noon is when Jobs fail, unless a test says otherwise.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func aBinding() *v1alpha1.QueueBinding {
	return &v1alpha1.QueueBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: "pings", UID: "the-binding"},
		Spec:       v1alpha1.QueueBindingSpec{Queue: v1alpha1.Queue{URL: "https://sqs.eu-west-1.amazonaws.com/123456789012/pings"}},
	}
}

// aFailed is a Job that failed at noon, for a message that is the Job's name.
func aFailed(name string, change ...func(*batchv1.Job)) *batchv1.Job {
	made, err := job.Render(context.Background(), aBinding(), &job.Variables{}, &queue.Message{ID: name, Body: name}, job.Lineage{Root: name, Attempt: 1}, job.Trace{})
	if err != nil {
		panic(err)
	}
	made.Name, made.UID, made.CreationTimestamp = name, types.UID("uid-of-"+name), metav1.NewTime(noon.Add(-time.Minute))
	made.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon)}}
	for _, c := range change {
		c(made)
	}
	return made
}

func sentBefore(j *batchv1.Job) {
	j.Annotations[v1alpha1.AnnotationRequeuedAt] = noon.Format(time.RFC3339)
}

func failedAt(at time.Time) func(*batchv1.Job) {
	return func(j *batchv1.Job) { j.Status.Conditions[0].LastTransitionTime = metav1.NewTime(at) }
}

func secondAttempt(created time.Time) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		j.Annotations[v1alpha1.AnnotationAttempt], j.CreationTimestamp = "2", metav1.NewTime(created)
	}
}

func keepsMessage(j *batchv1.Job) { j.Annotations[v1alpha1.AnnotationReceiptHandle] = "handle" }

func execute(t *testing.T, to *sink, intent Intent, objects ...client.Object) (run, error) {
	t.Helper()
	return executeFor(t, aBinding(), to, intent, objects...)
}

// executeFor executes an intent to its end, or to its first error.
func executeFor(t *testing.T, binding *v1alpha1.QueueBinding, to *sink, intent Intent, objects ...client.Object) (run, error) {
	t.Helper()
	w := newWorld(t, newClient(t, append(objects, asking(binding, intent.String()))...), to)
	r, err := w.finish()
	slices.Sort(to.sent)
	return r, err
}

// asking is a binding that is asked for a requeue, after another one that was done at noon.
func asking(binding *v1alpha1.QueueBinding, text string) *v1alpha1.QueueBinding {
	binding.Annotations = map[string]string{v1alpha1.AnnotationRequeue: text}
	binding.Status.LastRequeue = &v1alpha1.RequeueResult{Time: metav1.NewTime(noon), RequeuedJobs: 1}
	return binding
}

func newClient(t *testing.T, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(batchv1.AddToScheme(scheme), corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&v1alpha1.QueueBinding{}).Build()
}

// world is an operator at work on the binding aBinding.
type world struct {
	*Executor
	t        *testing.T
	ctx      context.Context
	to       *sink
	progress *Progress
	// asIf, where it is set, changes what was seen of Jobs.
	asIf func(*job.Record)
}

// run is what came of an intent.
type run struct {
	Outcome
	result v1alpha1.RequeueResult
	// left is what the binding is still asked for.
	left   string
	slices int
}

func newWorld(t *testing.T, c client.Client, to *sink) *world {
	t.Helper()
	return &world{
		Executor: &Executor{Reader: c, Client: c, Clock: clock.RealClock{}, Keys: func() job.Keys { return testKeys }},
		t:        t, ctx: t.Context(), to: to,
	}
}

func (w *world) binding() *v1alpha1.QueueBinding {
	w.t.Helper()
	binding := &v1alpha1.QueueBinding{}
	if err := w.Reader.Get(context.Background(), client.ObjectKeyFromObject(aBinding()), binding); err != nil {
		w.t.Fatal(err)
	}
	return binding
}

// View shows the Jobs as a cache that is up to date would.
func (w *world) View(at func(*job.History)) {
	list := &batchv1.JobList{}
	if err := w.Reader.List(context.Background(), list); err != nil {
		w.t.Error(err)
	}
	jobs := job.NewHistory()
	for i := range list.Items {
		if job.Owner(&list.Items[i]) != aBinding().UID {
			continue
		}
		record := job.Observe(&list.Items[i])
		if w.asIf != nil {
			w.asIf(&record)
		}
		jobs.Put(record)
	}
	at(jobs)
}

// next does a slice and writes the status, if that is due.
func (w *world) next(writes bool) (Outcome, error) {
	w.t.Helper()
	binding := w.binding()
	if w.progress == nil {
		w.progress = Continue(binding.Status.LastRequeue)
	}
	outcome, err := w.Slice(w.ctx, w.progress, Request{Binding: binding, Queue: w.to, Seen: w, Uncounted: true})
	if result := w.progress.Result(); result != nil && writes {
		binding = binding.DeepCopy()
		before := binding.DeepCopy()
		binding.Status.LastRequeue = result
		err = errors.Join(err, w.Client.Status().Patch(w.ctx, binding, client.MergeFrom(before)))
	}
	return outcome, err
}

// finish does slices until the requeue ends or fails.
func (w *world) finish() (run, error) {
	w.t.Helper()
	var r run
	for goes := true; goes; goes = w.progress.Goes() {
		outcome, err := w.next(true)
		r.slices++
		r.Requeued, r.Refused, r.Untied = append(r.Requeued, outcome.Requeued...), append(r.Refused, outcome.Refused...), append(r.Untied, outcome.Untied...)
		r.Redriven = r.Redriven || outcome.Redriven
		if result := w.progress.Result(); result != nil {
			r.result = *result
		}
		r.left = w.binding().Annotations[v1alpha1.AnnotationRequeue]
		if err != nil {
			return r, err
		}
		if r.slices > 1000 {
			w.t.Fatalf("there is no end to it: %+v", r)
		}
	}
	return r, nil
}

// `all` is what had failed by its time and is not on its way already: one that is tried again must not take in its own
// successors.
func TestAll(t *testing.T) {
	to := &sink{}
	outcome, err := execute(t, to, Intent{All: true, Before: noon},
		aFailed("failed"),
		aFailed("sent", sentBefore),
		aFailed("later", failedAt(noon.Add(time.Second))),
		aFailed("second", secondAttempt(noon.Add(-time.Second))),
		aFailed("successor", secondAttempt(noon)),
		aFailed("running", func(j *batchv1.Job) { j.Status.Conditions = nil }),
		aFailed("other", func(j *batchv1.Job) { j.OwnerReferences[0].UID = "another-binding" }),
	)
	if want := []string{"failed", "second"}; err != nil || !slices.Equal(to.sent, want) {
		t.Errorf("sent %v and %v, want %v", to.sent, err, want)
	}
	if outcome.left != "" || len(outcome.Refused) != 0 || outcome.result.RequeuedJobs != 2 {
		t.Errorf("outcome %+v", outcome)
	}
}

// P1: a name sends again, as the message that was sent before may be lost; the lineage folds it where it is not.
func TestANameSendsAgain(t *testing.T) {
	to := &sink{}
	w := newWorld(t, newClient(t, aFailed("failed"), aFailed("sent", sentBefore), asking(aBinding(), "failed,sent,missing")), to)
	outcome, err := w.finish()
	slices.Sort(to.sent)
	if want := []string{"failed", "sent"}; err != nil || !slices.Equal(to.sent, want) {
		t.Errorf("sent %v and %v, want %v", to.sent, err, want)
	}
	if outcome.left != "" || len(outcome.Refused) != 1 || outcome.Refused[0].Reason != v1alpha1.RefusedNotFound {
		t.Errorf("outcome %+v", outcome)
	}
	kept := &batchv1.Job{}
	if err := w.Reader.Get(t.Context(), client.ObjectKey{Namespace: "batch", Name: "failed"}, kept); err != nil {
		t.Fatalf("the failed Job is gone before its successor is there: %v", err)
	}
	if kept.Annotations[v1alpha1.AnnotationRequeuedAt] == "" {
		t.Error("the failed Job is not marked")
	}
}

// A message was sent, and the mark on its Job lost: the next try sends it again, as the same attempt, and marks the Job, which
// its successor then supersedes.
func TestALostMarkIsMadeUpFor(t *testing.T) {
	lost := errors.New("the connection broke")
	for name, intent := range map[string]Intent{"by name": Named("failed"), "all": {All: true, Before: noon}} {
		t.Run(name, func(t *testing.T) {
			to := &sink{}
			c := interceptor.NewClient(newClient(t, aFailed("failed"), asking(aBinding(), intent.String())), interceptor.Funcs{
				Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
					if _, isJob := object.(*batchv1.Job); isJob && len(to.sent) == 1 {
						return lost
					}
					return c.Patch(ctx, object, patch, options...)
				},
			})
			w := newWorld(t, c, to)
			outcome, err := w.finish()
			if !errors.Is(err, lost) || outcome.left != intent.String() || len(outcome.Requeued) != 0 {
				t.Fatalf("got %+v and %v, want nothing done", outcome, err)
			}
			if outcome, err = w.finish(); err != nil || outcome.result.RequeuedJobs != 1 {
				t.Fatalf("the next try: %+v and %v", outcome, err)
			}
			if len(to.messages) != 2 || !reflect.DeepEqual(to.messages[0], to.messages[1]) {
				t.Errorf("sent %+v, want the same twice", to.messages)
			}
			lineage := testKeys.Lineage(aBinding().Spec.Queue.URL, &queue.Message{ID: "sent", Body: to.messages[1].Body, Attributes: to.messages[1].Attributes})
			if want := (job.Lineage{Root: "failed", Attempt: 2}); lineage != want {
				t.Errorf("sent as %+v, want %+v", lineage, want)
			}
			marked := &batchv1.Job{}
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: "batch", Name: "failed"}, marked); err != nil {
				t.Fatal(err)
			}
			jobs := job.NewHistory()
			jobs.Put(job.Observe(marked))
			jobs.Put(job.Record{Name: "successor", State: job.Active, Lineage: lineage})
			if got := jobs.Superseded(); len(got) != 1 || got[0].Name != "failed" {
				t.Errorf("superseded are %v, want the failed Job", got)
			}
		})
	}
}

// Who may edit a Job may write any attempt on it.
func TestAfterTheLastAttemptNothingIsSent(t *testing.T) {
	to := &sink{}
	outcome, err := execute(t, to, Named("last", "beyond"),
		aFailed("last", func(j *batchv1.Job) { j.Annotations[v1alpha1.AnnotationAttempt] = strconv.Itoa(job.MaxAttempts) }),
		aFailed("beyond", func(j *batchv1.Job) { j.Annotations[v1alpha1.AnnotationAttempt] = strconv.Itoa(math.MaxInt) }))
	if err != nil || len(to.sent) != 0 || len(outcome.Refused) != 2 || outcome.Refused[0].Reason != v1alpha1.RefusedNotSendable {
		t.Errorf("sent %v, refused %+v, %v", to.sent, outcome.Refused, err)
	}
}

// What was not sent stays asked for.
func TestWhatFailsIsNotDone(t *testing.T) {
	to := &sink{failAt: "b"}
	outcome, err := execute(t, to, Named("a", "b").Merge(Intent{All: true, Before: noon}), aFailed("a"), aFailed("b"))
	if err == nil {
		t.Fatal("no error")
	}
	if outcome.left != "all@2026-01-02T12:00:00Z,b" {
		t.Errorf("left %q", outcome.left)
	}
	if fmt.Sprint(outcome.Requeued) != fmt.Sprint(to.sent) {
		t.Errorf("tells of %v, sent %v", outcome.Requeued, to.sent)
	}
}

// A Job's volumes can name any Secret of the namespace: only its own goes to the queue, or its binding's for the same message.
func TestOnlyTheJobsOwnSecretIsSent(t *testing.T) {
	inFiles := func(j *batchv1.Job) {
		j.Annotations[v1alpha1.AnnotationDelivery] = string(v1alpha1.DeliverFile)
		j.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "queuebinding-message", VolumeSource: corev1.VolumeSource{
			Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
				Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "secret-of-" + j.Name}},
			}}},
		}}}
	}
	secretOf := func(owner *batchv1.Job, owned bool) *corev1.Secret {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: "secret-of-" + owner.Name},
			Data:       map[string][]byte{"body": []byte("in " + owner.Name), "attributes.json": []byte("{}")},
		}
		if owned {
			secret.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, batchv1.SchemeGroupVersion.WithKind("Job"))}
		}
		return secret
	}
	own, foreign := aFailed("own", inFiles), aFailed("foreign", inFiles)
	// The operator may have ended before it made these the Job's.
	early, another := aFailed("early", inFiles), aFailed("another", inFiles)
	bindings := func(owner *batchv1.Job, message string) *corev1.Secret {
		secret := secretOf(owner, false)
		secret.OwnerReferences, secret.Labels = owner.OwnerReferences, map[string]string{v1alpha1.LabelMessage: message}
		return secret
	}
	to := &sink{}
	outcome, err := execute(t, to, Named("own", "foreign", "early", "another"), own, foreign, early, another,
		secretOf(own, true), secretOf(foreign, false), bindings(early, early.Labels[v1alpha1.LabelMessage]), bindings(another, "another's"))
	slices.Sort(to.sent)
	if want := []string{"in early", "in own"}; err != nil || !slices.Equal(to.sent, want) {
		t.Errorf("sent %v and %v, want %v", to.sent, err, want)
	}
	if len(outcome.Refused) != 2 || outcome.Refused[0].Reason != v1alpha1.RefusedNotSendable || outcome.Refused[1].Reason != v1alpha1.RefusedNotSendable {
		t.Errorf("refused %+v", outcome.Refused)
	}
}

// A Job under OnJobSucceeded has its message on the queue, or in the dead-letter queue: sending it would run it twice.
func TestAMessageThatIsOnTheQueueIsNotSent(t *testing.T) {
	to := &sink{}
	outcome, err := execute(t, to, Named("kept", "record"), aFailed("kept", keepsMessage), aFailed("record"))
	if want := []string{"record"}; err != nil || !slices.Equal(to.sent, want) || to.redrives != 0 {
		t.Errorf("sent %v and %v, redriven %d times; want %v, none", to.sent, err, to.redrives, want)
	}
	if len(outcome.Refused) != 1 || outcome.Refused[0].Reason != v1alpha1.RefusedMessageOnQueue {
		t.Errorf("refused %+v", outcome.Refused)
	}
}

// `all` moves the dead-letter queue's messages back where the binding, or a failed Job of it, is under OnJobSucceeded.
func TestAllRedrives(t *testing.T) {
	onSuccess := func() *v1alpha1.QueueBinding {
		binding := aBinding()
		binding.Spec.Acknowledge = v1alpha1.AcknowledgeOnJobSucceeded
		return binding
	}
	intent := Intent{All: true, Before: noon}
	for name, tc := range map[string]struct {
		binding      *v1alpha1.QueueBinding
		answer       error
		jobs         []client.Object
		wantRedrives int
		wantRefused  string
		wantErr      bool
	}{
		"under OnJobCreated":           {binding: aBinding(), jobs: []client.Object{aFailed("record")}},
		"under OnJobSucceeded":         {binding: onSuccess(), wantRedrives: 1},
		"switched from OnJobSucceeded": {binding: aBinding(), jobs: []client.Object{aFailed("kept", keepsMessage)}, wantRedrives: 1},
		"no dead-letter queue":         {binding: onSuccess(), answer: queue.Errorf(queue.NoDeadLetterQueue, "none"), wantRedrives: 1, wantRefused: v1alpha1.RefusedNoDeadLetterQueue},
		"a shared dead-letter queue":   {binding: onSuccess(), answer: queue.Errorf(queue.DeadLetterQueueShared, "two"), wantRedrives: 1, wantRefused: v1alpha1.RefusedDeadLetterQueueShared},
		"access denied":                {binding: onSuccess(), answer: queue.Errorf(queue.AccessDenied, "no"), wantRedrives: 1, wantErr: true},
	} {
		t.Run(name, func(t *testing.T) {
			to := &sink{redrive: tc.answer}
			outcome, err := executeFor(t, tc.binding, to, intent, tc.jobs...)
			refused := ""
			if len(outcome.Refused) == 1 {
				refused = outcome.Refused[0].Reason
			}
			if to.redrives != tc.wantRedrives || refused != tc.wantRefused || (err != nil) != tc.wantErr || (outcome.left == "") == tc.wantErr {
				t.Errorf("redriven %d times, refused %q, %v, %+v", to.redrives, refused, err, outcome)
			}
			if outcome.Redriven != (tc.wantRedrives == 1 && tc.answer == nil) {
				t.Errorf("outcome %+v", outcome)
			}
		})
	}
}
