package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestARenewedCertificateIsPresentedOnceItIsWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
	write := func(path string, b []byte) {
		t.Helper()
		check(t, os.WriteFile(path+".new", b, 0o600))
		check(t, os.Rename(path+".new", path))
	}
	first, err := makeCertificates(time.Now())
	check(t, err)
	second, err := makeCertificates(time.Now())
	check(t, err)
	write(cert, first[certFile])
	write(key, first[keyFile])
	var log strings.Builder
	c, err := Open(cert, key, slog.New(slog.NewTextHandler(&log, nil)))
	check(t, err)
	presents := func(want map[string][]byte, problem string) {
		t.Helper()
		pair, err := tls.X509KeyPair(want[certFile], want[keyFile])
		check(t, err)
		c.Look()
		c.Look()
		got, err := c.Get(nil)
		check(t, err)
		if !got.Leaf.Equal(pair.Leaf) {
			t.Error("another certificate is presented")
		}
		if p := c.Problem(nil, time.Now()); p != problem {
			t.Errorf("problem %q", p)
		}
	}
	const unusable = "the TLS certificate's files cannot be used; the one before is presented"
	presents(first, "")
	write(cert, second[certFile]) // its key is still to come
	presents(first, unusable)
	write(key, second[keyFile])
	presents(second, "")
	check(t, os.Remove(key))
	presents(second, unusable)
	write(key, second[keyFile])
	presents(second, "")
	write(cert, []byte("no certificate"))
	presents(second, unusable)
	write(cert, first[certFile])
	write(key, first[keyFile])
	presents(first, "")
	if n := strings.Count(log.String(), "level=WARN"); n != 3 {
		t.Errorf("%d warnings:\n%s", n, &log)
	}
}

func TestACertificateThatHostsRejectIsSaidToBeOne(t *testing.T) {
	t.Parallel()
	now := time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	with := func(dns string, ip ...net.IP) *Certificate {
		x := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bakehouse.example"},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
			DNSNames: strings.Fields(dns), IPAddresses: ip}
		der, err := x509.CreateCertificate(rand.Reader, x, x, &key.PublicKey, key)
		check(t, err)
		leaf, err := x509.ParseCertificate(der)
		check(t, err)
		return Fixed(tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf})
	}
	fleet := []string{"https://bakehouse.example:8443"}
	for name, c := range map[string]struct {
		cert *Certificate
		urls []string
		at   time.Time
		want string
	}{
		"right":                 {with("bakehouse.example"), fleet, now, ""},
		"one of several names":  {with("other.example bakehouse.example"), fleet, now, ""},
		"wildcard":              {with("*.example"), fleet, now, ""},
		"a site's":              {with("muc.example"), append([]string{"https://muc.example"}, fleet...), now, ""},
		"address":               {with("", net.IPv4(192, 0, 2, 1)), []string{"https://192.0.2.1"}, now, ""},
		"a fleet without a URL": {with("a.example"), []string{""}, now, ""},
		"common name alone":     {with(""), fleet, now, "no subjectAltName"},
		"another name": {with("a.example"), fleet, now,
			"is for a.example, and hosts call the server bakehouse.example"},
		"name for an address":   {with("", net.IPv4(192, 0, 2, 1)), fleet, now, "is for 192.0.2.1, and hosts call"},
		"expired while serving": {with("bakehouse.example"), fleet, now.Add(time.Hour), "expired at"},
	} {
		got := c.cert.Problem(c.urls, c.at)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
