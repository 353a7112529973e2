package observe

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/rig"
)

// Bindings of the play, each for one thing that can go wrong.
const (
	Pings    = "pings"    // nothing
	failing  = "failing"  // its Jobs fail
	poison   = "poison"   // its messages cannot become Jobs
	busy     = "busy"     // more comes than it may work off
	blocked  = "blocked"  // a quota refuses its Jobs
	expiring = "expiring" // it is suspended, and its queue keeps messages for a minute
	beating  = "beating"  // its messages stay hidden while their Jobs run
)

// expected are the alerts that the play is for, by binding, where they are of one. Others must not fire.
var expected = map[string][]string{
	"QueueBindingJobsFailing":            {failing},
	"QueueBindingFailedJobsNearLimit":    {failing},
	"QueueBindingMessagesRejected":       {poison},
	"QueueBindingDeadLetterQueueGrowing": {poison},
	"QueueBindingBacklogGrowing":         {busy},
	// In a hurry it waits for as long as the operator does between two counts of a queue: one that was emptied at once seems to wait.
	"QueueBindingNotReceiving":       {blocked, failing},
	"QueueBindingMessagesNearExpiry": {expiring},
	"QueueBindingHeartbeatsLate":     {beating},
	// When SQS is away, it is for all.
	"QueueBindingQueueUnreachable": {Pings, failing, poison, busy, blocked, expiring, beating},
	"QueueBindingAPIUnavailable":   {""},
	"QueueBindingNoLeader":         {""},
}

// patience is how long one thing of the play may take on a busy machine.
const patience = 3 * rig.Timeout

// Play has the operator work, breaks one thing after the other, and returns once each alert has fired for what it is for and ended after
// it was mended.
func (s *Stage) Play(ctx context.Context) error {
	walking, stop := context.WithCancel(ctx)
	defer stop()
	var walk errgroup.Group
	walk.Go(func() error { return s.walk(walking) })

	together, side := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{s.failJobs, s.sendPoison, s.outrun, s.block, s.letExpire} {
		together.Go(func() error { return part(side) })
	}
	if err := together.Wait(); err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{s.killOperator, s.holdHeartbeats, s.cutSQSAndAPI, s.awaitSilence} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	stop()
	return walk.Wait()
}

// awaitSilence waits until no alert fires.
func (s *Stage) awaitSilence(ctx context.Context) error {
	return rig.AwaitFor(ctx, patience, "the end of all alerts", s.watch.left)
}

// Unexpected are the alerts that fired for what they are not for.
func (s *Stage) Unexpected() []Firing {
	var unexpected []Firing
	for _, firing := range s.watch.all() {
		if !slices.Contains(expected[firing.Alert], firing.Name) {
			unexpected = append(unexpected, firing)
		}
	}
	return unexpected
}

func (s *Stage) say(format string, args ...any) {
	fmt.Fprintf(s.out, "%4s  "+format+"\n", append([]any{time.Since(s.watch.began).Round(time.Second)}, args...)...)
}

func (s *Stage) fires(ctx context.Context, alert, name string) error {
	return rig.AwaitFor(ctx, patience, alert, func() string { return s.watch.missing(alert, name) })
}

// bind makes a queue and a binding for it, after a change to what rig.Binding has.
func (s *Stage) bind(ctx context.Context, in, name, dead string, receives int, change func(*v1alpha1.QueueBindingSpec)) (*rig.Queue, *v1alpha1.QueueBinding, error) {
	queue, err := s.cluster.CreateQueue(ctx, name, dead, receives)
	if err != nil {
		return nil, nil, err
	}
	binding := rig.Binding(in, name, queue.URL)
	binding.Spec.Queue.VisibilityTimeoutSeconds = new(int32(30)) // a busy machine is late with heartbeats for two seconds
	change(&binding.Spec)
	return queue, binding, s.cluster.Client.Create(ctx, binding)
}

// change writes a changed spec over what the API server has.
func (s *Stage) change(ctx context.Context, binding *v1alpha1.QueueBinding, change func(*v1alpha1.QueueBindingSpec)) error {
	before := client.MergeFrom(binding.DeepCopy())
	change(&binding.Spec)
	return s.cluster.Client.Patch(ctx, binding, before)
}

func send(ctx context.Context, queue *rig.Queue, count int, target string, seconds float64) error {
	bodies := make([]string, count)
	for i := range bodies {
		bodies[i] = rig.Body(i, target, seconds)
	}
	return queue.SendAll(ctx, bodies)
}

// walk has Jobs succeed until ctx ends, and one fail and be requeued.
func (s *Stage) walk(ctx context.Context) error {
	queue, binding, err := s.bind(ctx, namespace, Pings, "", 0, func(spec *v1alpha1.QueueBindingSpec) {
		spec.Concurrency = v1alpha1.Concurrency{MaxActiveJobs: new(int32(20)), MaxPendingJobs: new(int32(12))}
	})
	if err != nil {
		return err
	}
	s.say("%s: some messages every now and then, and one whose Job fails", Pings)
	if err := send(ctx, queue, 1, "this.is.invalid", 1); err != nil {
		return err
	}
	for round := 0; ; round++ {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(2 * time.Second): // the pace of its messages
		}
		if err := send(ctx, queue, 1+round%4*2, "127.0.0.1", float64(1+round%3)); err != nil && ctx.Err() == nil {
			return err
		}
		if round == 6 {
			// As a user does it.
			before := client.MergeFrom(binding.DeepCopy())
			binding.Annotations = map[string]string{v1alpha1.AnnotationRequeue: "all"}
			if err := s.cluster.Client.Patch(ctx, binding, before); err != nil {
				return err
			}
		}
	}
}

// failJobs has Jobs fail, up to eight tenths of what is kept of them.
func (s *Stage) failJobs(ctx context.Context) error {
	queue, binding, err := s.bind(ctx, namespace, failing, "", 0, func(spec *v1alpha1.QueueBindingSpec) {
		spec.FailedJobsHistoryLimit = new(int32(10))
	})
	if err != nil {
		return err
	}
	s.say("%s: eight Jobs that fail, where ten are kept", failing)
	if err := send(ctx, queue, 8, "this.is.invalid", 1); err != nil {
		return err
	}
	for _, alert := range []string{"QueueBindingJobsFailing", "QueueBindingFailedJobsNearLimit"} {
		if err := s.fires(ctx, alert, failing); err != nil {
			return err
		}
	}
	s.say("%s: the failed Jobs are deleted", failing)
	return s.cluster.Client.DeleteAllOf(ctx, &batchv1.Job{}, client.InNamespace(namespace),
		client.MatchingLabels{v1alpha1.LabelBinding: binding.Name}, client.PropagationPolicy(metav1.DeletePropagationBackground))
}

// sendPoison sends what is no JSON, to a queue that gives up what was received once.
func (s *Stage) sendPoison(ctx context.Context) error {
	if _, err := s.cluster.CreateQueue(ctx, poison+"-dead", "", 0); err != nil {
		return err
	}
	queue, _, err := s.bind(ctx, namespace, poison, poison+"-dead", 1, func(*v1alpha1.QueueBindingSpec) {})
	if err != nil {
		return err
	}
	// Before, nothing is known of the dead-letter queue, and nothing can be seen to grow.
	if err := rig.Await(ctx, "a look at the dead-letter queue", func() string {
		return s.none(ctx, `queuebinding_dead_letter_messages{name="`+poison+`"}`)
	}); err != nil {
		return err
	}
	s.say("%s: a message that is no JSON", poison)
	if _, err := queue.Send(ctx, "drop tables"); err != nil {
		return err
	}
	for _, alert := range []string{"QueueBindingMessagesRejected", "QueueBindingDeadLetterQueueGrowing"} {
		if err := s.fires(ctx, alert, poison); err != nil {
			return err
		}
	}
	return nil
}

// outrun sends more than one Job at a time works off, and then lets there be more of them.
func (s *Stage) outrun(ctx context.Context) error {
	queue, binding, err := s.bind(ctx, namespace, busy, "", 0, func(spec *v1alpha1.QueueBindingSpec) {
		spec.Concurrency.MaxActiveJobs = new(int32(1))
	})
	if err != nil {
		return err
	}
	s.say("%s: two messages a second, and one Job at a time", busy)
	sending, stop := context.WithCancel(ctx)
	var sender errgroup.Group
	sender.Go(func() error {
		for sending.Err() == nil {
			if err := send(ctx, queue, 2, "127.0.0.1", 2); err != nil {
				return err
			}
			select {
			case <-sending.Done():
			case <-time.After(time.Second): // the pace of its messages
			}
		}
		return nil
	})
	err = s.fires(ctx, "QueueBindingBacklogGrowing", busy)
	stop()
	if sent := sender.Wait(); err == nil {
		err = sent
	}
	if err != nil {
		return err
	}
	s.say("%s: no more messages, and fifty Jobs at a time", busy)
	return s.change(ctx, binding, func(spec *v1alpha1.QueueBindingSpec) { spec.Concurrency.MaxActiveJobs = new(int32(50)) })
}

// block has a quota refuse every Job.
func (s *Stage) block(ctx context.Context) error {
	if err := s.cluster.CreateNamespace(ctx, blocked); err != nil {
		return err
	}
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: blocked, Name: "none"}}
	quota.Spec.Hard = corev1.ResourceList{"count/jobs.batch": resource.MustParse("0")}
	if err := s.cluster.Client.Create(ctx, quota); err != nil {
		return err
	}
	if err := rig.Await(ctx, "the quota", func() string {
		if err := s.cluster.Client.Get(ctx, client.ObjectKeyFromObject(quota), quota); err != nil {
			return err.Error()
		}
		if len(quota.Status.Hard) == 0 {
			return "nobody counts yet"
		}
		return ""
	}); err != nil {
		return err
	}
	queue, _, err := s.bind(ctx, blocked, blocked, "", 0, func(*v1alpha1.QueueBindingSpec) {})
	if err != nil {
		return err
	}
	s.say("%s: five messages, and a quota of no Jobs", blocked)
	if err := send(ctx, queue, 5, "127.0.0.1", 1); err != nil {
		return err
	}
	if err := s.fires(ctx, "QueueBindingNotReceiving", blocked); err != nil {
		return err
	}
	s.say("%s: the quota is deleted", blocked)
	return s.cluster.Client.Delete(ctx, quota)
}

// letExpire suspends a binding until SQS is about to delete its messages.
func (s *Stage) letExpire(ctx context.Context) error {
	queue, binding, err := s.bind(ctx, namespace, expiring, "", 0, func(spec *v1alpha1.QueueBindingSpec) { spec.Suspend = true })
	if err != nil {
		return err
	}
	if err := queue.SetRetention(ctx, 60); err != nil {
		return err
	}
	s.say("%s: three messages for a suspended binding, on a queue that keeps them for a minute", expiring)
	if err := send(ctx, queue, 3, "127.0.0.1", 1); err != nil {
		return err
	}
	if err := s.fires(ctx, "QueueBindingMessagesNearExpiry", expiring); err != nil {
		return err
	}
	s.say("%s: suspended no more", expiring)
	return s.change(ctx, binding, func(spec *v1alpha1.QueueBindingSpec) { spec.Suspend = false })
}

// holdHeartbeats has no visibility timeout extended while a Job runs.
func (s *Stage) holdHeartbeats(ctx context.Context) error {
	queue, _, err := s.bind(ctx, namespace, beating, "", 0, func(spec *v1alpha1.QueueBindingSpec) {
		spec.Acknowledge = v1alpha1.AcknowledgeOnJobSucceeded
		spec.Queue.VisibilityTimeoutSeconds = new(int32(6))
	})
	if err != nil {
		return err
	}
	if err := send(ctx, queue, 2, "127.0.0.1", 20); err != nil {
		return err
	}
	if err := rig.Await(ctx, "a heartbeat", func() string {
		return s.none(ctx, `queuebinding_visibility_extensions_total{name="`+beating+`"} > 0`)
	}); err != nil {
		return err
	}
	s.say("%s: no visibility timeout can be extended", beating)
	s.breakRequests(func(action string) bool {
		return action == "ChangeMessageVisibilityBatch" || action == "ChangeMessageVisibility"
	})
	err = s.fires(ctx, "QueueBindingHeartbeatsLate", beating)
	s.mend()
	s.say("%s: they can again", beating)
	return err
}

// cutSQSAndAPI cuts the operator off from SQS, and kills the server of the subresource.
func (s *Stage) cutSQSAndAPI(ctx context.Context) error {
	if err := s.awaitSilence(ctx); err != nil {
		return err
	}
	s.say("SQS cannot be reached, and the server of the subresource is killed")
	s.server.Kill()
	s.breakRequests(func(action string) bool { return !strings.Contains(action, " ") })
	err := s.fires(ctx, "QueueBindingQueueUnreachable", Pings)
	if err == nil {
		err = s.fires(ctx, "QueueBindingAPIUnavailable", "")
	}
	s.mend()
	if err != nil {
		return err
	}
	s.say("both are back")
	return s.startServer()
}

// killOperator leaves nobody to lead.
func (s *Stage) killOperator(ctx context.Context) error {
	if err := s.awaitSilence(ctx); err != nil {
		return err
	}
	s.say("the operator is killed")
	s.operator.Kill()
	if err := s.fires(ctx, "QueueBindingNoLeader", ""); err != nil {
		return err
	}
	s.say("the operator is started again")
	return s.startOperator()
}
