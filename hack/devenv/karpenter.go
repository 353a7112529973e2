package devenv

import "strconv"

// karpenter adds nodes for Pods that found no room and takes them away again when they are empty, by its own controllers
// and a cloud of simulated machines. kwok plays those whose NodePool gives them [simulatedLabel].
//
// Its two ports are open on all of the machine's addresses: it knows no other way.
var karpenter = neighbour{
	name:      "karpenter",
	module:    "sigs.k8s.io/karpenter",
	program:   "kwok",
	crds:      []string{"pkg/apis/crds", "kwok/apis/crds"},
	minutes:   2,
	needs:     []string{Controllers, Scheduler, Nodes},
	machines:  true,
	readiness: "/readyz",
	command: func(env *Environment, probe int) (Command, error) {
		metrics, err := env.ports.next()
		if err != nil {
			return Command{}, err
		}
		return Command{Env: []string{
			"SYSTEM_NAMESPACE=kube-system",
			"CLUSTER_NAME=devenv",
			"DISABLE_LEADER_ELECTION=true",
			"HEALTH_PROBE_PORT=" + strconv.Itoa(probe),
			"METRICS_PORT=" + strconv.Itoa(metrics),
			// By default it collects pending Pods for up to ten seconds, as machines cost money.
			"BATCH_IDLE_DURATION=1s",
			"BATCH_MAX_DURATION=2s",
		}}, nil
	},
}
