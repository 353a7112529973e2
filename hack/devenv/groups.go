package devenv

import (
	"fmt"
	"slices"
	"strings"
)

// Groups of parts that can be chosen. Those of [neighbours] come beside them.
const (
	ControlPlane = "control-plane" // etcd and kube-apiserver
	Controllers  = "controllers"   // kube-controller-manager
	Scheduler    = "scheduler"     // kube-scheduler
	Nodes        = "node"          // what runs Pods
	Queue        = "queue"         // the SQS emulator
)

// allGroups are what "all" stands for: neighbours run only where they are named.
var allGroups = []string{ControlPlane, Controllers, Scheduler, Nodes, Queue}

// GroupNames returns what can be chosen, in the order of the start.
func GroupNames() []string {
	names := slices.Clone(allGroups)
	for _, n := range neighbours {
		names = append(names, n.name)
	}
	return names
}

// ParseGroups returns the chosen groups and those that they need, in the order of their start. Nothing, or "all", is all
// but the neighbours, which can be named beside it.
func ParseGroups(names []string) ([]string, error) {
	if len(names) == 0 {
		names = []string{"all"}
	}
	known := GroupNames()
	var chosen []string
	for _, name := range names {
		n, _ := findNeighbour(name)
		switch {
		case name == "all":
			chosen = append(chosen, allGroups...)
			continue
		case !slices.Contains(known, name):
			return nil, fmt.Errorf("there is no part %q: choose of %s or all", name, strings.Join(known, ", "))
		case name != Queue:
			chosen = append(chosen, ControlPlane)
		}
		chosen = append(append(chosen, n.needs...), name)
	}
	return slices.DeleteFunc(known, func(name string) bool { return !slices.Contains(chosen, name) }), nil
}
