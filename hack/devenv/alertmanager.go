package devenv

import "fmt"

// alertmanagerConfiguration notifies nobody: its API shows what fires.
const alertmanagerConfiguration = `route:
  receiver: nobody
  group_by: [alertname, namespace, name]
  group_wait: 0s
receivers:
- name: nobody
`

// alertmanager takes Prometheus' alerts.
var alertmanager = neighbour{
	name:      "alertmanager",
	module:    "github.com/prometheus/alertmanager",
	program:   "cmd/alertmanager",
	minutes:   1,
	readiness: "/-/ready",
	variable:  "ALERTMANAGER_URL",
	command: func(env *Environment, probe int) (Command, error) {
		config := env.file("alertmanager.yml")
		if err := writeFile(config, []byte(alertmanagerConfiguration)); err != nil {
			return Command{}, err
		}
		if err := writeFile(env.alertmanagers(), fmt.Appendf(nil, `[{"targets": [%q]}]`, loopback(probe))); err != nil {
			return Command{}, err
		}
		return Command{Args: []string{
			"--config.file=" + config,
			"--storage.path=" + env.file("alertmanager"),
			"--web.listen-address=" + loopback(probe),
			"--cluster.listen-address=", // there is one
			"--log.level=warn",
		}}, nil
	},
}
