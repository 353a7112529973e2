package services

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/queuebinding/queuebinding/hack/devenv/machine"
)

// Proxy serves the Services of one environment.
type Proxy struct {
	Client kubernetes.Interface
	// Claim has the addresses.
	Claim machine.Claim
	// Published are ports of the machine's loopback address that Pods reach at the claim's address.
	Published []uint16
	// Log gets a line for each Service port that comes or goes.
	Log io.Writer

	doors map[netip.AddrPort]*door
}

// Run serves until ctx ends.
func (p *Proxy) Run(ctx context.Context) (err error) {
	p.doors = map[netip.AddrPort]*door{}
	defer func() { err = errors.Join(err, p.closeAll()) }()
	for _, port := range p.Published {
		published, err := open(netip.AddrPortFrom(p.Claim.Address(), port), p.Log)
		if err != nil {
			return err
		}
		published.lead([]netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)})
		defer published.close()
	}

	factory := informers.NewSharedInformerFactory(p.Client, 0)
	services, endpoints := factory.Core().V1().Services(), factory.Discovery().V1().EndpointSlices()
	changed := make(chan struct{}, 1)
	tell := func() {
		select {
		case changed <- struct{}{}:
		default: // it is known already
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { tell() }, UpdateFunc: func(any, any) { tell() }, DeleteFunc: func(any) { tell() },
	}
	for _, informer := range []cache.SharedIndexInformer{services.Informer(), endpoints.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return fmt.Errorf("watching Services: %w", err)
		}
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	factory.WaitForCacheSync(ctx.Done())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		allServices, err := services.Lister().List(labels.Everything())
		if err != nil {
			return fmt.Errorf("listing Services: %w", err)
		}
		allEndpoints, err := endpoints.Lister().List(labels.Everything())
		if err != nil {
			return fmt.Errorf("listing endpoints: %w", err)
		}
		if err := p.apply(plan(p.Claim.Services(), allServices, allEndpoints)); err != nil {
			return err
		}
	}
}

// apply opens and closes doors until they are those of the plan.
func (p *Proxy) apply(wanted map[netip.AddrPort][]netip.AddrPort) error {
	for address, opened := range p.doors {
		if _, ok := wanted[address]; ok {
			continue
		}
		fmt.Fprintf(p.Log, "%s is gone\n", address)
		delete(p.doors, address)
		if err := opened.close(); err != nil {
			return fmt.Errorf("closing %s: %w", address, err)
		}
	}
	for address, backends := range wanted {
		if p.doors[address] == nil {
			// The address stays with the machine when the Service goes: nobody else may have it, and it goes with the claim.
			if err := p.Claim.AddAddress(address.Addr()); err != nil {
				return err
			}
			opened, err := open(address, p.Log)
			if err != nil {
				return err
			}
			p.doors[address] = opened
		}
		fmt.Fprintf(p.Log, "%s leads to %v\n", address, backends)
		p.doors[address].lead(backends)
	}
	return nil
}

func (p *Proxy) closeAll() error {
	var failures []error
	for _, opened := range p.doors {
		failures = append(failures, opened.close())
	}
	return errors.Join(failures...)
}
