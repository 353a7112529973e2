package devenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/queuebinding/queuebinding/hack/devenv/machine"
)

// Options choose what [Run] runs.
type Options struct {
	Layout Layout
	// Dir is the state directory. It has to be new, empty, or that of an ended environment.
	Dir string
	// Groups are the chosen groups, as [ParseGroups] returns them.
	Groups []string
	// Fast gives up durability for speed.
	Fast bool
	// Node runs Pods; by default they are simulated.
	Node Node
	// Log gets one line for each thing that happens.
	Log io.Writer
}

// startTimeout bounds how long one part may take until it answers, on a machine that is busy with a build.
const startTimeout = 3 * time.Minute

// portAttempts bounds how often a part is started again because its port was taken meanwhile.
const portAttempts = 5

// Supervisor runs the parts of one environment.
type Supervisor struct {
	options Options
	env     *Environment
	spawner *spawner
	started time.Time

	mu       sync.Mutex
	children []*child // in the order of their start
	ready    bool
	id       Process
}

// Run starts the chosen parts, calls ready once all of them answer, and ends them again when ctx does. It returns an
// error if a part cannot be started; parts that end later are recorded, not restarted.
func Run(ctx context.Context, options Options, ready func(*Supervisor)) (err error) {
	if options.Node == nil || !slices.Contains(options.Groups, Nodes) {
		options.Node = SimulatedNode()
	}
	unlock, err := claim(options.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	s := &Supervisor{options: options, spawner: newSpawner(), started: time.Now()}
	defer s.spawner.close()
	if s.id, err = self(); err != nil {
		return err
	}
	// Before anything is taken, so that `down` finds who did.
	if err := s.record(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	var network Network
	if network, err = options.Node.Claim(options.Dir); err != nil {
		return err
	}
	if s.env, err = newEnvironment(options, network); err != nil {
		return err
	}
	if err := s.startAll(ctx); err != nil {
		if ctx.Err() != nil {
			s.say("Told to end before all parts were ready")
			return nil
		}
		return err
	}
	if err := s.publish(); err != nil {
		return err
	}
	s.say("Ready after %s", time.Since(s.started).Round(100*time.Millisecond))
	if ready != nil {
		ready(s)
	}
	<-ctx.Done()
	s.say("Ending")
	return nil
}

// claim takes the state directory for this process and clears away what an ended environment left in it.
func claim(dir string) (unlock func(), err error) {
	if err := adopt(dir); err != nil {
		return nil, err
	}
	unlock, err = lockFile(filepath.Join(dir, lockName), false)
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("another supervisor runs in %s", dir)
	}
	if err != nil {
		return nil, err
	}
	report, err := Inspect(dir)
	if err == nil && report.Condition != Down {
		err = fmt.Errorf("parts of an earlier environment still run in %s: end them with `devenvctl down`", dir)
	}
	if err == nil {
		err = machine.Release(dir)
	}
	if err == nil {
		err = emptyStateDir(dir, markerFile, lockName, supervisorLog)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, logsDir), 0o700)
	}
	if err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// nodeKind is what runs Pods, or nothing.
func (s *Supervisor) nodeKind() NodeKind {
	if !slices.Contains(s.options.Groups, Nodes) {
		return ""
	}
	return s.options.Node.Kind()
}

func (s *Supervisor) file(name string) string { return filepath.Join(s.options.Dir, name) }

func (s *Supervisor) say(format string, args ...any) {
	if s.options.Log != nil {
		fmt.Fprintf(s.options.Log, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
	}
}

// startAll starts independent parts side by side: the queue beside the control plane, then all that only need the latter,
// then the neighbours.
func (s *Supervisor) startAll(ctx context.Context) error {
	first := [][]Part{}
	if s.env.has(ControlPlane) {
		first = append(first, []Part{etcdPart(), apiServerPart()})
	}
	if s.env.has(Queue) {
		first = append(first, []Part{queuePart()})
	}
	second := [][]Part{}
	if s.env.has(Controllers) {
		second = append(second, []Part{controllerManagerPart()})
	}
	if s.env.has(Scheduler) {
		second = append(second, []Part{schedulerPart()})
	}
	if s.env.has(Nodes) {
		second = append(second, s.options.Node.Parts())
	}
	third := [][]Part{}
	machines := false
	for _, n := range neighbours {
		if s.env.has(n.name) {
			third = append(third, []Part{n.part()})
			machines = machines || n.machines
		}
	}
	if machines && s.options.Node.Kind() != Simulated {
		second = append(second, simulated{}.Parts())
	}
	for _, chains := range [][][]Part{first, second, third} {
		if err := s.startChains(ctx, chains); err != nil {
			return err
		}
	}
	return nil
}

// startChains starts the parts of each chain one after the other, and the chains side by side.
func (s *Supervisor) startChains(ctx context.Context, chains [][]Part) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, len(chains))
	for _, chain := range chains {
		go func() {
			for _, part := range chain {
				if err := s.startPart(ctx, part); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	var first error
	for range chains {
		if err := <-failed; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

// startPart starts a part for the first time, on another port when the first one was taken.
func (s *Supervisor) startPart(ctx context.Context, part Part) error {
	c := &child{part: part, logFile: s.env.file(logsDir, part.Name+".log"), status: PartStarting}
	s.mu.Lock()
	s.children = append(s.children, c)
	s.mu.Unlock()
	if part.Before != nil {
		before, cancel := context.WithTimeout(ctx, startTimeout)
		defer cancel()
		if err := part.Before(before, s.env); err != nil {
			return err
		}
	}
	for attempt := 1; ; attempt++ {
		command, err := part.Prepare(s.env)
		if err != nil {
			return fmt.Errorf("preparing %s: %w", part.Name, err)
		}
		c.command = command
		begun := time.Now()
		err = s.launch(c)
		if err == nil {
			err = s.awaitReady(ctx, c)
		}
		if err == nil {
			s.say("%s ready after %s", part.Name, time.Since(begun).Round(100*time.Millisecond))
			return nil
		}
		if attempt == portAttempts || ctx.Err() != nil || !c.portTaken() {
			return err
		}
		s.say("The port of %s was taken meanwhile; trying another", part.Name)
		if err := s.kill(c); err != nil {
			return err
		}
	}
}

// launch starts the process of a part and records it.
func (s *Supervisor) launch(c *child) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	cmd, err := c.run(s.spawner, s.options.Dir)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	c.status, c.detail, c.wanted, c.ended = PartStarting, "", false, ended
	c.process, err = Identify(cmd.Process.Pid)
	if err != nil {
		// It may be gone already; whoever waits for it hears why.
		c.process = Process{PID: cmd.Process.Pid}
	}
	go func() {
		result := cmd.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		defer close(ended)
		if c.wanted {
			return
		}
		c.status, c.detail = PartExited, "ended"
		if result != nil {
			c.detail = result.Error()
		}
		s.say("%s ended unexpectedly: %s (log: %s)", c.part.Name, c.detail, c.logFile)
		if err := s.recordLocked(); err != nil {
			s.say("%v", err)
		}
	}()
	return s.recordLocked()
}

// awaitReady asks until the part answers, its process ends, or the time is over.
func (s *Supervisor) awaitReady(ctx context.Context, c *child) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.part.Ready(ctx, s.env)
		// Somebody else on its port may have answered in the part's place.
		if err == nil && !closed(c.ended) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if c.status == PartStarting {
				c.status = PartRunning
			}
			return s.recordLocked()
		}
		select {
		case <-c.ended:
			return fmt.Errorf("%s ended while starting; its log %s ends with:\n%s", c.part.Name, c.logFile, lastLines(c.said(), 10))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %w", c.part.Name, ctx.Err(), err)
		case <-tick.C:
		}
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// kill ends a part at once and waits until it is gone.
func (s *Supervisor) kill(c *child) error { return s.endChild(c, 0) }

func (s *Supervisor) endChild(c *child, grace time.Duration) error {
	s.mu.Lock()
	c.wanted = true
	ended, process := c.ended, c.process
	s.mu.Unlock()
	if ended == nil || closed(ended) {
		return nil
	}
	if grace > 0 {
		if err := errors.Join(process.Signal(syscall.SIGTERM), process.Signal(syscall.SIGCONT)); err != nil {
			return err
		}
		select {
		case <-ended:
		case <-time.After(grace):
			s.say("%s takes longer than %s to end; killing it", c.part.Name, grace)
		}
	}
	if err := process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-ended
	return nil
}

// end ends all parts: first what uses the API server, then that, then its store.
func (s *Supervisor) end() error {
	s.mu.Lock()
	s.ready = false
	children := append([]*child{}, s.children...)
	s.mu.Unlock()
	failure := os.Remove(s.file(accessFile))
	if os.IsNotExist(failure) {
		failure = nil
	}
	var order [3][]*child
	for _, c := range children {
		switch c.part.Name {
		case "etcd":
			order[2] = append(order[2], c)
		case "kube-apiserver":
			order[1] = append(order[1], c)
		default:
			order[0] = append(order[0], c)
		}
	}
	for _, step := range order {
		errs := make(chan error, len(step))
		for _, c := range step {
			go func() { errs <- s.endChild(c, grace(s.options.Fast)) }()
		}
		for range step {
			failure = errors.Join(failure, <-errs)
		}
	}
	failure = errors.Join(failure, machine.Release(s.options.Dir))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range children {
		c.status = PartStopped
	}
	return errors.Join(failure, s.recordLocked())
}

// publish writes what clients need, last of all the marker that says so.
func (s *Supervisor) publish() error {
	access := Access{
		Kubeconfig:     s.env.kubeconfig(),
		SQSEndpoint:    s.env.queueURL,
		PodSQSEndpoint: s.env.podQueueURL(),
		Node:           s.nodeKind(),
	}
	vars := append(variables(access), s.env.neighbourVariables()...)
	// Last what `make build` builds: kubectl finds its plugin there.
	path := []string{filepath.Dir(s.env.Layout.Asset("kubectl")), s.env.Layout.Tools, filepath.Join(s.env.Layout.Root, "bin")}
	if err := writeFile(s.env.file(envFile), []byte(envScript(vars, path))); err != nil {
		return err
	}
	s.mu.Lock()
	s.ready = true
	err := s.recordLocked()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	access.Env = environ(vars, path)
	return writeJSON(s.env.file(accessFile), access)
}

func (s *Supervisor) record() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recordLocked()
}

func (s *Supervisor) recordLocked() error {
	state := State{Supervisor: s.id, Ready: s.ready, Groups: s.options.Groups, Node: s.nodeKind()}
	for _, c := range s.children {
		state.Parts = append(state.Parts, PartState{
			Name: c.part.Name, Process: c.process, Status: c.status, Address: c.command.Address, Detail: c.detail, Log: c.logFile,
		})
	}
	return writeJSON(s.file(stateFile), state)
}
