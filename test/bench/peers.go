package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/queuebinding/queuebinding/test/process"
	"github.com/queuebinding/queuebinding/test/recorder"
	"github.com/queuebinding/queuebinding/test/rig"
)

// peerMeasurements are those beside another operator.
var peerMeasurements = []measurement{
	{"start", measureStart},
	{"work", measureWork},
	{"rush", measureRush},
	{"kill", measureKill},
}

// contender is an operator with its settings. The contenders take turns at the same messages.
type contender interface {
	name() string
	// interval is how often it looks at its queue; 0 where it waits there for what comes.
	interval() time.Duration
	// receives reports whether its workers take their messages from the queue themselves.
	receives() bool
	// start starts the operator, kill ends it as a crash does.
	start(context.Context, *turn) error
	kill(*turn) error
	// install makes the object that has Jobs started for the turn's queue, and returns its UID once that is looked after.
	install(context.Context, *turn) (types.UID, error)
	// leave ends the operator at the end of its turn.
	leave(context.Context, *turn) error
}

// turn is that of one contender: a namespace, a queue, and what becomes of its messages.
type turn struct {
	suite     *suite
	by        contender
	namespace string
	queue     *rig.Queue
	// limit is how many Jobs may be active at once.
	limit int
	// played reports whether the Jobs have Pods, in which workers play; else they are suspended.
	played bool

	// operator is the process of ours.
	operator *process.Process
	uid      types.UID
}

const (
	// peerObject is the name of the object that a contender looks after.
	peerObject = "pings"
	// longest bounds a turn; the slowest settings take minutes.
	longest = 10 * time.Minute
	// aftermath is how long a contender is watched after the last message for Jobs that nobody needs.
	aftermath = 3 * time.Second
)

// take gives a contender its turn: its operator alone runs, and its queue is empty when do begins.
func (s *suite) take(ctx context.Context, t *turn, do func(context.Context) error) error {
	s.workspaces++
	t.suite, t.namespace = s, fmt.Sprintf("peers-%d", s.workspaces)
	if err := s.CreateNamespace(ctx, t.namespace); err != nil {
		return err
	}
	var err error
	if t.queue, err = s.CreateQueue(ctx, t.namespace, "", 0); err != nil {
		return err
	}
	if err := t.by.start(ctx, t); err != nil {
		return err
	}
	if err := t.play(ctx, do); err != nil {
		return errors.Join(fmt.Errorf("the turn of %s: %w", t.by.name(), err), t.by.kill(t))
	}
	if err := t.by.leave(ctx, t); err != nil {
		return err
	}
	return s.clear(ctx, t.namespace)
}

func (t *turn) play(ctx context.Context, do func(context.Context) error) error {
	var err error
	if t.uid, err = t.by.install(ctx, t); err != nil {
		return err
	}
	// In the middle between two looks, so that what a message waits for the next one is neither luck nor bad luck.
	if err := pass(ctx, t.by.interval()/2); err != nil {
		return err
	}
	return do(ctx)
}

// pass lets time pass.
func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (t *turn) owner() owner { return owner{t.namespace, peerObject} }

// jobSpec is the same for all contenders. Pods that are played end with their workers, not by themselves.
func (t *turn) jobSpec() batchv1.JobSpec {
	spec := benchBinding(t.namespace, peerObject, t.queue.URL).Spec.JobTemplate.Spec
	spec.Suspend = new(!t.played)
	container := &spec.Template.Spec.Containers[0]
	container.Command = nil
	container.Env = append(container.Env, corev1.EnvVar{Name: "duration", Value: "999999"})
	return spec
}

// outcome is what came of a turn.
type outcome struct {
	// seconds are those from the first message sent until the last one has its Job, or was worked off.
	seconds float64
	// beyond is how many Jobs there were beyond the messages.
	beyond int
	// twice is how many messages were worked on more than once, lost how many never.
	twice, lost int
	// over is by how many active Jobs the limit was passed.
	over int
}

// inTurns has every contender take as many turns as it is given, each round in the reverse order of the one before.
func inTurns(contenders []contender, turns func(contender) int, do func(contender) (outcome, error)) (map[contender][]outcome, error) {
	outcomes := map[contender][]outcome{}
	order := slices.Clone(contenders)
	for round := range slices.Max(mapped(contenders, turns)) {
		for _, by := range order {
			if round >= turns(by) {
				continue
			}
			came, err := do(by)
			if err != nil {
				return nil, err
			}
			fmt.Printf("       %s: %+v\n", by.name(), came)
			outcomes[by] = append(outcomes[by], came)
		}
		slices.Reverse(order)
	}
	return outcomes, nil
}

func mapped[A, B any](all []A, f func(A) B) []B {
	made := make([]B, len(all))
	for i, each := range all {
		made[i] = f(each)
	}
	return made
}

// measureStart times a burst of messages until each has a Job. The Jobs are suspended: only starting them counts.
func measureStart(ctx context.Context, s *suite, r *report) error {
	n := s.amounts.peers.started
	contenders := []contender{ours{}, kedaAccurate, kedaDefaults}
	turns := func(by contender) int { return s.turns(by, 1) }
	outcomes, err := inTurns(contenders, turns, func(by contender) (outcome, error) {
		t, came := &turn{by: by, limit: plenty}, outcome{}
		err := s.take(ctx, t, func(ctx context.Context) error {
			rate, err := s.timed(ctx, by.name(), n, t.owner(), func() error { return t.queue.SendAll(ctx, bodies(n)) })
			if err != nil {
				return err
			}
			if err := pass(ctx, aftermath); err != nil {
				return err
			}
			came.seconds, came.beyond = float64(n)/rate, len(s.creations.of(t.owner()))-n
			return nil
		})
		return came, err
	})
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d messages to %d suspended Jobs", n, n)
	addSeconds(r, what, contenders, outcomes)
	addCounts(r, what, contenders, outcomes, "Jobs beyond the messages", func(o outcome) int { return o.beyond })
	return nil
}

// measureWork times a burst of messages until all are worked off, of which a limit lets through a part at a time.
func measureWork(ctx context.Context, s *suite, r *report) error {
	limit := s.amounts.peers.atOnce
	return s.compareWork(ctx, r, []contender{ours{}, kedaAccurate, kedaPrompt, kedaDefaults}, limit, fmt.Sprintf("%d at a time", limit), (*turn).work)
}

// measureRush is the same with room for all.
func measureRush(ctx context.Context, s *suite, r *report) error {
	return s.compareWork(ctx, r, []contender{ours{}, kedaAccurate, kedaPrompt}, plenty, "all at once", (*turn).work)
}

// measureKill is measureWork with the operator killed and started again after a quarter of the messages.
func measureKill(ctx context.Context, s *suite, r *report) error {
	limit := s.amounts.peers.atOnce
	return s.compareWork(ctx, r, []contender{ours{}, kedaAccurate}, limit, fmt.Sprintf("%d at a time, the operator killed meanwhile", limit), (*turn).workKilled)
}

func (s *suite) compareWork(ctx context.Context, r *report, contenders []contender, limit int, how string, do func(*turn, context.Context, int) (outcome, error)) error {
	n := s.amounts.peers.worked
	turns := func(by contender) int { return s.turns(by, s.amounts.peers.slow) }
	outcomes, err := inTurns(contenders, turns, func(by contender) (outcome, error) {
		t, came := &turn{by: by, limit: limit, played: true}, outcome{}
		err := s.take(ctx, t, func(ctx context.Context) (err error) {
			came, err = do(t, ctx, n)
			return err
		})
		return came, err
	})
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d messages worked off, %s", n, how)
	addSeconds(r, what, contenders, outcomes)
	addCounts(r, what, contenders, outcomes, "Jobs beyond the messages", func(o outcome) int { return o.beyond })
	addCounts(r, what, contenders, outcomes, "messages worked twice", func(o outcome) int { return o.twice })
	addCounts(r, what, contenders, outcomes, "messages lost", func(o outcome) int { return o.lost })
	if limit < plenty {
		addCounts(r, what, contenders, outcomes, "Jobs over the limit", func(o outcome) int { return o.over })
	}
	return nil
}

// turns is how many turns a contender gets. One that looks at its queue so rarely that they take minutes gets few.
func (s *suite) turns(by contender, few int) int {
	if by.interval() > 10*time.Second {
		return few
	}
	return s.amounts.peers.turns
}

// work sends n messages and waits until nothing is left to do.
func (t *turn) work(ctx context.Context, n int) (outcome, error) {
	return t.workWhile(ctx, n, func(*workers) error { return nil })
}

// workKilled kills the operator meanwhile and starts it again at once.
func (t *turn) workKilled(ctx context.Context, n int) (outcome, error) {
	return t.workWhile(ctx, n, func(w *workers) error {
		err := rig.Await(ctx, "a quarter of the work", func() string {
			if done := w.count(); done < n/4 {
				return fmt.Sprintf("%d messages are worked off", done)
			}
			return ""
		})
		if err != nil {
			return err
		}
		if err := t.by.kill(t); err != nil {
			return err
		}
		return t.by.start(ctx, t)
	})
}

// work is n messages of half a second to one and a half, a second on average, so that Jobs do not end all at once.
func work(n int) []string {
	messages := make([]string, n)
	for i := range messages {
		messages[i] = rig.Body(i, "localhost", 0.5+float64(i%11)/10)
	}
	return messages
}

func (t *turn) workWhile(ctx context.Context, n int, meanwhile func(*workers) error) (outcome, error) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	seen, err := recorder.Start(watching, t.suite.Client)
	if err != nil {
		return outcome{}, err
	}
	w, err := startWorkers(watching, t)
	if err != nil {
		return outcome{}, err
	}
	defer func() {
		stop()
		w.playing.Wait()
		seen.Wait()
	}()
	began := time.Now()
	if err := t.queue.SendAll(ctx, work(n)); err != nil {
		return outcome{}, err
	}
	if err := meanwhile(w); err != nil {
		return outcome{}, err
	}
	err = rig.AwaitFor(ctx, longest, "the end of the work", func() string {
		for _, job := range seen.Jobs(t.namespace) {
			if job.Active() {
				return "Job " + job.Name + " is active"
			}
		}
		return t.queue.Holds(ctx, 0)
	})
	if err == nil {
		err = pass(ctx, aftermath)
	}
	if err = errors.Join(err, w.failure()); err != nil {
		return outcome{}, err
	}
	came := w.outcome(n, began)
	came.beyond = len(seen.Jobs(t.namespace)) - n
	came.over = max(0, seen.Peak(t.uid)-t.limit)
	return came, nil
}

// addSeconds adds the contenders' medians, each but the first one's with the median of what it took of the first one's
// time in the same round.
func addSeconds(r *report, what string, contenders []contender, outcomes map[contender][]outcome) {
	seconds := func(by contender) []float64 {
		return mapped(outcomes[by], func(o outcome) float64 { return o.seconds })
	}
	first := seconds(contenders[0])
	for i, by := range contenders {
		took := seconds(by)
		if len(took) == 0 {
			continue
		}
		added := row{Name: what + ", " + by.name(), Measured: median(took), Unit: "s"}
		if i > 0 {
			added.ratio = new(median(ratios(took, first)))
		}
		r.rows = append(r.rows, added)
	}
}

// addCounts adds for each contender what was counted in all its turns. The first one's is to be 0.
func addCounts(r *report, what string, contenders []contender, outcomes map[contender][]outcome, counted string, of func(outcome) int) {
	for i, by := range contenders {
		sum := 0
		for _, each := range outcomes[by] {
			sum += of(each)
		}
		wanted := goalless
		if i == 0 {
			wanted = atMost(0)
		}
		if len(outcomes[by]) > 0 {
			r.add(fmt.Sprintf("%s: %s in all its turns, %s", what, counted, by.name()), float64(sum), "", wanted)
		}
	}
}
