package devenv

import (
	"fmt"
	"strings"

	"github.com/queuebinding/queuebinding/hack/devenv/machine"
)

// NodeKind is a kind of node.
type NodeKind string

// The kinds that a user can wish for.
const (
	Auto      NodeKind = "auto"      // Real where it can run, else Simulated
	Simulated NodeKind = "simulated" // Pods only have a status
	Real      NodeKind = "real"      // Pods have containers
)

// Choice is the node that a wish led to.
type Choice struct {
	Node Node
	// Why is a sentence for the user.
	Why string
}

// ChooseNode returns the node for a wish. It fails where real containers are wished for and cannot run.
func ChooseNode(wish NodeKind) (Choice, error) {
	switch wish {
	case Simulated:
		return Choice{SimulatedNode(), "Pods are simulated, as asked for: no container runs."}, nil
	case Real, Auto:
	default:
		return Choice{}, fmt.Errorf("there is no node %q: choose one of %s, %s, %s", wish, Auto, Real, Simulated)
	}
	lacks := machine.Lacks()
	if lacks != "" {
		lacks = "real containers cannot run here: " + lacks
	}
	programs, packages := machine.FindPrograms()
	if lacks == "" && len(packages) > 0 {
		lacks = fmt.Sprintf("real containers need packages that are missing: %s; on Debian: %s",
			strings.Join(packages, ", "), machine.InstallCommand(packages))
	}
	switch {
	case lacks == "" && wish == Real:
		return Choice{RealNode(programs), "Pods run in real containers, as asked for."}, nil
	case lacks == "":
		return Choice{RealNode(programs), "Pods run in real containers: this is Linux, by root, with the packages that it takes. NODE=simulated does without."}, nil
	case wish == Real:
		return Choice{}, fmt.Errorf("%s", lacks)
	default:
		return Choice{SimulatedNode(), "Pods are simulated, no container runs: " + lacks + "."}, nil
	}
}
