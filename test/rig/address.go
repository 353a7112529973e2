package rig

import (
	"fmt"
	"net"
)

// FreeAddress returns an address of the loopback interface that nobody listens at, now.
func FreeAddress() (*net.TCPAddr, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("look for a free port: %w", err)
	}
	return listener.Addr().(*net.TCPAddr), listener.Close()
}
