package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/recorder"
	"github.com/queuebinding/queuebinding/test/rig"
)

const namespace = "soak"

// soak is one run.
type soak struct {
	cluster   *rig.Cluster
	recorder  *recorder.Recorder
	seed      uint64
	began     time.Time
	faults    *faults
	operators *operators
	bindings  []*binding
	overlap   *overlap
	limits    *limits

	guard *guard

	mu sync.Mutex
	// injected counts what was broken or done, by name.
	injected map[string]int
	// forged are the lineages that the forger made up. It alone uses them.
	forged map[string]bool
	// removed are the Jobs that users deleted.
	removed map[types.UID]bool
}

// binding is a binding with its queue, and what was sent there.
type binding struct {
	*v1alpha1.QueueBinding
	queue *rig.Queue
	// keeps reports whether messages stay on the queue until their Jobs have succeeded.
	keeps bool
	// groups are how many message groups it has, on a FIFO queue, or 0.
	groups int

	// sending is held while a message of a FIFO queue is sent, so that its place in the order is known.
	sending sync.Mutex
	mu      sync.Mutex
	sent    map[string]string   // bodies by message ID
	order   map[string][]string // message IDs by group, as they were sent
	bombs   map[string]bool     // the messages that are not to become Jobs
}

// firstBindings are the bindings at the beginning. Every second one keeps its messages until their Jobs have succeeded.
var firstBindings = []struct {
	limit  int32
	groups int
}{{2, 0}, {5, 0}, {10, 0}, {20, 0}, {6, 5}, {6, 5}, {5, 0}}

func newSoak(cluster *rig.Cluster, recorded *recorder.Recorder, program string, seed uint64) *soak {
	s := &soak{cluster: cluster, recorder: recorded, seed: seed, overlap: &overlap{}, injected: map[string]int{}, forged: map[string]bool{}, removed: map[types.UID]bool{}}
	s.faults = newFaults(seed, s.count)
	s.operators = newOperators(cluster, program, s.faults)
	s.limits = newLimits(recorded, s.overlap)
	s.guard = &guard{}
	return s
}

// random makes a source of random numbers of its own for each purpose, so that one does not disturb another.
func (s *soak) random(purpose uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, purpose)) }

// count notes that something was done.
func (s *soak) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.injected[what]++
}

func (s *soak) say(format string, args ...any) {
	fmt.Printf("%5.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// begin makes bindings and starts the operators.
func (s *soak) begin(ctx context.Context) error {
	s.began = time.Now()
	if err := s.cluster.CreateNamespace(ctx, namespace); err != nil {
		return err
	}
	if err := s.guard.begin(ctx, s.cluster); err != nil {
		return err
	}
	if err := s.createCredentials(ctx); err != nil {
		return err
	}
	for i, first := range firstBindings {
		name, queueName := fmt.Sprintf("pings-%d", i), fmt.Sprintf("pings-%d", i)
		if first.groups > 0 {
			queueName += ".fifo"
		}
		queue, err := s.cluster.CreateQueue(ctx, queueName, "", 0)
		if err != nil {
			return err
		}
		b := &binding{
			QueueBinding: rig.Binding(namespace, name, queue.URL), queue: queue, keeps: i%2 == 1, groups: first.groups,
			sent: map[string]string{}, order: map[string][]string{}, bombs: map[string]bool{},
		}
		b.Spec.Queue.VisibilityTimeoutSeconds = new(int32(1))
		if b.keeps {
			// The delay before the next attempt doubles with each receive, and a message that comes back while its Job runs is
			// one: not too many, or the end would take all day.
			b.Spec.Acknowledge, b.Spec.Queue.VisibilityTimeoutSeconds = v1alpha1.AcknowledgeOnJobSucceeded, new(int32(15))
		}
		b.Spec.Concurrency.MaxActiveJobs = &first.limit
		// History is not what is tested here: only users and requeues make Jobs go.
		b.Spec.SuccessfulJobsHistoryLimit, b.Spec.FailedJobsHistoryLimit = new(int32(9000)), new(int32(9000))
		if err := s.cluster.Client.Create(ctx, b.QueueBinding); err != nil {
			return fmt.Errorf("creating binding %s: %w", name, err)
		}
		s.bindings = append(s.bindings, b)
	}
	bombed := s.bindings[len(s.bindings)-1]
	if err := s.edit(ctx, bombed, func(now *v1alpha1.QueueBinding) {
		now.Spec.Message.Variables = append(now.Spec.Message.Variables, bombVariable)
	}); err != nil {
		return err
	}
	return s.operators.begin()
}

// inject sends messages, breaks things and has users act, until the time is over.
func (s *soak) inject(ctx context.Context, duration time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	var busy sync.WaitGroup
	for i, b := range s.bindings {
		busy.Go(func() { s.load(ctx, b, s.random(100+uint64(i))) })
	}
	busy.Go(func() { s.forge(ctx, s.random(200)) })
	busy.Go(func() { s.bomb(ctx, s.bindings[len(s.bindings)-1]) })
	s.faults.enabled.Store(true)
	for _, event := range s.plan(duration) {
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(s.began.Add(event.at))):
		}
		if ctx.Err() != nil {
			break
		}
		s.say("%s", event.name)
		s.count(event.name)
		busy.Go(func() { event.do(ctx) })
	}
	<-ctx.Done()
	busy.Wait()
	s.faults.enabled.Store(false)
	s.say("Nothing is broken any more")
	return nil
}

// load sends messages to a binding's queue, in bursts.
func (s *soak) load(ctx context.Context, b *binding, random *rand.Rand) {
	number := 0
	for ctx.Err() == nil {
		for range 1 + random.IntN(12) {
			target := "127.0.0.1"
			if random.IntN(6) == 0 && !b.keeps { // that one's must succeed in the end
				target = "no.invalid"
			}
			seconds := 0.1 + random.Float64()
			if random.IntN(20) == 0 {
				seconds += 15 // so that there is something to delete that runs
			}
			number++
			if b.groups > 0 && b.keeps {
				seconds = min(seconds, 1.5) // what is behind waits for it
			}
			s.send(ctx, b, random, rig.Body(number, target, seconds), nil)
		}
		wait := time.Duration(1000+random.IntN(4000)) * time.Millisecond
		if b.groups > 0 && b.keeps {
			wait *= 4
		}
		pause(ctx, wait)
	}
}

// send sends a message, to any of the groups of a FIFO queue, and remembers it. It is sent also where the time is over meanwhile,
// as nobody would know whether it was.
func (s *soak) send(ctx context.Context, b *binding, random *rand.Rand, body string, attributes map[string]string) (id string) {
	group := ""
	if b.groups > 0 {
		group = fmt.Sprintf("group-%d", random.IntN(b.groups))
		b.sending.Lock()
		defer b.sending.Unlock()
	}
	id, err := b.queue.SendTo(context.WithoutCancel(ctx), group, body, attributes)
	if err != nil {
		s.say("Could not send: %v", err)
		return ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent[id] = body
	b.order[group] = append(b.order[group], id)
	return id
}

// settle undoes what users did and waits until all messages are done with.
func (s *soak) settle(ctx context.Context) error {
	s.guard.end()
	for _, b := range s.bindings {
		if err := s.edit(ctx, b, func(now *v1alpha1.QueueBinding) {
			now.Spec.Suspend = false
			now.Spec.Concurrency.MaxActiveJobs = new(int32(20))
		}); err != nil {
			return err
		}
	}
	return rig.AwaitFor(ctx, 10*time.Minute, "the end", func() string {
		for _, b := range s.bindings {
			if said := s.missing(ctx, b); said != "" {
				return b.Name + ": " + said
			}
		}
		return ""
	})
}

// missing says what keeps a binding from being settled.
func (s *soak) missing(ctx context.Context, b *binding) string {
	if said := b.queue.Holds(ctx, len(b.bombs)); said != "" {
		return said
	}
	now := &v1alpha1.QueueBinding{}
	if err := s.cluster.Client.Get(ctx, client.ObjectKeyFromObject(b), now); err != nil {
		return err.Error()
	}
	if text := now.Annotations[v1alpha1.AnnotationRequeue]; text != "" {
		return fmt.Sprintf("a requeue of %s is not done", text)
	}
	var want [4]int32
	newest := map[string]int{}
	for _, job := range s.recorder.Jobs(namespace) {
		newest[job.Root] = max(newest[job.Root], job.Attempt)
	}
	for _, job := range s.recorder.Jobs(namespace) {
		if job.Owner != b.UID || job.Gone {
			continue
		}
		if job.Failed && newest[job.Root] > job.Attempt && !b.keeps {
			return fmt.Sprintf("Job %s is there, although its next attempt is, too", job.Name)
		}
		switch {
		case !job.Finished:
			want[0]++
		case !job.Failed:
			want[1]++
		case job.Requeued:
			want[3]++
		default:
			want[2]++
		}
	}
	if want[0] > 0 || want[3] > 0 {
		return fmt.Sprintf("%d Jobs are active and %d wait for their successor", want[0], want[3])
	}
	st := &now.Status
	got := [4]int32{deref(st.ActiveJobs), deref(st.SucceededJobs), deref(st.FailedJobs), deref(st.RequeuedJobs)}
	if got != want {
		return fmt.Sprintf("status counts %v Jobs as active, succeeded, failed and requeued, and there are %v", got, want)
	}
	return ""
}

func deref(n *int32) int32 {
	if n == nil {
		return -1
	}
	return *n
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
