package services

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
)

// door is one address at which connections come in.
type door struct {
	listener net.Listener
	log      io.Writer

	mu       sync.Mutex
	backends []netip.AddrPort
	next     int
}

// open listens on an address until the door is closed.
func open(address netip.AddrPort, log io.Writer) (*door, error) {
	listener, err := net.Listen("tcp", address.String())
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", address, err)
	}
	d := &door{listener: listener, log: log}
	go d.accept()
	return d, nil
}

func (d *door) lead(backends []netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.backends = backends
}

// close ends the listening. Connections go on.
func (d *door) close() error { return d.listener.Close() }

func (d *door) accept() {
	for {
		incoming, err := d.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			fmt.Fprintf(d.log, "Accepting on %s failed: %v\n", d.listener.Addr(), err)
			continue
		}
		go d.serve(incoming.(*net.TCPConn))
	}
}

// order returns the backends, each time beginning with another one.
func (d *door) order() []netip.AddrPort {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.backends) == 0 {
		return nil
	}
	d.next = (d.next + 1) % len(d.backends)
	return append(append([]netip.AddrPort{}, d.backends[d.next:]...), d.backends[:d.next]...)
}

func (d *door) serve(incoming *net.TCPConn) {
	defer incoming.Close()
	for _, backend := range d.order() {
		outgoing, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(backend))
		if err != nil {
			fmt.Fprintf(d.log, "%s for %s: %v\n", backend, d.listener.Addr(), err)
			continue
		}
		defer outgoing.Close()
		exchange(incoming, outgoing)
		return
	}
}

// exchange copies both ways until both sides have said all that they had to say.
func exchange(a, b *net.TCPConn) {
	var both sync.WaitGroup
	for _, way := range [][2]*net.TCPConn{{a, b}, {b, a}} {
		both.Go(func() {
			// A side that breaks off is the other one's to notice.
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].CloseWrite()
		})
	}
	both.Wait()
}
