package crash

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/queuebinding/queuebinding/api/v1alpha1"
	"github.com/queuebinding/queuebinding/test/faultproxy"
	"github.com/queuebinding/queuebinding/test/process"
	"github.com/queuebinding/queuebinding/test/recorder"
	"github.com/queuebinding/queuebinding/test/rig"
	"github.com/queuebinding/queuebinding/test/webhook"
)

// outcome is what came of a case.
type outcome struct {
	scenario *Scenario
	at       int
	fault    Fault
	// steps are the names of the requests that counted, cut that of the one that was cut, or empty.
	steps      []string
	cut        string
	violations []string
	log        string
}

func keyOf(binding *v1alpha1.QueueBinding) types.NamespacedName {
	return client.ObjectKeyFromObject(binding)
}

// decide is the script's word on each request of the operator.
func (s *script) decide(request faultproxy.Request) faultproxy.Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.met[request.Name]++
	fault := s.broken[request.Name]
	fault.Duplicate = s.twice
	if !request.Counts || !s.armed {
		return fault
	}
	s.names = append(s.names, request.Name)
	if len(s.names) != s.at {
		return fault
	}
	// From here on the operator is as good as dead: what it does until it is, is no step.
	s.armed, s.cut = s.fault.Survive, request.Name
	fault.Kind = faultproxy.CutBefore
	if s.fault.After {
		fault.Kind = faultproxy.CutAfter
	}
	if !s.fault.Survive {
		fault.AtCut = func() {
			s.kill()
			close(s.done)
		}
	}
	return fault
}

func (s *script) arm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = true
}

// mend has requests of a name pass from now on.
func (s *script) mend(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.broken, name)
}

// hasMet reports whether the operator made a request of a name.
func (s *script) hasMet(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.met[name] > 0
}

func (s *script) seen() (names []string, cut string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.names...), s.cut
}

// play plays a scenario once, with a step broken, or none where at is 0. Its error is one of the test, not
// of the operator.
func (m *Matrix) play(ctx context.Context, scenario *Scenario, program string, at int, fault Fault) (outcome, error) {
	name := fmt.Sprintf("case-%d", m.serial.Add(1))
	result := outcome{scenario: scenario, at: at, fault: fault}
	c := &Case{Scenario: scenario, Cluster: m.Cluster, Recorder: m.Recorder, Sent: map[string]string{}, asked: make(chan struct{})}
	c.script = &script{at: at, fault: fault, twice: scenario.Twice, broken: maps.Clone(scenario.Broken), met: map[string]int{}, done: make(chan struct{})}
	endpoints, err := m.Cluster.ProxiedEndpoints(name, name, c.script.decide)
	if err != nil {
		return result, err
	}
	defer endpoints.Close()
	if scenario.Webhook != nil {
		server, err := webhook.Start(c.review)
		if err != nil {
			return result, err
		}
		defer server.Close()
		defer c.unguard(ctx, name)
		c.webhook = server
	}
	if err := c.begin(ctx, name); err != nil {
		return result, err
	}

	// Nothing may be cut before what kills it is known.
	started := make(chan *process.Process, 1)
	c.script.kill = func() {
		operator := <-started
		operator.Kill()
		started <- operator
	}
	if scenario.Prepare == nil {
		c.script.arm()
	}
	operator, err := m.Cluster.StartOperator(program, endpoints)
	if err != nil {
		return result, err
	}
	started <- operator
	result.log = operator.Log
	again := make(chan error, 1)
	settled := make(chan struct{})
	go func() { again <- m.startAgain(ctx, program, endpoints, started, c.script.done, settled) }()

	failure := c.run(ctx, cmp.Or(scenario.Timeout, m.Timeout, rig.Timeout), &result)
	close(settled)
	failure = errors.Join(failure, <-again)
	(<-started).Kill()
	result.steps, result.cut = c.script.seen()
	return result, failure
}

// startAgain starts the operator again once it was killed, and returns then or when that is not needed any more.
func (m *Matrix) startAgain(ctx context.Context, program string, endpoints *rig.Endpoints, running chan *process.Process, killed, settled <-chan struct{}) error {
	select {
	case <-killed:
	case <-settled:
		return nil
	case <-ctx.Done():
		return nil
	}
	operator, err := m.Cluster.StartOperator(program, endpoints)
	if err != nil {
		return err
	}
	<-running
	running <- operator
	return nil
}

// begin makes the namespace, the queue with its messages, and the binding.
func (c *Case) begin(ctx context.Context, name string) error {
	if err := c.Cluster.CreateNamespace(ctx, name); err != nil {
		return err
	}
	queueName := name
	if c.FIFO {
		queueName += ".fifo"
	}
	dead := ""
	if len(c.Dead) > 0 {
		dead = name + "-dead"
		var err error
		if c.DeadLetters, err = c.Cluster.CreateQueue(ctx, dead, "", 0); err != nil {
			return err
		}
		for _, body := range c.Dead {
			if _, err := c.DeadLetters.Send(ctx, body); err != nil {
				return err
			}
		}
	}
	queue, err := c.Cluster.CreateQueue(ctx, queueName, dead, 100)
	if err != nil {
		return err
	}
	c.Queue = queue
	for _, body := range c.Bodies {
		if err := c.send(ctx, body); err != nil {
			return err
		}
	}
	c.Binding = rig.Binding(name, "pings", queue.URL)
	c.Binding.Spec.Concurrency.MaxActiveJobs = &c.Limit
	if c.Keep {
		c.Binding.Spec.Acknowledge = v1alpha1.AcknowledgeOnJobSucceeded
	}
	if c.Files {
		c.Binding.Spec.Message.Delivery = v1alpha1.DeliverFile
		c.watchForSecrets(ctx, name)
	}
	if c.webhook != nil {
		if err := c.guard(ctx, name); err != nil {
			return err
		}
	}
	if err := c.Cluster.Client.Create(ctx, c.Binding); err != nil {
		return fmt.Errorf("creating the binding: %w", err)
	}
	return nil
}

// send sends a message.
func (c *Case) send(ctx context.Context, body string) error {
	id, err := c.Queue.Send(ctx, body)
	if err != nil {
		return err
	}
	c.Sent[id] = body
	c.Order = append(c.Order, id)
	return nil
}

// watchForSecrets looks for the Secret of each Job of a namespace when that is seen.
func (c *Case) watchForSecrets(ctx context.Context, namespace string) {
	c.Recorder.OnCreate(func(created recorder.Job, _ recorder.Binding, _ int) {
		if created.Namespace != namespace {
			return
		}
		err := c.Cluster.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: created.Name}, &corev1.Secret{})
		if err != nil {
			c.violate(stuck+"Job %s is there before its Secret: %v", created.Name, err)
		}
	})
}

// final reports whether a violation stays one, whatever comes: what is lost now may only be late.
func final(violation string) bool {
	return strings.HasPrefix(violation, doubled) || strings.HasPrefix(violation, limitPassed)
}

// run has happen what the scenario is, and sees what comes of it.
func (c *Case) run(ctx context.Context, timeout time.Duration, result *outcome) error {
	if c.Prepare != nil {
		if err := c.Prepare(ctx, c); err != nil {
			return fmt.Errorf("preparing %s: %w", c.Name, err)
		}
		c.script.arm()
	}
	if c.Act != nil {
		if err := c.Act(ctx, c); err != nil {
			return err
		}
	}
	err := rig.AwaitFor(ctx, timeout, "the end", func() string {
		if slices.ContainsFunc(c.Violations(ctx, c), final) {
			return ""
		}
		return c.Missing(ctx, c)
	})
	switch {
	case errors.Is(err, rig.ErrTimeout):
		result.violations = append(result.violations, stuck+err.Error())
	case err != nil:
		return err
	}
	select {
	case <-ctx.Done():
	case <-time.After(c.Linger):
	}
	// What is wrong says more than what is missing.
	result.violations = append(result.violations, c.Violations(ctx, c)...)
	return nil
}
