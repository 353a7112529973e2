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

// Endpoints are what an operator is given to find the API server and SQS.
type Endpoints struct {
	name, kubeconfig string
	env              []string
	proxies          []*faultproxy.Proxy
}

// ProxiedEndpoints starts the two proxies of an operator. With a namespace the operator sees only that one.
func (c *Cluster) ProxiedEndpoints(name, namespace string, decide faultproxy.Decide) (*Endpoints, error) {
	kubernetes, err := faultproxy.Kubernetes(c.Config, namespace, decide)
	if err != nil {
		return nil, err
	}
	sqs, err := faultproxy.SQS(c.SQSEndpoint, decide)
	if err != nil {
		return nil, errors.Join(err, kubernetes.Close())
	}
	endpoints := &Endpoints{name: name, kubeconfig: filepath.Join(c.Work, name+".kubeconfig"), proxies: []*faultproxy.Proxy{kubernetes, sqs}}
	config := clientcmdapi.NewConfig()
	config.Clusters["proxy"] = &clientcmdapi.Cluster{Server: kubernetes.URL}
	config.Contexts["proxy"] = &clientcmdapi.Context{Cluster: "proxy"}
	config.CurrentContext = "proxy"
	if err := clientcmd.WriteToFile(*config, endpoints.kubeconfig); err != nil {
		return nil, errors.Join(fmt.Errorf("writing a kubeconfig: %w", err), endpoints.Close())
	}
	// Later entries win.
	endpoints.env = append(append(os.Environ(), c.Env...), "KUBECONFIG="+endpoints.kubeconfig, "AWS_ENDPOINT_URL_SQS="+sqs.URL)
	return endpoints, nil
}

// DirectEndpoints lead an operator to its servers without proxies, which would cost time. More of the environment wins over
// what the cluster says.
func (c *Cluster) DirectEndpoints(name string, more ...string) *Endpoints {
	return &Endpoints{name: name, env: slices.Concat(os.Environ(), c.Env, more)}
}

// Close ends the proxies.
func (e *Endpoints) Close() error {
	var errs []error
	for _, proxy := range e.proxies {
		errs = append(errs, proxy.Close())
	}
	return errors.Join(errs...)
}

// StartOperator starts a program. Processes whose endpoints have the same name share a log.
func (c *Cluster) StartOperator(program string, endpoints *Endpoints, args ...string) (*process.Process, error) {
	command := exec.Command(program, append([]string{"--metrics-bind-address=0", "--health-probe-bind-address=0", "--zap-devel"}, args...)...)
	command.Env = endpoints.env
	return process.Start(command, filepath.Join(c.Work, endpoints.name+".log"))
}
