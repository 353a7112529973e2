package manager

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// slowestHeader is how long a request's header may take to come.
const slowestHeader = 10 * time.Second

var errNotLoopback = errors.New("it is not an address of the loopback interface: profiles are for whoever reaches it")

// ServeDebug has a manager serve profiles, below /debug/pprof/, and /statusz at an address, which has to be of the loopback interface:
// nobody is asked who they are there. 0 serves nothing.
func ServeDebug(mgr ctrl.Manager, address string, statusz http.Handler) error {
	if address == "0" {
		return nil
	}
	if err := checkLoopback(address); err != nil {
		return fmt.Errorf("%q: %w", address, err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /statusz", statusz)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mgr.Add(&manager.Server{
		Name: "debug", Listener: listener, Server: &http.Server{Handler: ownPagesOnly(mux), ReadHeaderTimeout: slowestHeader},
	})
}

// checkLoopback refuses all but addresses that only this machine, or this Pod, reaches. A name could come to mean another.
func checkLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ip, err := netip.ParseAddr(host)
	if host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return errNotLoopback
	}
	return nil
}

// ownPagesOnly refuses requests that name another host: a page in somebody's browser could have its name resolved to the loopback
// interface and read what is here, while a port is forwarded.
func ownPagesOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = strings.Trim(r.Host, "[]")
		}
		if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
			http.Error(w, "not for this host", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
