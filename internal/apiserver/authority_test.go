package apiserver

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"k8s.io/client-go/util/cert"
)

const host = "apiserver.system.svc"

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// trusts is whether a client with these authorities accepts the serving certificate for a host at a time.
func trusts(t *testing.T, m material, bundle []byte, host string, now time.Time) bool {
	t.Helper()
	if _, err := tls.X509KeyPair(m.certificate, m.key); err != nil {
		t.Errorf("certificate and key do not fit: %v", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	certificates, err := cert.ParseCertsPEM(m.certificate)
	if err != nil {
		t.Fatal(err)
	}
	_, err = certificates[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now})
	return err == nil
}

func renewed(t *testing.T, old material, host string, now time.Time) (material, time.Time) {
	t.Helper()
	m, next, err := renew(old, host, now)
	if err != nil {
		t.Fatal(err)
	}
	if !next.After(now) {
		t.Errorf("at %s the next renewal is due at %s, which is over", now, next)
	}
	return m, next
}

func TestRenewKeepsWhatIsGood(t *testing.T) {
	first, next := renewed(t, material{}, host, start)
	if !trusts(t, first, first.bundle, host, start) {
		t.Error("the first certificate is not trusted")
	}
	again, nextAgain := renewed(t, first, host, start.Add(time.Hour))
	if !bytes.Equal(again.certificate, first.certificate) || !bytes.Equal(again.bundle, first.bundle) || nextAgain != next {
		t.Error("a good certificate was replaced")
	}
}

func TestRenewReplaces(t *testing.T) {
	good, _ := renewed(t, material{}, host, start)
	other, _ := renewed(t, material{}, host, start)
	for name, tc := range map[string]struct {
		change   func(*material)
		host     string
		after    time.Duration
		sameRoot bool
	}{
		"a certificate two thirds through":     {func(*material) {}, host, servingLife / 3 * 2, true},
		"a certificate that is over":           {func(*material) {}, host, servingLife + time.Hour, true},
		"another host's":                       {func(*material) {}, "other.system.svc", 0, true},
		"a damaged certificate":                {func(m *material) { m.certificate = []byte("x") }, host, 0, true},
		"another key":                          {func(m *material) { m.key = other.key }, host, 0, true},
		"another authority's":                  {func(m *material) { m.certificate, m.key = other.certificate, other.key }, host, 0, true},
		"an authority without its key":         {func(m *material) { m.authorityKey = nil }, host, 0, false},
		"a damaged authority":                  {func(m *material) { m.bundle = []byte("x") }, host, 0, false},
		"an authority whose time is over":      {func(*material) {}, host, authorityLife + time.Hour, false},
		"all of it, where the Secret is empty": {func(m *material) { *m = material{} }, host, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			old := good
			tc.change(&old)
			now := start.Add(tc.after)
			m, _ := renewed(t, old, tc.host, now)
			if !trusts(t, m, m.bundle, tc.host, now) {
				t.Error("the certificate is not trusted")
			}
			if same := bytes.Equal(m.authorityKey, good.authorityKey); same != tc.sameRoot {
				t.Errorf("same authority %t, want %t", same, tc.sameRoot)
			}
		})
	}
}

// An API server that has not heard of a change yet must get through: at every renewal over the years, what was announced
// before the renewal is enough to trust what is served after it.
func TestRenewNeverSurprises(t *testing.T) {
	m, next := renewed(t, material{}, host, start)
	authorities := 1
	for next.Before(start.Add(3 * authorityLife)) {
		now := next
		var after material
		after, next = renewed(t, m, host, now)
		if !trusts(t, after, m.bundle, host, now) {
			t.Fatalf("at %s the new certificate is not trusted by the authorities announced before", now)
		}
		if !bytes.Equal(after.authorityKey, m.authorityKey) {
			authorities++
		}
		m = after
	}
	if authorities < 3 {
		t.Errorf("%d authorities in the time of three", authorities)
	}
	if certificates, err := cert.ParseCertsPEM(m.bundle); err != nil || len(certificates) > 2 {
		t.Errorf("%d authorities are kept (%v), want no more than two", len(certificates), err)
	}
}
