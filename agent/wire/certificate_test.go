package wire

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"strings"
	"testing"
	"time"
)

func TestEachReasonNotToBelieveACertificateHasItsOwnWords(t *testing.T) {
	named := func(subject, issuer string) *x509.Certificate {
		c := &x509.Certificate{Subject: pkix.Name{CommonName: subject}, Issuer: pkix.Name{CommonName: issuer},
			RawSubject: []byte(subject), RawIssuer: []byte(issuer), SignatureAlgorithm: x509.SHA256WithRSA}
		if subject != "cn only" {
			c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		}
		return c
	}
	sha1 := named("old", "Corp CA")
	sha1.SignatureAlgorithm = x509.SHA1WithRSA
	unknown := x509.UnknownAuthorityError{}
	for name, c := range map[string]struct {
		chain []*x509.Certificate
		err   error
		wants string
	}{
		"an intermediate is not sent": {[]*x509.Certificate{named("leaf", "Corp Issuing CA")}, unknown,
			`"Corp Issuing CA" is none of those trusted here, and the chain that the server sends is incomplete`},
		"it signed itself": {[]*x509.Certificate{named("self", "self")}, unknown, "signed by an unknown authority"},
		"a chain to the root of others": {[]*x509.Certificate{named("leaf", "CA"), named("CA", "CA")}, unknown,
			"signed by an unknown authority"},
		"SHA-1": {[]*x509.Certificate{sha1}, unknown, `"old" is signed with SHA1-RSA, which is not accepted`},
		"no alternative name": {[]*x509.Certificate{named("cn only", "CA")}, x509.HostnameError{Host: "127.0.0.1"},
			"has no subject alternative name"},
		"another name": {[]*x509.Certificate{named("leaf", "CA")}, x509.HostnameError{Host: "localhost"},
			`is not for "localhost" but for 127.0.0.1`},
	} {
		hint, err := explainCertificate(&tls.CertificateVerificationError{UnverifiedCertificates: c.chain, Err: c.err},
			time.Now())
		if !strings.Contains(err.Error(), c.wants) || hint == "" {
			t.Errorf("%s: %v; %s", name, err, hint)
		}
	}
}
