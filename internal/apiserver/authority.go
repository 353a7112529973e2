package apiserver

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

const (
	// authorityLife is how long a certificate authority counts.
	authorityLife = 2 * 365 * 24 * time.Hour
	// servingLife is how long a serving certificate counts.
	servingLife = 90 * 24 * time.Hour
	// skew is how far clocks in a cluster may be apart.
	skew = 5 * time.Minute
)

// material is a certificate authority and the serving certificate that it signed, each in PEM. A new authority is made
// long before the old one ends and is at first only announced: serving certificates are signed by it from their next
// renewal on, by which time every API server knows it.
type material struct {
	// bundle are the authorities to trust, the newest first.
	bundle []byte
	// authorityKey is the newest authority's.
	authorityKey []byte
	certificate  []byte
	key          []byte
}

// renew returns what is to be used from now on, and when to look again. What is still good is kept; what cannot be read
// is made anew, as if it were not there.
func renew(old material, host string, now time.Time) (material, time.Time, error) {
	current := old
	authorities, _ := cert.ParseCertsPEM(old.bundle)
	authorities = slices.DeleteFunc(authorities, func(c *x509.Certificate) bool { return !now.Before(c.NotAfter) })
	signer, _ := signerOf(old.authorityKey)
	if len(authorities) == 0 || signer == nil || !matches(authorities[0], signer) || due(authorities[0], now) {
		fresh, key, err := newAuthority(now)
		if err != nil {
			return material{}, time.Time{}, err
		}
		if current.authorityKey, err = keyutil.MarshalPrivateKeyToPEM(key); err != nil {
			return material{}, time.Time{}, fmt.Errorf("key of the certificate authority: %w", err)
		}
		authorities, signer = append([]*x509.Certificate{fresh}, authorities...), key
	}
	var bundle bytes.Buffer
	for _, authority := range authorities {
		bundle.Write(encode(authority))
	}
	current.bundle = bundle.Bytes()

	serving := usable(old, host, authorities)
	if serving == nil || due(serving, now) {
		fresh, key, err := newServing(authorities[0], signer, host, now)
		if err != nil {
			return material{}, time.Time{}, err
		}
		if current.key, err = keyutil.MarshalPrivateKeyToPEM(key); err != nil {
			return material{}, time.Time{}, fmt.Errorf("key of the serving certificate: %w", err)
		}
		serving, current.certificate = fresh, encode(fresh)
	}
	next := renewal(serving)
	if at := renewal(authorities[0]); at.Before(next) {
		next = at
	}
	return current, next, nil
}

// renewal is when two thirds of a certificate's time are over.
func renewal(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 3 * 2)
}

func due(c *x509.Certificate, now time.Time) bool { return !now.Before(renewal(c)) }

// usable is the serving certificate, where it is one for the host, signed by a trusted authority, with its key.
func usable(m material, host string, authorities []*x509.Certificate) *x509.Certificate {
	certificates, err := cert.ParseCertsPEM(m.certificate)
	if err != nil {
		return nil
	}
	key, err := signerOf(m.key)
	if err != nil || !matches(certificates[0], key) || certificates[0].VerifyHostname(host) != nil {
		return nil
	}
	for _, authority := range authorities {
		if certificates[0].CheckSignatureFrom(authority) == nil {
			return certificates[0]
		}
	}
	return nil
}

func newAuthority(now time.Time) (*x509.Certificate, crypto.Signer, error) {
	template := &x509.Certificate{
		// The time tells authorities apart in a bundle.
		Subject:               pkix.Name{CommonName: fmt.Sprintf("queuebinding-apiserver@%d", now.Unix())},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	return sign(template, nil, nil)
}

func newServing(authority *x509.Certificate, signer crypto.Signer, host string, now time.Time) (*x509.Certificate, crypto.Signer, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "queuebinding-apiserver"}, // a host may be longer than the 64 characters allowed here
		DNSNames:    []string{host},
		NotBefore:   now.Add(-skew),
		NotAfter:    now.Add(servingLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	return sign(template, authority, signer)
}

// sign makes a key and a certificate of it, signed by an authority, or by itself where there is none.
func sign(template, authority *x509.Certificate, signer crypto.Signer) (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	if authority == nil {
		authority, signer = template, key
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, fmt.Errorf("make a serial number: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), signer)
	if err != nil {
		return nil, nil, fmt.Errorf("sign a certificate: %w", err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("read a certificate just made: %w", err)
	}
	return made, key, nil
}

func signerOf(keyPEM []byte) (crypto.Signer, error) {
	key, err := keyutil.ParsePrivateKeyPEM(keyPEM)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", key)
	}
	return signer, nil
}

func matches(c *x509.Certificate, signer crypto.Signer) bool {
	public, ok := signer.Public().(*ecdsa.PublicKey)
	return ok && public.Equal(c.PublicKey)
}

func encode(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: c.Raw})
}
