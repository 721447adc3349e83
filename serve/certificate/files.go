package certificate

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"bakehouse/schema/fault"
)

// Certificate is what a server presents, and what is wrong with it. It is safe for concurrent use.
type Certificate struct {
	cert, key string // files; empty: it never changes
	log       *slog.Logger

	mu      sync.Mutex
	now     tls.Certificate
	read    [2][]byte // of the files, when they were looked at last
	trouble string    // why what they hold now is not presented
}

// Fixed is a certificate that does not change.
func Fixed(cert tls.Certificate) *Certificate { return &Certificate{now: cert} }

// Open reads a certificate chain and its key from PEM files, which Look looks at again.
func Open(certPath, keyPath string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{cert: certPath, key: keyPath, log: log}
	var err error
	if c.read, err = c.files(); err == nil {
		c.now, err = parse(c.read)
	}
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("TLS certificate: %w", err),
			"--tls-cert names a PEM file with the certificate and its chain, --tls-key one with its private key")
	}
	if now := time.Now(); now.After(c.now.Leaf.NotAfter) {
		return nil, fault.Hint(fmt.Errorf("TLS certificate %s expired at %s", certPath,
			c.now.Leaf.NotAfter.UTC().Format(time.RFC3339)),
			"hosts refuse an expired certificate: renew it")
	}
	return c, nil
}

func (c *Certificate) files() (b [2][]byte, err error) {
	if b[0], err = os.ReadFile(c.cert); err == nil {
		b[1], err = os.ReadFile(c.key)
	}
	return b, err
}

func parse(b [2][]byte) (tls.Certificate, error) { return tls.X509KeyPair(b[0], b[1]) }

// Look presents what the files hold now, from the next connection on. What cannot be used, such as a certificate whose
// key is still to be written, changes nothing but what Problem says.
func (c *Certificate) Look() {
	if c.cert == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b, err := c.files()
	if err == nil {
		if bytes.Equal(b[0], c.read[0]) && bytes.Equal(b[1], c.read[1]) {
			return
		}
		c.read = b
		var next tls.Certificate
		if next, err = parse(b); err == nil {
			c.now, c.trouble = next, ""
			c.log.Info("TLS certificate renewed", "names", names(next.Leaf), "expires", next.Leaf.NotAfter)
			return
		}
	} else {
		c.read = [2][]byte{} // what is there again later is news
	}
	if trouble := err.Error(); trouble != c.trouble {
		c.trouble = trouble
		c.log.Warn("the TLS certificate's files cannot be used; the one before is presented", "error", err)
	}
}

// Get is for tls.Config.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cert := c.now
	return &cert, nil
}

// Ends is when the certificate expires.
func (c *Certificate) Ends() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now.Leaf.NotAfter
}

// Problem says why hosts refuse the certificate at that time, or soon will. They call the server by one of urls. It
// names no paths. Empty: nothing is wrong with it.
func (c *Certificate) Problem(urls []string, now time.Time) string {
	c.mu.Lock()
	leaf, trouble := c.now.Leaf, c.trouble
	c.mu.Unlock()
	switch {
	case !now.Before(leaf.NotAfter):
		return "the TLS certificate expired at " + leaf.NotAfter.UTC().Format(time.RFC3339)
	case len(leaf.DNSNames)+len(leaf.IPAddresses) == 0:
		return "the TLS certificate has no subjectAltName: hosts reject it"
	case !covers(leaf, urls):
		return fmt.Sprintf("the TLS certificate is for %s, and hosts call the server %s: they reject it",
			strings.Join(names(leaf), ", "), strings.Join(hosts(urls), ", "))
	case trouble != "":
		return "the TLS certificate's files cannot be used; the one before is presented"
	}
	return ""
}

// covers reports whether the certificate is for the host of any of these; a server of one site is not for the others'.
func covers(leaf *x509.Certificate, urls []string) bool {
	called := hosts(urls)
	for _, h := range called {
		if leaf.VerifyHostname(h) == nil {
			return true
		}
	}
	return len(called) == 0
}

func hosts(urls []string) (list []string) {
	for _, s := range urls {
		if u, err := url.Parse(s); err == nil && u.Hostname() != "" {
			list = append(list, u.Hostname())
		}
	}
	return list
}

func names(leaf *x509.Certificate) (list []string) {
	list = append(list, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		list = append(list, net.IP.String(ip))
	}
	return list
}

// Expires is when the certificate that is presented does.
func (c *Certificate) Expires() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now.Leaf.NotAfter
}
