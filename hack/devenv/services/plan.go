// Package services lets processes reach the Services of a cluster without kube-proxy, and so without a rule in the
// machine's firewall: it listens on the cluster IPs themselves, which it has the machine answer for, and hands each
// connection to one of the Service's Pods. It knows TCP and nothing of affinity, which is enough for one machine.
package services

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// plan says where connections to each port of each cluster IP within a range go. A Service without Pods that are ready
// has an entry too, as it has an address.
func plan(within netip.Prefix, services []*corev1.Service, endpoints []*discoveryv1.EndpointSlice) map[netip.AddrPort][]netip.AddrPort {
	wanted := map[netip.AddrPort][]netip.AddrPort{}
	for _, service := range services {
		address, err := netip.ParseAddr(service.Spec.ClusterIP)
		if err != nil || !within.Contains(address) {
			continue // headless, or an alias
		}
		for _, port := range service.Spec.Ports {
			if port.Protocol != corev1.ProtocolTCP {
				continue
			}
			wanted[netip.AddrPortFrom(address, uint16(port.Port))] = backends(service, port.Name, endpoints)
		}
	}
	return wanted
}

func backends(service *corev1.Service, portName string, all []*discoveryv1.EndpointSlice) []netip.AddrPort {
	var found []netip.AddrPort
	for _, slice := range all {
		if slice.Namespace != service.Namespace || slice.Labels[discoveryv1.LabelServiceName] != service.Name {
			continue
		}
		for _, port := range slice.Ports {
			if port.Port == nil || valueOf(port.Name) != portName {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				// Unknown counts as ready, as the API has it.
				if endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready {
					continue
				}
				for _, text := range endpoint.Addresses {
					if address, err := netip.ParseAddr(text); err == nil {
						found = append(found, netip.AddrPortFrom(address, uint16(*port.Port)))
					}
				}
			}
		}
	}
	slices.SortFunc(found, func(a, b netip.AddrPort) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(found)
}

func valueOf(name *string) string {
	if name == nil {
		return ""
	}
	return *name
}
