package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/queuebinding/queuebinding/test/faultproxy"
)

// Operator is the operator as a process, which finds its servers through proxies of its own.
type Operator struct {
	// Log is where its output goes. Processes of the same name share it, one after the other.
	Log string

	process *exec.Cmd
	ended   chan struct{}
}

// Way is the way from an operator to its servers.
type Way struct {
	name, kubeconfig string
	env              []string
	proxies          []*faultproxy.Proxy
}

// OpenWay starts the two proxies of an operator. With a namespace the operator sees only that one.
func (c *Cluster) OpenWay(name, namespace string, decide faultproxy.Decide) (*Way, error) {
	kubernetes, err := faultproxy.Kubernetes(c.Config, namespace, decide)
	if err != nil {
		return nil, err
	}
	sqs, err := faultproxy.SQS(c.SQSEndpoint, decide)
	if err != nil {
		return nil, errors.Join(err, kubernetes.Close())
	}
	way := &Way{name: name, kubeconfig: filepath.Join(c.Work, name+".kubeconfig"), proxies: []*faultproxy.Proxy{kubernetes, sqs}}
	config := clientcmdapi.NewConfig()
	config.Clusters["proxy"] = &clientcmdapi.Cluster{Server: kubernetes.URL}
	config.Contexts["proxy"] = &clientcmdapi.Context{Cluster: "proxy"}
	config.CurrentContext = "proxy"
	if err := clientcmd.WriteToFile(*config, way.kubeconfig); err != nil {
		return nil, errors.Join(fmt.Errorf("writing a kubeconfig: %w", err), way.Close())
	}
	// Later entries win.
	way.env = append(append(os.Environ(), c.Env...), "KUBECONFIG="+way.kubeconfig, "AWS_ENDPOINT_URL_SQS="+sqs.URL)
	return way, nil
}

// DirectWay leads an operator to its servers without proxies, which would cost time. More of the environment wins over
// what the cluster says.
func (c *Cluster) DirectWay(name string, more ...string) *Way {
	return &Way{name: name, env: slices.Concat(os.Environ(), c.Env, more)}
}

// Close ends the proxies.
func (w *Way) Close() error {
	var errs []error
	for _, proxy := range w.proxies {
		errs = append(errs, proxy.Close())
	}
	return errors.Join(errs...)
}

// StartOperator starts a program on a way.
func (c *Cluster) StartOperator(program string, way *Way, args ...string) (*Operator, error) {
	path := filepath.Join(c.Work, way.name+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening an operator's log: %w", err)
	}
	defer log.Close() // the process has its own handle
	command := exec.Command(program, append([]string{"--metrics-bind-address=0", "--health-probe-bind-address=0", "--zap-devel"}, args...)...)
	command.Env = way.env
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = childAttributes()
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting the operator: %w", err)
	}
	fmt.Fprintf(log, "--- process %d\n", command.Process.Pid)
	started := &Operator{Log: path, process: command, ended: make(chan struct{})}
	go func() {
		_ = command.Wait() // how it ended is read from the command
		close(started.ended)
	}()
	return started, nil
}

// Kill ends the operator as a crash does, and waits for its end. It may have ended before.
func (o *Operator) Kill() {
	_ = o.process.Process.Signal(syscall.SIGKILL)
	<-o.ended
}

// Terminate ends the operator as Kubernetes does, and does not wait for its end.
func (o *Operator) Terminate() error { return o.process.Process.Signal(syscall.SIGTERM) }

// PID is the operator's process ID.
func (o *Operator) PID() int { return o.process.Process.Pid }

// Freeze halts the operator without ending it, as a suspended machine does.
func (o *Operator) Freeze() error { return o.process.Process.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen operator go on.
func (o *Operator) Thaw() error { return o.process.Process.Signal(syscall.SIGCONT) }

// Ended is closed when the operator has ended.
func (o *Operator) Ended() <-chan struct{} { return o.ended }
