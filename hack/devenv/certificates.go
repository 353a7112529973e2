package devenv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// validity is long enough for an environment that somebody leaves running, and short enough to be worthless when a
// state directory is found years later.
const validity = 365 * 24 * time.Hour

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pair keyPair
}

// keyPair is a certificate and its key as PEM and where they were written.
type keyPair struct {
	certPEM, keyPEM   []byte
	certFile, keyFile string
}

// certificates are all identities of one environment.
type certificates struct {
	ca         *authority
	proxyCA    *authority
	serving    keyPair
	admin      keyPair
	controller keyPair
	scheduler  keyPair
	node       keyPair // kwok's, which plays all nodes
	services   keyPair // of what stands in for kube-proxy
	realNode   keyPair // the kubelet's, with a node's rights only
	kubelet    keyPair // the API server's towards kubelets
	proxy      keyPair // the API server's towards aggregated API servers
	// serviceAccountKey signs service account tokens; the certificate beside it is unused.
	serviceAccountKey keyPair
}

func newCertificates(dir string, network Network) (*certificates, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making certificates: %w", err)
	}
	var (
		c   certificates
		err error
	)
	if c.ca, err = newAuthority(dir, "ca", "devenv"); err != nil {
		return nil, err
	}
	// The API server trusts user names in headers from holders of this authority's certificates, so it must not be the
	// one that signs for clients.
	if c.proxyCA, err = newAuthority(dir, "front-proxy-ca", "devenv-front-proxy"); err != nil {
		return nil, err
	}
	for _, leaf := range []struct {
		into *keyPair
		ca   *authority
		file string
		template
	}{
		{&c.serving, c.ca, "serving", template{name: "devenv", serving: servingAddresses(network)}},
		{&c.admin, c.ca, "admin", template{name: "devenv-admin", group: "system:masters"}},
		// Names of their own tell the parts apart in the audit log.
		{&c.controller, c.ca, "kube-controller-manager", template{name: "system:kube-controller-manager", group: "system:masters"}},
		{&c.scheduler, c.ca, "kube-scheduler", template{name: "system:kube-scheduler", group: "system:masters"}},
		{&c.node, c.ca, "node", template{name: "devenv-node", group: "system:masters"}},
		{&c.services, c.ca, "services", template{name: "devenv-services", group: "system:masters"}},
		{&c.realNode, c.ca, "kubelet", template{name: "system:node:" + realNodeName, group: "system:nodes"}},
		{&c.kubelet, c.ca, "kubelet-client", template{name: "kube-apiserver-kubelet-client", group: "system:masters"}},
		{&c.proxy, c.proxyCA, "front-proxy-client", template{name: proxyClientName}},
		{&c.serviceAccountKey, c.ca, "service-account", template{name: "devenv-service-accounts"}},
	} {
		if *leaf.into, err = leaf.ca.sign(dir, leaf.file, leaf.template); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

// proxyClientName is the only name that the API server may use towards aggregated API servers.
const proxyClientName = "front-proxy-client"

// template says what a certificate is for: a server on some addresses, or else a client.
type template struct {
	name, group string
	serving     []net.IP
}

// servingAddresses are where the parts of an environment serve.
func servingAddresses(network Network) []net.IP {
	addresses := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, network.apiServiceIP().AsSlice()}
	if network.Address.IsValid() {
		addresses = append(addresses, network.Address.AsSlice())
	}
	return addresses
}

func newAuthority(dir, file, name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key for %s: %w", name, err)
	}
	cert := newCertificate(template{name: name})
	cert.IsCA = true
	cert.BasicConstraintsValid = true
	cert.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	cert.ExtKeyUsage = nil
	a := &authority{cert: cert, key: key}
	a.pair, err = a.issue(dir, file, cert, key)
	return a, err
}

func (a *authority) sign(dir, file string, t template) (keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyPair{}, fmt.Errorf("making a key for %s: %w", t.name, err)
	}
	return a.issue(dir, file, newCertificate(t), key)
}

func newCertificate(t template) *x509.Certificate {
	cert := &x509.Certificate{
		Subject:      pkix.Name{CommonName: t.name},
		SerialNumber: serialNumber(),
		// A clock that is set back a little must not make it invalid.
		NotBefore:   time.Now().Add(-time.Hour),
		NotAfter:    time.Now().Add(validity),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if t.group != "" {
		cert.Subject.Organization = []string{t.group}
	}
	if t.serving != nil {
		cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		cert.DNSNames = []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		}
		cert.IPAddresses = t.serving
	}
	return cert
}

func serialNumber() *big.Int {
	var random [15]byte
	_, _ = rand.Read(random[:]) // never fails
	return new(big.Int).SetBytes(random[:])
}

func (a *authority) issue(dir, file string, cert *x509.Certificate, key *ecdsa.PrivateKey) (keyPair, error) {
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, key.Public(), a.key)
	if err != nil {
		return keyPair{}, fmt.Errorf("signing the certificate %s: %w", file, err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return keyPair{}, fmt.Errorf("encoding the key of %s: %w", file, err)
	}
	pair := keyPair{
		certPEM:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyPEM:   pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}),
		certFile: filepath.Join(dir, file+".crt"),
		keyFile:  filepath.Join(dir, file+".key"),
	}
	if err := writeFile(pair.certFile, pair.certPEM); err != nil {
		return keyPair{}, err
	}
	return pair, writeFile(pair.keyFile, pair.keyPEM)
}
