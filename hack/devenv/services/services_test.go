package services

import (
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func service(name, clusterIP string, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: name}, Spec: corev1.ServiceSpec{ClusterIP: clusterIP, Ports: ports}}
}

func slice(service, port string, number int32, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "x", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		Ports:      []discoveryv1.EndpointPort{{Name: &port, Port: &number}},
		Endpoints:  endpoints,
	}
}

func endpoint(address string, ready *bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: ready}}
}

func TestPlan(t *testing.T) {
	https := corev1.ServicePort{Name: "https", Port: 443, Protocol: corev1.ProtocolTCP}
	dns := corev1.ServicePort{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP}
	services := []*corev1.Service{
		service("api", "198.18.1.7", https, dns),
		service("empty", "198.18.1.8", https),
		service("headless", corev1.ClusterIPNone, https),
		service("elsewhere", "10.96.0.1", https),
	}
	endpoints := []*discoveryv1.EndpointSlice{
		slice("api", "https", 6443, endpoint("198.18.2.3", new(true)), endpoint("198.18.2.2", nil), endpoint("198.18.2.4", new(false))),
		slice("api", "metrics", 8443, endpoint("198.18.2.3", nil)),
		slice("api", "https", 6443, endpoint("198.18.2.2", nil)),
		slice("other", "https", 6443, endpoint("198.18.2.9", nil)),
	}
	got := plan(netip.MustParsePrefix("198.18.1.0/24"), services, endpoints)
	want := map[netip.AddrPort][]netip.AddrPort{
		netip.MustParseAddrPort("198.18.1.7:443"): {netip.MustParseAddrPort("198.18.2.2:6443"), netip.MustParseAddrPort("198.18.2.3:6443")},
		netip.MustParseAddrPort("198.18.1.8:443"): nil,
	}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A backend that is gone is passed over, the others take turns, and what either side says last still arrives.
func TestDoor(t *testing.T) {
	echo := func(name string) netip.AddrPort {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		go func() {
			for {
				connection, err := listener.Accept()
				if err != nil {
					return
				}
				heard, _ := io.ReadAll(connection) // all, until the other side has closed its half
				_, _ = io.WriteString(connection, name+" heard "+string(heard))
				connection.Close()
			}
		}()
		return listener.Addr().(*net.TCPAddr).AddrPort()
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	d, err := open(netip.MustParseAddrPort("127.0.0.1:0"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	ask := func() string {
		connection, err := net.Dial("tcp", d.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		// A door without backends breaks off, sooner or later.
		_, _ = io.WriteString(connection, "hello")
		_ = connection.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(connection)
		return string(answer)
	}
	if got := ask(); got != "" {
		t.Errorf("without backends: got %q", got)
	}
	d.lead([]netip.AddrPort{echo("a"), gone.Addr().(*net.TCPAddr).AddrPort(), echo("b")})
	answers := map[string]int{}
	for range 6 {
		answers[ask()]++
	}
	if answers["a heard hello"] == 0 || answers["b heard hello"] == 0 || answers["a heard hello"]+answers["b heard hello"] != 6 {
		t.Errorf("got %v, want all six from both", answers)
	}
}
