package wire

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bakehouse/schema/plain"
)

// What to do about a certificate. The program's commands have --ca and --trust-cert.
const (
	hintAuthority = "register with --ca FILE, the authority's certificate, or with --trust-cert; or set certificates " +
		"in the updater rule (authorities of this system do not count)"
	hintChain = "have the server send its whole chain: its certificate, then that of each authority up to one that " +
		"is trusted here; or register with --ca FILE, the authority's certificate"
)

// explainCertificate names the certificate that failed, why, and what to do.
func explainCertificate(bad *tls.CertificateVerificationError, trusted []*x509.Certificate, now time.Time) (hint string,
	err error) {
	if len(bad.UnverifiedCertificates) == 0 {
		return "check the server's certificate", bad
	}
	cert := bad.UnverifiedCertificates[0]
	which := fmt.Sprintf("its certificate %q (issued by %q, valid until %s)", nameOf(cert),
		CertificateName(cert.Issuer.CommonName, cert.Issuer.Organization), cert.NotAfter.UTC().Format(time.DateOnly))
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(bad.Err, new(x509.UnknownAuthorityError)),
		errors.As(bad.Err, &invalid) && invalid.Reason == x509.Expired && !cert.Equal(invalid.Cert):
		hint, why := explainChain(bad.UnverifiedCertificates, trusted, now)
		return hint, fmt.Errorf("%s is not trusted: %s", which, why)
	case errors.As(bad.Err, &host):
		if len(cert.DNSNames)+len(cert.IPAddresses) == 0 {
			return "give the server a certificate that has its name as a subject alternative name",
				fmt.Errorf("%s has no subject alternative name, and a common name does not count", which)
		}
		names := slices.Clone(cert.DNSNames)
		for _, ip := range cert.IPAddresses {
			names = append(names, ip.String())
		}
		return "use one of those names in the server's URL, or give the server a certificate for its name",
			fmt.Errorf("%s is not for %q but for %s", which, host.Host, plain.Name(strings.Join(names, ", ")))
	case errors.As(bad.Err, &invalid) && invalid.Reason == x509.Expired:
		here := now.UTC().Format(time.RFC3339)
		if now.Before(cert.NotBefore) {
			return "check this host's clock", fmt.Errorf("%s is not valid before %s (the clock here says %s)", which,
				cert.NotBefore.UTC().Format(time.RFC3339), here)
		}
		return "renew the server's certificate, or check this host's clock",
			fmt.Errorf("%s has expired (the clock here says %s)", which, here)
	case errors.As(bad.Err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return "give the server a certificate with the extended key usage serverAuth",
			fmt.Errorf("%s is not made for servers", which)
	}
	return "check the server's certificate, or register with --ca FILE",
		fmt.Errorf("%s is not trusted: %w", which, bad.Err)
}

// explainChain follows a chain that leads to no authority, from the server's certificate on, to where it breaks.
func explainChain(sent, trusted []*x509.Certificate, now time.Time) (hint, why string) {
	cur := sent[0]
	for range len(sent) + 1 {
		if bytes.Equal(cur.RawIssuer, cur.RawSubject) {
			break // it vouches for itself alone
		}
		issuer := func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, cur.RawIssuer) }
		in := trusted
		i := slices.IndexFunc(in, issuer)
		if i < 0 {
			in = sent
			i = slices.IndexFunc(in, issuer)
		}
		name := CertificateName(cur.Issuer.CommonName, cur.Issuer.Organization)
		if i < 0 {
			return hintChain + "; or with --trust-cert", fmt.Sprintf("it is signed by an unknown authority: %q is "+
				"none of those trusted here, and the chain that the server sends is incomplete without it", name)
		}
		parent := in[i]
		var insecure x509.InsecureAlgorithmError
		switch err := cur.CheckSignatureFrom(parent); {
		case errors.As(err, &insecure):
			return "have the authority sign it with SHA-256 or better", fmt.Sprintf("%q is signed with %s, which is "+
				"not accepted any more", nameOf(cur), cur.SignatureAlgorithm)
		case errors.As(err, new(x509.ConstraintViolationError)):
			return hintChain, fmt.Sprintf("%q, which signed %q, is not the certificate of an authority", name,
				nameOf(cur))
		case err != nil:
			return hintAuthority, fmt.Sprintf("the authority %q that is known here has another key than the one that "+
				"signed %q", name, nameOf(cur))
		case now.After(parent.NotAfter):
			return "renew that authority's certificate, or check this host's clock", fmt.Sprintf("the authority %q "+
				"has expired on %s (the clock here says %s)", name, parent.NotAfter.UTC().Format(time.DateOnly),
				now.UTC().Format(time.RFC3339))
		}
		cur = parent
	}
	return hintAuthority, "it is signed by an unknown authority"
}

func nameOf(c *x509.Certificate) string { return CertificateName(c.Subject.CommonName, c.DNSNames) }
