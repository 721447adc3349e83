package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"bakehouse/schema/fault"
)

// unreachableError says that no answer, or no whole one, was had: another server may be asked, or the same one later.
type unreachableError struct{ err error }

func (e *unreachableError) Error() string { return e.err.Error() }
func (e *unreachableError) Unwrap() error { return e.err }

// isUnreachable also holds for a server that answers, but that it cannot serve now.
func isUnreachable(err error) bool {
	var u *unreachableError
	var s *statusError
	return errors.As(err, &u) || errors.As(err, &s) && (s.Status >= 500 || s.Status == http.StatusTooManyRequests)
}

// explain turns what the HTTP client says into what failed and what to do.
func (c *client) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// The URL and the method that url.Error adds are said once, here.
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var hint string
	var bad *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &bad):
		hint, err = explainCertificate(bad, c.now())
	case errors.As(err, &record) || strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		err, hint = errors.New("the server does not speak TLS on that port"), "check the port and the protocol of the URL"
	case errors.As(err, &dns):
		hint = "check the host name of the URL, and this host's name resolution"
	case errors.As(err, &op) && op.Op == "proxyconnect":
		hint = "check the proxy that the updater's rule sets, or HTTPS_PROXY"
	default:
		hint = "check that the server runs, and that no firewall or proxy is in the way"
	}
	return fault.Hint(&unreachableError{fmt.Errorf("server %s: %w", c.base, err)}, "%s", hint)
}

// explainCertificate names the certificate that failed, why, and what to do.
func explainCertificate(bad *tls.CertificateVerificationError, now time.Time) (hint string, err error) {
	if len(bad.UnverifiedCertificates) == 0 {
		return "check the server's certificate", bad
	}
	cert := bad.UnverifiedCertificates[0]
	which := fmt.Sprintf("its certificate %q (issued by %q, valid until %s)", name(cert.Subject.CommonName, cert.DNSNames),
		name(cert.Issuer.CommonName, cert.Issuer.Organization), cert.NotAfter.UTC().Format(time.DateOnly))
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(bad.Err, &unknown):
		return "give the authority's certificate to register with --ca FILE, or set certificates in the updater's rule",
			fmt.Errorf("%s is not believed: it is signed by an unknown authority", which)
	case errors.As(bad.Err, &host):
		names := append([]string(nil), cert.DNSNames...)
		for _, ip := range cert.IPAddresses {
			names = append(names, ip.String())
		}
		return "use one of those names in the server's URL, or give the server a certificate for its name",
			fmt.Errorf("%s is not for %q but for %s", which, host.Host, strings.Join(names, ", "))
	case errors.As(bad.Err, &invalid) && invalid.Reason == x509.Expired:
		here := now.UTC().Format(time.RFC3339)
		if now.Before(cert.NotBefore) {
			return "check this host's clock", fmt.Errorf("%s is not valid before %s (it is %s here)", which, cert.NotBefore.UTC().Format(time.RFC3339), here)
		}
		return "renew the server's certificate, or check this host's clock", fmt.Errorf("%s has expired (it is %s here)", which, here)
	}
	return "check the server's certificate, or give --ca FILE", fmt.Errorf("%s is not believed: %w", which, bad.Err)
}

func name(cn string, others []string) string {
	if cn == "" && len(others) > 0 {
		cn = others[0]
	}
	return clean(cn)
}
