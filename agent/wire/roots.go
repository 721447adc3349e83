package wire

import (
	"crypto/x509"
	"sync"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

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
