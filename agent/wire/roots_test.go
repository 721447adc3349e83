package wire

import (
	"crypto/x509"
	"testing"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

func TestEachPublicAuthorityVouchesForItselfAndNoOtherDoes(t *testing.T) {
	pool, err := publicRoots()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for r := range bundle.Roots() {
		c, err := x509.ParseCertificate(r.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		o := x509.VerifyOptions{Roots: pool, CurrentTime: c.NotBefore.Add(time.Hour),
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
		if _, err := c.Verify(o); err != nil {
			t.Errorf("%s: %v", c.Subject, err)
		}
		n++
	}
	if n < 50 {
		t.Errorf("%d authorities", n)
	}
	for _, mode := range []string{"", "environment"} {
		conf := Config{Server: "https://bakehouse.example"}
		conf.Proxy.Mode = mode
		if got, err := conf.roots(); err != nil || !got.Equal(pool) {
			t.Errorf("without certificates, proxy %q: %v", mode, err)
		}
	}
	root := newAuthority(t, "Corp CA")
	with := Config{Server: "https://bakehouse.example", Certificates: []string{root.pem()}}
	want := x509.NewCertPool()
	want.AppendCertsFromPEM([]byte(root.pem()))
	if got, err := with.roots(); err != nil || !got.Equal(want) {
		t.Errorf("with certificates: %v", err)
	}
}
