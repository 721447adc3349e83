package wire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// authority signs certificates for tests.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  crypto.Signer
}

func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// newAuthority is a root.
func newAuthority(t *testing.T, name string, change ...func(*x509.Certificate)) *authority {
	return (&authority{t: t}).authority(name, change...)
}

// authority is one below a.
func (a *authority) authority(name string, change ...func(*x509.Certificate)) *authority {
	return a.issue(name, append([]func(*x509.Certificate){func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.IPAddresses, c.KeyUsage = true, true, nil, x509.KeyUsageCertSign
	}}, change...)...)
}

// issue makes a certificate, by itself if a has none.
func (a *authority) issue(name string, change ...func(*x509.Certificate)) *authority {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	for _, f := range change {
		f(c)
	}
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	if err != nil {
		a.t.Fatal(err)
	}
	return &authority{a.t, a.parse(der), key}
}

func (a *authority) parse(der []byte) *x509.Certificate {
	a.t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// withSHA1 is the certificate as its authority, whose key is RSA, would have signed it long ago.
func (a *authority) withSHA1(by *rsa.PrivateKey) *authority {
	a.t.Helper()
	var outer struct {
		TBS, Algorithm asn1.RawValue
		Signature      asn1.BitString
	}
	der := []byte(strings.ReplaceAll(string(a.cert.Raw), "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b",
		"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05"))
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		a.t.Fatal(err)
	}
	sum := sha1.Sum(outer.TBS.FullBytes)
	sig, err := rsa.SignPKCS1v15(nil, by, crypto.SHA1, sum[:])
	if err != nil {
		a.t.Fatal(err)
	}
	outer.Signature = asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}
	if der, err = asn1.Marshal(outer); err != nil {
		a.t.Fatal(err)
	}
	return &authority{a.t, a.parse(der), a.key}
}

// serves is a server that sends these certificates, the first of which is its own.
func serves(t *testing.T, own *authority, more ...*authority) *httptest.Server {
	t.Helper()
	chain := tls.Certificate{Certificate: [][]byte{own.cert.Raw}, PrivateKey: own.key}
	for _, a := range more {
		chain.Certificate = append(chain.Certificate, a.cert.Raw)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, _, ok := r.BasicAuth(); ok {
			w.Header().Set("Seen", user)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	s.Config.ErrorLog = log.New(t.Output(), "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{chain}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestEachReasonNotToBelieveACertificateHasItsOwnWords(t *testing.T) {
	root := newAuthority(t, "Corp CA")
	issuing := root.authority("Corp Issuing CA")
	past := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = c.NotBefore.AddDate(-1, 0, 0), time.Now().Add(-time.Minute)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaRoot := &authority{t, nil, nil}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true,
		Subject: pkix.Name{CommonName: "Old CA"}, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)},
		&x509.Certificate{Subject: pkix.Name{CommonName: "Old CA"}}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	rsaRoot.cert, rsaRoot.key = rsaRoot.parse(der), key
	old := rsaRoot.withSHA1(key)
	for name, c := range map[string]struct {
		trusted *authority
		sent    []*authority
		says    string
		hint    string
	}{
		"an intermediate is not sent": {root, []*authority{issuing.issue("leaf")},
			`"leaf" (issued by "Corp Issuing CA", valid until ` + issuing.cert.NotAfter.UTC().Format(time.DateOnly) +
				`) is not trusted: it is signed by an unknown authority: "Corp Issuing CA" is none of those trusted ` +
				`here, and the chain that the server sends is incomplete without it`, "send its whole chain"},
		"it signed itself": {root, []*authority{newAuthority(t, "self", func(c *x509.Certificate) {
			c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		})}, "is not trusted: it is signed by an unknown authority", "--trust-cert"},
		"a whole chain to the root of others": {newAuthority(t, "Other CA"),
			[]*authority{issuing.issue("leaf"), issuing, root}, "it is signed by an unknown authority", "--ca FILE"},
		"the root of others, which is signed with SHA-1 itself": {root, []*authority{rsaRoot.issue("leaf"), old},
			"it is signed by an unknown authority", "--ca FILE"},
		"a certificate with SHA-1": {rsaRoot, []*authority{rsaRoot.issue("weak").withSHA1(key)},
			`"weak" is signed with SHA1-RSA, which is not accepted any more`, "SHA-256"},
		"no alternative name": {root, []*authority{root.issue("cn", func(c *x509.Certificate) { c.IPAddresses = nil })},
			`"cn" (issued by "Corp CA", valid until `, "subject alternative name"},
		"another name": {root, []*authority{root.issue("leaf", func(c *x509.Certificate) {
			c.IPAddresses, c.DNSNames = nil, []string{"bakehouse.example", "b\x1b[2J"}
		})}, `is not for "127.0.0.1" but for bakehouse.example, `, "use one of those names"},
		"expired": {root, []*authority{root.issue("leaf", past)}, "has expired (the clock here says ", "renew"},
		"not yet valid": {root, []*authority{root.issue("leaf", func(c *x509.Certificate) {
			c.NotBefore = time.Now().Add(time.Minute)
		})}, "is not valid before ", "clock"},
		"an expired authority in between": {root, func() []*authority {
			gone := root.authority("Gone CA", past)
			return []*authority{gone.issue("leaf"), gone}
		}(), `the authority "Gone CA" has expired on `, "renew"},
		"an authority of that name with another key": {newAuthority(t, "Corp CA"), []*authority{root.issue("leaf")},
			`the authority "Corp CA" that is known here has another key than the one that signed "leaf"`, "--ca FILE"},
		"signed by what is no authority": {root, func() []*authority {
			server := root.issue("server", func(c *x509.Certificate) { c.BasicConstraintsValid = true })
			return []*authority{server.issue("leaf"), server}
		}(), `"server", which signed "leaf", is not the certificate of an authority`, "whole chain"},
		"made for something else": {root, []*authority{root.issue("mail", func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
		})}, "is not made for servers", "serverAuth"},
		"by none of the public authorities": {nil, []*authority{root.issue("leaf")},
			"it is signed by an unknown authority", "authorit"},
	} {
		t.Run(name, func(t *testing.T) {
			conf := Config{Server: serves(t, c.sent[0], c.sent[1:]...).URL, User: "web01", Password: "s3cret"}
			if c.trusted != nil {
				conf.Certificates = []string{c.trusted.pem()}
			}
			client, err := New(conf)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			_, err = client.Poll(t.Context(), schema.PollRequest{})
			if !errors.Is(err, ErrCertificate) || !errors.Is(err, ErrUnreachable) ||
				!strings.Contains(err.Error(), c.says) ||
				!strings.Contains(fault.HintOf(err), c.hint) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("%v; %s", err, fault.HintOf(err))
			}
		})
	}
}

func TestTheShownCertificateIsHadWhateverItsChainAndPinningItIsBelieved(t *testing.T) {
	own := newAuthority(t, "Corp CA").issue("leaf")
	s := serves(t, own)
	u, err := NewUnverified(Config{Server: s.URL, User: "web01", Password: "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	shown, err := u.Certificate(t.Context())
	if err != nil || !shown.Equal(own.cert) {
		t.Fatalf("%v, %v", shown, err)
	}
	for pinned, want := range map[string]bool{own.pem(): true, newAuthority(t, "Corp CA").issue("leaf").pem(): false} {
		c, err := New(Config{Server: s.URL, Certificates: []string{pinned}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Poll(t.Context(), schema.PollRequest{}); (err == nil) != want {
			t.Errorf("believed: %v, want %v", err, want)
		}
		c.Close()
	}
	plain := httptest.NewServer(s.Config.Handler)
	defer plain.Close()
	u, err = NewUnverified(Config{Server: plain.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Certificate(t.Context()); err == nil || fault.HintOf(err) == "" {
		t.Errorf("over HTTP: %v", err)
	}
}
