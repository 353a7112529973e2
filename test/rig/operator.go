package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/queuebinding/queuebinding/test/faultproxy"
	"github.com/queuebinding/queuebinding/test/process"
)

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

// StartOperator starts a program on a way. Processes on ways of the same name share a log, one after the other.
func (c *Cluster) StartOperator(program string, way *Way, args ...string) (*process.Process, error) {
	command := exec.Command(program, append([]string{"--metrics-bind-address=0", "--health-probe-bind-address=0", "--zap-devel"}, args...)...)
	command.Env = way.env
	return process.Start(command, filepath.Join(c.Work, way.name+".log"))
}
