package devenv

import (
	"net"
	"strconv"
	"testing"
)

func TestPortsAreFreeAndGivenOnce(t *testing.T) {
	var p ports
	given := map[int]bool{}
	for range 50 {
		port, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if given[port] {
			t.Fatalf("port %d was given twice", port)
		}
		if port < firstPort || port > lastPort {
			t.Fatalf("port %d is outside of %d to %d", port, firstPort, lastPort)
		}
		given[port] = true
		listener, err := net.Listen("tcp", loopback(port))
		if err != nil {
			t.Fatalf("listening on a port that was given: %v", err)
		}
		listener.Close()
	}
}

func TestFreeSeesListeners(t *testing.T) {
	for _, host := range []string{"127.0.0.1", ""} {
		t.Run("on "+strconv.Quote(host), func(t *testing.T) {
			listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
			if err != nil {
				t.Fatal(err)
			}
			port := listener.Addr().(*net.TCPAddr).Port
			if free(port) {
				t.Error("got free while somebody listens")
			}
			listener.Close()
			if !free(port) {
				t.Error("got taken after the listener closed")
			}
		})
	}
}

func TestPortCollisionsAreRecognised(t *testing.T) {
	for _, said := range []string{
		"listen tcp 127.0.0.1:2379: bind: address already in use",
		"Cannot listen on port 4566: listen EADDRINUSE: address already in use 127.0.0.1:4566",
	} {
		if !taken.MatchString(said) {
			t.Errorf("not recognised: %s", said)
		}
	}
	if taken.MatchString("permission denied") {
		t.Error("another failure was taken for a collision")
	}
}
