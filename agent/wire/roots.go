package wire

import (
	"crypto/x509"
	"strings"
	"sync"

	"bakehouse/schema"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// rootsOf are the authorities that vouch for a client's server, or for a proxy that speaks TLS.
func rootsOf(conf Config) (*x509.CertPool, error) {
	switch {
	case conf.Insecure, len(conf.Certificates) == 0 && strings.HasPrefix(conf.Server, "http:") && conf.Proxy.Mode == "":
		return x509.NewCertPool(), nil // nobody will ask
	case len(conf.Certificates) == 0:
		return publicRoots()
	}
	pool := x509.NewCertPool()
	for _, p := range conf.Certificates {
		parsed, err := schema.ParseCertificates(p)
		if err != nil {
			return nil, err
		}
		for _, c := range parsed {
			pool.AddCert(c)
		}
	}
	return pool, nil
}

// publicRoots are the public authorities that came with this program, those of Mozilla. They vouch for a server if no
// certificates are set. The system's do not count: they are other ones on each host, whoever is root there for another
// purpose adds to them, and a host that has none would reach no server.
var publicRoots = sync.OnceValues(func() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for r := range bundle.Roots() {
		c, err := x509.ParseCertificate(r.Certificate)
		if err != nil {
			return nil, err
		}
		if r.Constraint != nil {
			pool.AddCertWithConstraint(c, r.Constraint)
		} else {
			pool.AddCert(c)
		}
	}
	return pool, nil
})
