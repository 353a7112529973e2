package devenv

import (
	"fmt"
	"slices"
	"strings"
)

// Groups of parts that can be chosen.
const (
	ControlPlane = "control-plane" // etcd and kube-apiserver
	Controllers  = "controllers"   // kube-controller-manager
	Scheduler    = "scheduler"     // kube-scheduler
	Nodes        = "node"          // what runs Pods
	Queue        = "queue"         // the SQS emulator
)

var allGroups = []string{ControlPlane, Controllers, Scheduler, Nodes, Queue}

// ParseGroups returns the chosen groups and those that they need, in the order of their start. Nothing, or "all", is all.
func ParseGroups(names []string) ([]string, error) {
	chosen := map[string]bool{}
	for _, name := range names {
		switch {
		case name == "all":
			return allGroups, nil
		case !slices.Contains(allGroups, name):
			return nil, fmt.Errorf("there is no part %q: choose of %s or all", name, strings.Join(allGroups, ", "))
		case name != Queue:
			chosen[ControlPlane] = true
		}
		chosen[name] = true
	}
	if len(chosen) == 0 {
		return allGroups, nil
	}
	var groups []string
	for _, name := range allGroups {
		if chosen[name] {
			groups = append(groups, name)
		}
	}
	return groups, nil
}
