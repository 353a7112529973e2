package observe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/api"
	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/queuebinding/queuebinding/test/faultproxy"
	"github.com/queuebinding/queuebinding/test/process"
	"github.com/queuebinding/queuebinding/test/rig"
	"github.com/queuebinding/queuebinding/test/testenv"
)

const (
	namespace = "observed"
	// hurry is what the durations in the rules are divided by.
	hurry = 60
	// reader is the ServiceAccount that Prometheus scrapes as.
	reader = "prometheus"
	// scrapeConfig is what config/prometheus/monitor.yaml comes to here.
	scrapeConfig = `scrape_configs:
- job_name: queuebinding-controller-manager-metrics-service
  scheme: https
  honor_labels: true
  always_scrape_classic_histograms: true
  authorization: {credentials_file: %q}
  tls_config: {insecure_skip_verify: true}
  static_configs: [{targets: [%q], labels: {namespace: queuebinding-system}}]
`
)

// Stage is a cluster with an operator, the server of the requeue subresource, a Prometheus that scrapes the first by its
// authenticated endpoint, and an Alertmanager.
type Stage struct {
	// Prometheus is asked for what was scraped and evaluated.
	Prometheus prometheus.API
	// Rules are those that Prometheus evaluates, in a hurry.
	Rules *Rules
	// Began is when there was something to scrape.
	Began time.Time

	cluster          *rig.Cluster
	out              io.Writer
	endpoints        *rig.Endpoints
	manager, apis    string // paths of the programs
	metrics          string // address
	operator, server *process.Process
	// broken chooses requests that are cut, by their names, while it is set.
	broken atomic.Pointer[func(name string) bool]
	watch  *watch
}

// Start brings everything up. What has to be built first is told to progress.
func Start(ctx context.Context, progress, out io.Writer) (s *Stage, err error) {
	s = &Stage{out: out}
	if s.cluster, err = rig.StartCluster(ctx, progress, testenv.Prometheus, testenv.Alertmanager); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.End(true))
		}
	}()
	client, err := api.NewClient(api.Config{Address: s.PrometheusURL()})
	if err != nil {
		return s, fmt.Errorf("reaching Prometheus: %w", err)
	}
	s.Prometheus = prometheus.NewAPI(client)
	if s.Rules, err = LoadRules(s.cluster.Root); err != nil {
		return s, err
	}
	s.Rules.Hurry(hurry)
	if err := s.startPrograms(ctx); err != nil {
		return s, err
	}
	if err := s.scrape(ctx); err != nil {
		return s, err
	}
	s.watch = watchAlerts(s.cluster.Variable("ALERTMANAGER_URL"), out)
	return s, nil
}

func (s *Stage) startPrograms(ctx context.Context) error {
	if err := s.cluster.CreateNamespace(ctx, namespace); err != nil {
		return err
	}
	metrics, err := rig.FreeAddress()
	if err != nil {
		return err
	}
	s.metrics = metrics.String()
	if s.manager, err = s.cluster.Build("manager"); err != nil {
		return err
	}
	s.apis = filepath.Join(s.cluster.Work, "queuebinding-apiserver")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", s.apis, "./cmd/queuebinding-apiserver")
	build.Dir = s.cluster.Root
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the server of the subresource: %w\n%s", err, output)
	}
	s.endpoints, err = s.cluster.ProxiedEndpoints("operator", "", func(r faultproxy.Request) faultproxy.Fault {
		if broken := s.broken.Load(); broken != nil && (*broken)(r.Name) {
			return faultproxy.Fault{Kind: faultproxy.CutBefore}
		}
		return faultproxy.Fault{}
	})
	if err != nil {
		return err
	}
	return errors.Join(s.startOperator(), s.startServer())
}

// breakRequests cuts every request to SQS or to the API server of the cluster whose name is chosen, until mend.
func (s *Stage) breakRequests(chosen func(name string) bool) { s.broken.Store(&chosen) }

func (s *Stage) mend() { s.broken.Store(nil) }

func (s *Stage) startOperator() (err error) {
	s.operator, err = s.cluster.StartOperator(s.manager, s.endpoints, "--metrics-bind-address="+s.metrics)
	return err
}

// startServer starts the server of the subresource, which registers itself.
func (s *Stage) startServer() (err error) {
	command := exec.Command(s.apis, "--health-probe-bind-address=0", "--bind-address=127.0.0.1:0", "--register-locally")
	command.Env = append(os.Environ(), s.cluster.Env...)
	s.server, err = process.Start(command, filepath.Join(s.cluster.Work, "queuebinding-apiserver.log"))
	return err
}

// scrape has Prometheus scrape the operator as a ServiceAccount that may, and waits until it has. The rules come with it: without
// an operator there is an alert.
func (s *Stage) scrape(ctx context.Context) error {
	token, err := s.token(ctx)
	if err != nil {
		return err
	}
	dir := s.cluster.PrometheusDir()
	path := filepath.Join(dir, "token")
	err = errors.Join(s.Rules.Write(filepath.Join(dir, "rules", "queuebinding.yaml")), os.WriteFile(path, []byte(token), 0o600),
		os.WriteFile(filepath.Join(dir, "scrape", "queuebinding.yaml"), fmt.Appendf(nil, scrapeConfig, path, s.metrics), 0o600))
	if err != nil {
		return fmt.Errorf("configuring Prometheus: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.PrometheusURL()+"/-/reload", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("having Prometheus read its configuration: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(response.Body)
		return fmt.Errorf("having Prometheus read its configuration: %s", said)
	}
	if err := rig.Await(ctx, "a scrape of the operator", func() string { return s.none(ctx, "queuebinding_leader == 1") }); err != nil {
		return err
	}
	s.Began = time.Now()
	return nil
}

// token makes a ServiceAccount that may read the metrics, by the role that is installed for that, and returns a token of it.
func (s *Stage) token(ctx context.Context) (string, error) {
	role, err := s.readersRole(ctx)
	if err != nil {
		return "", err
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: reader},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: reader}},
	}
	if err := errors.Join(s.cluster.Client.Create(ctx, role), s.cluster.Client.Create(ctx, binding)); err != nil {
		return "", fmt.Errorf("letting %s read metrics: %w", reader, err)
	}
	return s.Account(ctx, reader)
}

// readersRole is that of config/default for those who read metrics.
func (s *Stage) readersRole(ctx context.Context) (*rbacv1.ClusterRole, error) {
	command := exec.CommandContext(ctx, "sh", "-c", "kubectl kustomize config/default")
	command.Dir, command.Env = s.cluster.Root, append(os.Environ(), s.cluster.Env...)
	manifests, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("building config/default: %w", err)
	}
	for document := range bytes.SplitSeq(manifests, []byte("\n---\n")) {
		role := &rbacv1.ClusterRole{}
		if yaml.Unmarshal(document, role) == nil && role.Kind == "ClusterRole" && role.Name == "queuebinding-metrics-reader" {
			return role, nil
		}
	}
	return nil, errors.New("config/default has no role for those who read metrics")
}

// Account makes a ServiceAccount and returns a token of it.
func (s *Stage) Account(ctx context.Context, name string) (token string, err error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	request := &authenticationv1.TokenRequest{}
	if err := s.cluster.Client.Create(ctx, account); err != nil {
		return "", fmt.Errorf("making account %s: %w", name, err)
	}
	if err := s.cluster.Client.SubResource("token").Create(ctx, account, request); err != nil {
		return "", fmt.Errorf("asking for a token of %s: %w", name, err)
	}
	return request.Status.Token, nil
}

// ScrapeAs asks for the operator's metrics with a token, or none, and returns the code of the answer.
func (s *Stage) ScrapeAs(ctx context.Context, client *http.Client, token string) (code int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+s.metrics+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("asking for metrics: %w", err)
	}
	return response.StatusCode, response.Body.Close()
}

// End ends everything, and keeps logs if told so.
func (s *Stage) End(keep bool) error {
	var errs []error
	if s.watch != nil {
		s.watch.end()
	}
	for _, each := range []*process.Process{s.operator, s.server} {
		if each != nil {
			each.Kill()
		}
	}
	if s.endpoints != nil {
		errs = append(errs, s.endpoints.Close())
	}
	return errors.Join(append(errs, s.cluster.End(keep))...)
}

// PrometheusURL is where Prometheus serves.
func (s *Stage) PrometheusURL() string { return s.cluster.Variable("PROMETHEUS_URL") }

// URLs says where things can be looked at.
func (s *Stage) URLs() string {
	return fmt.Sprintf("Prometheus    %s\nAlertmanager  %s\nKubernetes    export KUBECONFIG=%s\nlogs          %s",
		s.PrometheusURL(), s.cluster.Variable("ALERTMANAGER_URL"), s.cluster.Kubeconfig, s.cluster.Work)
}
