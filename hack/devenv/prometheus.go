package devenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// prometheusConfiguration scrapes the API server. Whoever uses it puts files into the two directories beside it, and has it
// read them by a POST to /-/reload. The Alertmanager is there where its group was chosen, too.
const prometheusConfiguration = `global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: [%[1]q]
scrape_config_files: [%[2]q]
scrape_configs:
- job_name: apiserver
  scheme: https
  static_configs: [{targets: [%[3]q]}]
  tls_config: {ca_file: %[4]q, cert_file: %[5]q, key_file: %[6]q}
  # It has thousands of series that nobody here asks for.
  metric_relabel_configs:
  - {source_labels: [__name__], regex: aggregator_unavailable_apiservice, action: keep}
alerting:
  alertmanagers:
  - file_sd_configs: [{files: [%[7]q], refresh_interval: 1s}]
`

// prometheus scrapes, evaluates rules and tells the Alertmanager of alerts. promtool stands beside it.
var prometheus = neighbour{
	name:      "prometheus",
	module:    "github.com/prometheus/prometheus",
	program:   "cmd/prometheus",
	tools:     []string{"cmd/promtool"},
	tags:      "remove_all_sd", // discovery in all clouds is most of it
	minutes:   4,
	readiness: "/-/ready",
	variable:  "PROMETHEUS_URL",
	command: func(env *Environment, probe int) (Command, error) {
		dir := env.file("prometheus")
		config := filepath.Join(dir, "prometheus.yml")
		certs := env.certificates
		err := errors.Join(
			os.MkdirAll(filepath.Join(dir, "rules"), 0o700),
			os.MkdirAll(filepath.Join(dir, "scrape"), 0o700))
		if err != nil {
			return Command{}, fmt.Errorf("making Prometheus' directories: %w", err)
		}
		err = writeFile(config, fmt.Appendf(nil, prometheusConfiguration,
			filepath.Join(dir, "rules", "*.yaml"), filepath.Join(dir, "scrape", "*.yaml"), env.apiURL[len("https://"):],
			certs.ca.pair.certFile, certs.admin.certFile, certs.admin.keyFile, env.alertmanagers()))
		if err != nil {
			return Command{}, err
		}
		return Command{Args: []string{
			"--config.file=" + config,
			"--storage.tsdb.path=" + filepath.Join(dir, "data"),
			"--web.listen-address=" + loopback(probe),
			"--web.enable-lifecycle",
			"--log.level=warn",
		}}, nil
	},
}

// alertmanagers is the file by which Prometheus finds the Alertmanager, which is started side by side.
func (e *Environment) alertmanagers() string { return e.file("alertmanagers.json") }
