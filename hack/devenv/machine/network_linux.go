package machine

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// usedAddresses are the networks that the machine has or has routes to, apart from the default ones.
func usedAddresses() ([]netip.Prefix, error) {
	var used []netip.Prefix
	configured, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("listing the machine's addresses: %w", err)
	}
	for _, address := range configured {
		used = append(used, fromIPNet(address.IPNet)...)
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("listing the machine's routes: %w", err)
	}
	for _, route := range routes {
		used = append(used, fromIPNet(route.Dst)...)
	}
	return used, nil
}

func fromIPNet(network *net.IPNet) []netip.Prefix {
	if network == nil {
		return nil
	}
	address, ok := netip.AddrFromSlice(network.IP)
	if !ok {
		return nil
	}
	bits, _ := network.Mask.Size()
	if bits == 0 {
		return nil
	}
	return []netip.Prefix{netip.PrefixFrom(address.Unmap(), bits).Masked()}
}

func overlaps(used []netip.Prefix, wanted netip.Prefix) bool {
	for _, network := range used {
		if network.Overlaps(wanted) {
			return true
		}
	}
	return false
}

// makeDevice makes a device that only holds the machine's address towards Pods. It is a pair, as Pods need the kernel to
// know pairs anyway, and not every kernel knows dummy devices.
func (c Claim) makeDevice() error {
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: c.ID}, PeerName: c.ID + "p"}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("making network device %s: %w", c.ID, err)
	}
	for _, name := range []string{c.ID + "p", c.ID} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("finding network device %s: %w", name, err)
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("starting network device %s: %w", name, err)
		}
	}
	return c.AddAddress(c.Address())
}

// AddAddress makes the machine answer for one of the claim's addresses. One that it answers for already is no error.
func (c Claim) AddAddress(address netip.Addr) error {
	if !c.Addresses.Contains(address) {
		return fmt.Errorf("address %s is not in %s", address, c.Addresses)
	}
	link, err := netlink.LinkByName(c.ID)
	if err != nil {
		return fmt.Errorf("finding network device %s: %w", c.ID, err)
	}
	if err := netlink.AddrReplace(link, single(address)); err != nil {
		return fmt.Errorf("adding address %s: %w", address, err)
	}
	return nil
}

// RemoveAddress takes an address back that AddAddress added.
func (c Claim) RemoveAddress(address netip.Addr) error {
	link, err := netlink.LinkByName(c.ID)
	if err != nil {
		return fmt.Errorf("finding network device %s: %w", c.ID, err)
	}
	if err := netlink.AddrDel(link, single(address)); err != nil {
		return fmt.Errorf("removing address %s: %w", address, err)
	}
	return nil
}

func single(address netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(32, 32)}}
}

// removeDevices removes the claim's own device and those of its Pods, which are known by the routes to their addresses.
func (c Claim) removeDevices() error {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("listing routes: %w", err)
	}
	var failures []error
	for _, route := range routes {
		if !overlaps(fromIPNet(route.Dst), c.Pods()) {
			continue
		}
		link, err := netlink.LinkByIndex(route.LinkIndex)
		if err == nil && link.Type() == "veth" {
			failures = append(failures, removeLink(link))
		}
	}
	if link, err := netlink.LinkByName(c.ID); err == nil {
		failures = append(failures, removeLink(link))
	} else if !isNotFound(err) {
		failures = append(failures, fmt.Errorf("finding network device %s: %w", c.ID, err))
	}
	return errors.Join(failures...)
}

// removeLink removes a device. One that went meanwhile, as those of an ended Pod do, is no error.
func removeLink(link netlink.Link) error {
	name := link.Attrs().Name
	if err := netlink.LinkDel(link); err != nil {
		if _, again := netlink.LinkByName(name); isNotFound(again) {
			return nil
		}
		return fmt.Errorf("removing network device %s: %w", name, err)
	}
	return nil
}

func isNotFound(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound)
}
