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
	// caLifetime is how long a certificate authority is valid.
	caLifetime = 2 * 365 * 24 * time.Hour
	// servingLifetime is how long a serving certificate is valid.
	servingLifetime = 90 * 24 * time.Hour
	// clockSkew is how far clocks in a cluster may be apart.
	clockSkew = 5 * time.Minute
)

// keyPairs are a certificate authority and the serving certificate that it signed, with their keys, all in PEM. A new
// authority is created long before the old one expires, and is at first only announced: serving certificates are signed by
// it from their next rotation on, by which time every API server knows it.
type keyPairs struct {
	// caBundle holds the authorities to trust, the newest first.
	caBundle []byte
	// caKey is the newest authority's.
	caKey       []byte
	servingCert []byte
	servingKey  []byte
}

// rotate returns the key pairs to use from now on, and when to rotate next. What is still good is kept; what cannot be read
// is replaced as if it were not there.
func rotate(old keyPairs, host string, now time.Time) (keyPairs, time.Time, error) {
	current := old
	authorities, _ := cert.ParseCertsPEM(old.caBundle)
	authorities = slices.DeleteFunc(authorities, func(c *x509.Certificate) bool { return !now.Before(c.NotAfter) })
	signer, _ := parseSigner(old.caKey)
	if len(authorities) == 0 || signer == nil || !matches(authorities[0], signer) || rotationDue(authorities[0], now) {
		fresh, key, err := newCA(now)
		if err != nil {
			return keyPairs{}, time.Time{}, err
		}
		if current.caKey, err = keyutil.MarshalPrivateKeyToPEM(key); err != nil {
			return keyPairs{}, time.Time{}, fmt.Errorf("key of the certificate authority: %w", err)
		}
		authorities, signer = append([]*x509.Certificate{fresh}, authorities...), key
	}
	var bundle bytes.Buffer
	for _, authority := range authorities {
		bundle.Write(encode(authority))
	}
	current.caBundle = bundle.Bytes()

	serving := validServingCert(old, host, authorities)
	if serving == nil || rotationDue(serving, now) {
		fresh, key, err := newServingCert(authorities[0], signer, host, now)
		if err != nil {
			return keyPairs{}, time.Time{}, err
		}
		if current.servingKey, err = keyutil.MarshalPrivateKeyToPEM(key); err != nil {
			return keyPairs{}, time.Time{}, fmt.Errorf("key of the serving certificate: %w", err)
		}
		serving, current.servingCert = fresh, encode(fresh)
	}
	next := rotationTime(serving)
	if at := rotationTime(authorities[0]); at.Before(next) {
		next = at
	}
	return current, next, nil
}

// rotationTime returns when two thirds of a certificate's lifetime are over.
func rotationTime(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 3 * 2)
}

// rotationDue reports whether a certificate is to be replaced.
func rotationDue(c *x509.Certificate, now time.Time) bool { return !now.Before(rotationTime(c)) }

// validServingCert returns the serving certificate if it is one for the host, signed by a trusted authority, with its key;
// else nil.
func validServingCert(pairs keyPairs, host string, authorities []*x509.Certificate) *x509.Certificate {
	certificates, err := cert.ParseCertsPEM(pairs.servingCert)
	if err != nil {
		return nil
	}
	key, err := parseSigner(pairs.servingKey)
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

func newCA(now time.Time) (*x509.Certificate, crypto.Signer, error) {
	template := &x509.Certificate{
		// The time tells authorities apart in a bundle.
		Subject:               pkix.Name{CommonName: fmt.Sprintf("queuebinding-apiserver@%d", now.Unix())},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(caLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	return sign(template, nil, nil)
}

func newServingCert(authority *x509.Certificate, signer crypto.Signer, host string, now time.Time) (*x509.Certificate, crypto.Signer, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "queuebinding-apiserver"}, // a host may be longer than the 64 characters allowed here
		DNSNames:    []string{host},
		NotBefore:   now.Add(-clockSkew),
		NotAfter:    now.Add(servingLifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	return sign(template, authority, signer)
}

// sign generates a key and a certificate of it, signed by an authority, or by itself if there is none.
func sign(template, authority *x509.Certificate, signer crypto.Signer) (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generate a key: %w", err)
	}
	if authority == nil {
		authority, signer = template, key
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, fmt.Errorf("generate a serial number: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), signer)
	if err != nil {
		return nil, nil, fmt.Errorf("sign a certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("parse a certificate just signed: %w", err)
	}
	return certificate, key, nil
}

func parseSigner(keyPEM []byte) (crypto.Signer, error) {
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

// matches reports whether a certificate is of a signer's key.
func matches(c *x509.Certificate, signer crypto.Signer) bool {
	public, ok := signer.Public().(*ecdsa.PublicKey)
	return ok && public.Equal(c.PublicKey)
}

func encode(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: c.Raw})
}
