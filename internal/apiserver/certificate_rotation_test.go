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

// trusts reports whether a client with these authorities accepts the serving certificate for a host at a time.
func trusts(t *testing.T, m keyPairs, bundle []byte, host string, now time.Time) bool {
	t.Helper()
	if _, err := tls.X509KeyPair(m.servingCert, m.servingKey); err != nil {
		t.Errorf("certificate and key do not fit: %v", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	certificates, err := cert.ParseCertsPEM(m.servingCert)
	if err != nil {
		t.Fatal(err)
	}
	_, err = certificates[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now})
	return err == nil
}

func rotated(t *testing.T, old keyPairs, host string, now time.Time) (keyPairs, time.Time) {
	t.Helper()
	m, next, err := rotate(old, host, now)
	if err != nil {
		t.Fatal(err)
	}
	if !next.After(now) {
		t.Errorf("at %s the next rotation is due at %s, which is over", now, next)
	}
	return m, next
}

func TestRotateKeepsWhatIsGood(t *testing.T) {
	first, next := rotated(t, keyPairs{}, host, start)
	if !trusts(t, first, first.caBundle, host, start) {
		t.Error("the first certificate is not trusted")
	}
	again, nextAgain := rotated(t, first, host, start.Add(time.Hour))
	if !bytes.Equal(again.servingCert, first.servingCert) || !bytes.Equal(again.caBundle, first.caBundle) || nextAgain != next {
		t.Error("a good certificate was replaced")
	}
}

func TestRotateReplaces(t *testing.T) {
	good, _ := rotated(t, keyPairs{}, host, start)
	other, _ := rotated(t, keyPairs{}, host, start)
	for name, tc := range map[string]struct {
		change   func(*keyPairs)
		host     string
		after    time.Duration
		sameRoot bool
	}{
		"a certificate two thirds through":     {func(*keyPairs) {}, host, servingLifetime / 3 * 2, true},
		"a certificate that is over":           {func(*keyPairs) {}, host, servingLifetime + time.Hour, true},
		"another host's":                       {func(*keyPairs) {}, "other.system.svc", 0, true},
		"a damaged certificate":                {func(m *keyPairs) { m.servingCert = []byte("x") }, host, 0, true},
		"another key":                          {func(m *keyPairs) { m.servingKey = other.servingKey }, host, 0, true},
		"another authority's":                  {func(m *keyPairs) { m.servingCert, m.servingKey = other.servingCert, other.servingKey }, host, 0, true},
		"an authority without its key":         {func(m *keyPairs) { m.caKey = nil }, host, 0, false},
		"a damaged authority":                  {func(m *keyPairs) { m.caBundle = []byte("x") }, host, 0, false},
		"an authority whose time is over":      {func(*keyPairs) {}, host, caLifetime + time.Hour, false},
		"all of it, where the Secret is empty": {func(m *keyPairs) { *m = keyPairs{} }, host, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			old := good
			tc.change(&old)
			now := start.Add(tc.after)
			m, _ := rotated(t, old, tc.host, now)
			if !trusts(t, m, m.caBundle, tc.host, now) {
				t.Error("the certificate is not trusted")
			}
			if same := bytes.Equal(m.caKey, good.caKey); same != tc.sameRoot {
				t.Errorf("same authority %t, want %t", same, tc.sameRoot)
			}
		})
	}
}

// An API server that has not heard of a change yet must get through: at every rotation over the years, what was announced
// before the rotation is enough to trust what is served after it.
func TestRotateNeverSurprises(t *testing.T) {
	m, next := rotated(t, keyPairs{}, host, start)
	authorities := 1
	for next.Before(start.Add(3 * caLifetime)) {
		now := next
		var after keyPairs
		after, next = rotated(t, m, host, now)
		if !trusts(t, after, m.caBundle, host, now) {
			t.Fatalf("at %s the new certificate is not trusted by the authorities announced before", now)
		}
		if !bytes.Equal(after.caKey, m.caKey) {
			authorities++
		}
		m = after
	}
	if authorities < 3 {
		t.Errorf("%d authorities in the time of three", authorities)
	}
	if certificates, err := cert.ParseCertsPEM(m.caBundle); err != nil || len(certificates) > 2 {
		t.Errorf("%d authorities are kept (%v), want no more than two", len(certificates), err)
	}
}
