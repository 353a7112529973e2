package devenv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are taken from below the ranges that Linux (from 32768) and macOS (from 49152) give to outgoing connections, so
// that a part which is stopped for a while finds its port free again.
const (
	firstPort = 20000
	lastPort  = 32767
)

// ports hands out loopback ports, none of them twice. Another process may still take one between the choice and its use;
// whoever uses a port has to be ready to choose again.
type ports struct {
	mu    sync.Mutex
	given map[int]bool
}

// next returns a port on which nobody listens now.
func (p *ports) next() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.given == nil {
		p.given = map[int]bool{}
	}
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if p.given[port] || !free(port) {
			continue
		}
		p.given[port] = true
		return port, nil
	}
	return 0, errors.New("found no free loopback port")
}

func free(port int) bool {
	// Somebody who listens on all addresses leaves 127.0.0.1 bindable on some systems, but gets our connections there or
	// we get theirs.
	for _, host := range []string{"", "127.0.0.1"} {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return false
		}
		if err := listener.Close(); err != nil {
			return false
		}
	}
	return true
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
