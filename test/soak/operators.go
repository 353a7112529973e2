package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/queuebinding/queuebinding/test/process"
	"github.com/queuebinding/queuebinding/test/rig"
)

// rogue is the name of an operator that works without asking who leads.
const rogue = "rogue"

// operators are two replicas that are started again whenever they end, as a Deployment would.
type operators struct {
	cluster *rig.Cluster
	program string
	faults  *faults

	mu      sync.Mutex
	ending  bool
	opened  []*rig.Endpoints
	running map[string]*process.Process
	keepers sync.WaitGroup
}

func newOperators(cluster *rig.Cluster, program string, faults *faults) *operators {
	return &operators{cluster: cluster, program: program, faults: faults, running: map[string]*process.Process{}}
}

func (o *operators) names() []string { return []string{"first", "second"} }

func (o *operators) begin() error {
	for _, name := range o.names() {
		endpoints, err := o.endpoints(name)
		if err != nil {
			return err
		}
		o.keepers.Go(func() { o.keep(name, endpoints) })
	}
	return nil
}

func (o *operators) endpoints(name string) (*rig.Endpoints, error) {
	endpoints, err := o.cluster.ProxiedEndpoints("operator-"+name, "", o.faults.decideFor(name))
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.opened = append(o.opened, endpoints)
	return endpoints, nil
}

// keep has an operator run until the end.
func (o *operators) keep(name string, endpoints *rig.Endpoints) {
	for {
		o.mu.Lock()
		if o.ending {
			o.mu.Unlock()
			return
		}
		operator, err := o.cluster.StartOperator(o.program, endpoints, "--leader-elect", "--namespace=default")
		if err == nil {
			o.running[name] = operator
		}
		o.mu.Unlock()
		if err != nil {
			fmt.Fprintln(os.Stderr, "soak:", err)
		} else {
			<-operator.Ended()
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// get is the running operator of a name, or nil.
func (o *operators) get(name string) *process.Process {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.running[name]
}

func (o *operators) kill(names ...string) {
	for _, name := range names {
		if operator := o.get(name); operator != nil {
			operator.Kill()
		}
	}
}

// end kills all of them.
func (o *operators) end() {
	o.mu.Lock()
	o.ending = true
	o.mu.Unlock()
	o.kill(o.names()...)
	o.keepers.Wait()
	for _, endpoints := range o.opened {
		_ = endpoints.Close() // nobody uses it any more
	}
}
