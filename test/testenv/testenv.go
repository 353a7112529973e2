// Package testenv gives a test a real API server, and where it asks for them controllers, nodes, which are simulated
// unless it asks for a real one, and an SQS emulator. It runs the development environment's supervisor as a child process: everything ends with the test process,
// however that ends.
package testenv

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// What Options.Parts may hold.
const (
	ControlPlane = "control-plane" // etcd and kube-apiserver
	Controllers  = "controllers"   // kube-controller-manager
	Scheduler    = "scheduler"     // kube-scheduler
	Node         = "node"          // two simulated nodes, or a real one
	Queue        = "queue"         // the SQS emulator

	All = "all" // those above

	// Neighbours run only where they are named, and have a process of their name.
	Karpenter = "karpenter"
	Kueue     = "kueue"
	KEDA      = "keda"

	// Prometheus and Alertmanager are neighbours, too. The first sends alerts to the second where both run; what it scrapes
	// and evaluates beside the API server is put into scrape/ and rules/ of PrometheusDir. Their addresses are the
	// variables PROMETHEUS_URL and ALERTMANAGER_URL.
	Prometheus   = "prometheus"
	Alertmanager = "alertmanager"
)

// Processes that StopPart and the like take besides Queue.
const (
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	KubeScheduler     = "kube-scheduler"
	Etcd              = "etcd"
	Kubelet           = "kubelet"    // of a real node
	Containerd        = "containerd" // of a real node
)

// What devenvctl calls nodes.
const (
	simulated = "simulated"
	realNode  = "real"
)

// Options choose what Start starts.
type Options struct {
	// Parts are what to run and, by themselves, what they need: all but the queue need the control plane. Default: All.
	Parts []string
	// RealNode asks for a node whose Pods have containers; see [NeedContainers]. Default: two simulated ones.
	RealNode bool
	// Timeout bounds Start, builds of missing programs included. Default: 30 minutes.
	Timeout time.Duration
	// Log gets what the supervisor says, builds included. Default: only a failed Start tells of it.
	Log io.Writer
}

// Environment is a running environment. It is safe for concurrent use.
type Environment struct {
	// Config is an administrator's, without a client-side rate limit; nil without a control plane.
	Config *rest.Config
	// Kubeconfig is the path of the same for other programs; empty without a control plane.
	Kubeconfig string
	// SQSEndpoint is the emulator's URL; empty without a queue.
	SQSEndpoint string
	// Env are KEY=VALUE pairs that lead other programs here: KUBECONFIG, AWS_* and a PATH with kubectl and sqs in front.
	Env []string
	// Dir holds the state, below it logs/ and audit.log. Stop removes it, unless TESTENV_KEEP is set.
	Dir string

	supervisor *exec.Cmd
	stdin      io.WriteCloser
	ended      chan struct{}
	result     error // of the supervisor, once ended is closed
	root, log  string

	mu      sync.Mutex
	answers *bufio.Reader
	stop    sync.Once
	stopErr error
}

// Start starts an environment on free ports and returns once all its parts answer.
func Start(options Options) (*Environment, error) {
	if options.Timeout == 0 {
		options.Timeout = 30 * time.Minute
	}
	program, err := buildSupervisor()
	if err != nil {
		return nil, err
	}
	root, err := os.MkdirTemp("", "testenv-")
	if err != nil {
		return nil, fmt.Errorf("making a temporary directory: %w", err)
	}
	e := &Environment{
		Dir:   filepath.Join(root, "state"),
		root:  root,
		log:   filepath.Join(root, "devenvctl.log"),
		ended: make(chan struct{}),
	}
	if err := e.run(program, options); err != nil {
		return nil, errors.Join(err, os.RemoveAll(root))
	}
	if err := e.awaitReady(options.Timeout); err != nil {
		// Read before Stop removes it.
		said := tail(e.log)
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, said), e.Stop())
	}
	return e, nil
}

func (e *Environment) run(program string, options Options) error {
	log, err := os.Create(e.log)
	if err != nil {
		return fmt.Errorf("making the supervisor's log: %w", err)
	}
	args := []string{"run", "--stop-with-stdin", "--fast", "--dir", e.Dir, "--node", simulated}
	if options.RealNode {
		args[len(args)-1] = realNode
	}
	if len(options.Parts) > 0 {
		args = append(args, "--parts", strings.Join(options.Parts, ","))
	}
	cmd := exec.Command(program, args...)
	cmd.Stderr = log
	if options.Log != nil {
		cmd.Stderr = io.MultiWriter(log, options.Log)
	}
	// Ctrl-C is for the test; the supervisor ends after it, in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return errors.Join(fmt.Errorf("connecting to the supervisor: %w", err), log.Close())
	}
	// Not StdoutPipe, which Wait closes under its reader.
	answers, stdout, err := os.Pipe()
	if err != nil {
		return errors.Join(fmt.Errorf("connecting to the supervisor: %w", err), log.Close())
	}
	cmd.Stdout = stdout
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("starting the supervisor: %w", err), log.Close(), answers.Close(), stdout.Close())
	}
	e.supervisor, e.stdin, e.answers = cmd, stdin, bufio.NewReader(answers)
	go func() {
		defer close(e.ended)
		// Ours is closed first, so that a reader of answers sees the end when the supervisor does not answer any more.
		closed := stdout.Close()
		e.result = errors.Join(cmd.Wait(), closed, log.Close())
	}()
	return nil
}

func (e *Environment) awaitReady(timeout time.Duration) error {
	deadline := time.After(timeout)
	for {
		data, err := os.ReadFile(filepath.Join(e.Dir, "ready.json"))
		if err == nil {
			return e.connect(data)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("waiting for the environment: %w", err)
		}
		select {
		case <-e.ended:
			return errors.New("the environment's supervisor ended before all was ready")
		case <-deadline:
			return fmt.Errorf("the environment was not ready after %s", timeout)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (e *Environment) connect(data []byte) error {
	var access struct {
		Kubeconfig, SQSEndpoint string
		Env                     []string
	}
	if err := json.Unmarshal(data, &access); err != nil {
		return fmt.Errorf("reading what the supervisor wrote: %w", err)
	}
	e.Kubeconfig, e.SQSEndpoint, e.Env = access.Kubeconfig, access.SQSEndpoint, access.Env
	if e.Kubeconfig == "" {
		return nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", e.Kubeconfig)
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.QPS = -1
	e.Config = config
	return nil
}

// Variable returns the value of a variable in Env, or nothing.
func (e *Environment) Variable(name string) string {
	for _, pair := range e.Env {
		if value, found := strings.CutPrefix(pair, name+"="); found {
			return value
		}
	}
	return ""
}

// PrometheusDir is the directory with Prometheus' configuration.
func (e *Environment) PrometheusDir() string { return filepath.Join(e.Dir, Prometheus) }

// StopPart kills a process, as a crash would: APIServer, Queue, …. Clients find its port closed. What etcd holds stays,
// what the queue holds is lost.
func (e *Environment) StopPart(name string) error { return e.tell("stop", name) }

// StartPart starts a stopped process again, on the same port, and returns once it answers. More arguments, without blanks,
// follow those that it has by itself, this time.
func (e *Environment) StartPart(name string, args ...string) error {
	return e.tell("start", name, args...)
}

// PausePart halts a process without ending it: clients still connect, and wait. What the queue holds stays.
func (e *Environment) PausePart(name string) error { return e.tell("pause", name) }

// ResumePart lets a paused process go on.
func (e *Environment) ResumePart(name string) error { return e.tell("resume", name) }

func (e *Environment) tell(verb, name string, args ...string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := fmt.Fprintln(e.stdin, verb, name, strings.Join(args, " ")); err != nil {
		return fmt.Errorf("telling the supervisor to %s %s: %w", verb, name, err)
	}
	answer, err := e.answers.ReadString('\n')
	if err != nil {
		return fmt.Errorf("telling the supervisor to %s %s: %w", verb, name, err)
	}
	if answer = strings.TrimSpace(answer); answer != "ok" {
		return fmt.Errorf("%s %s: %s", verb, name, strings.TrimPrefix(answer, "error: "))
	}
	return nil
}

// stopTimeout bounds how long the supervisor may take to end its parts.
const stopTimeout = time.Minute

// Stop ends all processes and removes the state. Calling it again is harmless.
func (e *Environment) Stop() error {
	e.stop.Do(func() { e.stopErr = e.end() })
	return e.stopErr
}

func (e *Environment) end() error {
	// It may have ended already, and its end of the pipe with it.
	_ = e.stdin.Close()
	var failure error
	select {
	case <-e.ended:
		if e.result != nil {
			failure = fmt.Errorf("ending the environment: %w\n%s", e.result, tail(e.log))
		}
	case <-time.After(stopTimeout):
		failure = errors.Join(fmt.Errorf("the environment did not end within %s\n%s", stopTimeout, tail(e.log)), e.supervisor.Process.Kill())
		<-e.ended
	}
	if failure != nil {
		failure = errors.Join(failure, e.clear())
	}
	if os.Getenv("TESTENV_KEEP") != "" {
		return failure
	}
	if err := os.RemoveAll(e.root); err != nil {
		failure = errors.Join(failure, fmt.Errorf("removing the environment's state: %w", err))
	}
	return failure
}

// tail returns the last lines of a log.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}
