// Package certificate is a server's TLS certificate: read from files that the operator renews, or self-signed for a
// server on loopback.
package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
)

// Files of a self-signed certificate. The key is written last: with it, the set is complete.
const (
	CAFile   = "ca.pem" // that hosts trust
	certFile = "server.pem"
	keyFile  = "server.key"
)

const selfSignedLife = 365 * 24 * time.Hour

// SelfSigned returns the certificate in dir, for loopback only, and makes it first if there is none or it is about to
// expire. It is signed by an authority of its own, ca.pem in dir, whose key is thrown away: trusting that authority
// trusts this one certificate.
func SelfSigned(dir string, now time.Time) (cert tls.Certificate, ca string, err error) {
	path := func(name string) string { return filepath.Join(dir, name) }
	ca = path(CAFile)
	cert, err = tls.LoadX509KeyPair(path(certFile), path(keyFile))
	switch {
	case err == nil && now.Before(cert.Leaf.NotAfter.Add(-24*time.Hour)):
		if _, err = os.Stat(ca); err == nil {
			return cert, ca, nil
		}
	case err == nil: // renew
	default:
		if _, statErr := os.Stat(path(keyFile)); !errors.Is(statErr, fs.ErrNotExist) {
			return cert, ca, fault.Hint(fmt.Errorf("self-signed certificate in %s: %w", dir, err),
				"delete %s and %s to have them made again; hosts then need the new %s",
				path(certFile), path(keyFile), CAFile)
		}
	}
	pems, err := makeCertificates(now)
	if err != nil {
		return cert, ca, err
	}
	const hint = "--tls-self-signed names a directory that this user may write to"
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return cert, ca, fault.Hint(err, hint)
	}
	// Without the key file nothing counts, so a crash between these steps only means that all are made again.
	if err := durable.Remove(path(keyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return cert, ca, err
	}
	for _, f := range []struct {
		name string
		perm fs.FileMode
	}{{CAFile, 0o644}, {certFile, 0o644}, {keyFile, 0o600}} {
		if err := durable.WriteFile(path(f.name), pems[f.name], f.perm); err != nil {
			return cert, ca, fault.Hint(err, hint)
		}
	}
	cert, err = tls.LoadX509KeyPair(path(certFile), path(keyFile))
	return cert, ca, err
}

// makeCertificates returns the contents of the three files.
func makeCertificates(now time.Time) (map[string][]byte, error) {
	template := func(name string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
		serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
		if err != nil {
			return nil, nil, err
		}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(selfSignedLife), BasicConstraintsValid: true}, key, err
	}
	ca, caKey, err := template("bakehouse self-signed authority")
	if err != nil {
		return nil, err
	}
	ca.IsCA, ca.MaxPathLenZero, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	leaf, leafKey, err := template("localhost")
	if err != nil {
		return nil, err
	}
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leaf.DNSNames, leaf.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}

	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, leafKey.Public(), caKey)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		return nil, err
	}
	encode := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return map[string][]byte{
		CAFile: encode("CERTIFICATE", caDER), certFile: encode("CERTIFICATE", leafDER),
		keyFile: encode("PRIVATE KEY", keyDER)}, nil
}
