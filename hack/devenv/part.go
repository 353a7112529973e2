package devenv

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Part is one process of an environment.
type Part struct {
	// Name is what users and the record call it.
	Name string
	// Before, where there is one, does once what the part needs before its first start.
	Before func(context.Context, *Environment) error
	// Prepare chooses addresses, writes configuration and returns what to run. It is called again, for another port,
	// when the first one was taken meanwhile.
	Prepare func(*Environment) (Command, error)
	// Ready returns nil once the part answers. It is called until then.
	Ready func(context.Context, *Environment) error
}

// Command is what to run for a part.
type Command struct {
	Path string
	Args []string
	// Env is added to the supervisor's own environment.
	Env []string
	// Address is shown to users.
	Address string
}

// Environment is what the parts of one running environment know of each other.
type Environment struct {
	// Layout is where the programs are.
	Layout Layout
	// Dir is the state directory.
	Dir string
	// Fast gives up durability for speed.
	Fast bool
	// Groups are the chosen groups.
	Groups []string

	ports        ports
	network      Network
	certificates *certificates
	etcdURL      string
	apiURL       string
	queueURL     string
	addresses    sync.Map     // by part, of those that only their own readiness check asks
	http         *http.Client // trusts our own authority only
}

func newEnvironment(options Options, network Network) (*Environment, error) {
	env := &Environment{Layout: options.Layout, Dir: options.Dir, Fast: options.Fast, Groups: options.Groups, network: network}
	var err error
	if env.certificates, err = newCertificates(env.file("pki"), network); err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(env.certificates.ca.pair.certPEM) {
		return nil, errors.New("reading back our own certificate authority")
	}
	admin, err := tls.X509KeyPair(env.certificates.admin.certPEM, env.certificates.admin.keyPEM)
	if err != nil {
		return nil, fmt.Errorf("reading back the admin's certificate: %w", err)
	}
	env.http = &http.Client{
		Timeout: 2 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{admin}},
			// A part that was restarted must not be judged by a connection to its predecessor.
			DisableKeepAlives: true,
		},
	}
	return env, nil
}

func (e *Environment) file(elements ...string) string {
	return filepath.Join(append([]string{e.Dir}, elements...)...)
}

// address returns where a part serves that is started side by side with others.
func (e *Environment) address(part string) string {
	address, _ := e.addresses.Load(part)
	url, _ := address.(string)
	return url
}

func (e *Environment) has(group string) bool { return slices.Contains(e.Groups, group) }

// kubeconfig is the admin's, or nothing where there is no API server.
func (e *Environment) kubeconfig() string {
	if !e.has(ControlPlane) {
		return ""
	}
	return e.file(kubeconfigFile)
}

// client returns a client with an admin's rights.
func (e *Environment) client() (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", e.kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("reading the admin's kubeconfig: %w", err)
	}
	config.Timeout = 5 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return client, nil
}

// answers asks url and returns nil if the answer is 200 and holds want.
func (e *Environment) answers(ctx context.Context, url, want string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("asking %s: %w", url, err)
	}
	response, err := e.http.Do(request)
	if err != nil {
		return fmt.Errorf("asking %s: %w", url, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("asking %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
		return fmt.Errorf("%s answered %s: %s", url, response.Status, lastLines(string(body), 5))
	}
	return nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
