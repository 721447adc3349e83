package certificate

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bakehouse/schema/fault"
)

func TestASelfSignedCertificateIsMadeOnceAndVouchedForByItsAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "tls")
	now := time.Now()
	cert, ca, err := SelfSigned(dir, now)
	check(t, err)
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(ca)
	check(t, err)
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate in " + ca)
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	st, err := os.Stat(filepath.Join(dir, keyFile))
	check(t, err)
	if st.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v", st.Mode())
	}
	again, _, err := SelfSigned(dir, now)
	check(t, err)
	if !again.Leaf.Equal(cert.Leaf) {
		t.Error("it was made anew")
	}
	renewed, _, err := SelfSigned(dir, now.Add(selfSignedLife))
	check(t, err)
	if !renewed.Leaf.NotAfter.After(cert.Leaf.NotAfter) {
		t.Error("it was not renewed before its end")
	}
	check(t, os.Remove(filepath.Join(dir, keyFile))) // as after a crash half-way
	if _, _, err := SelfSigned(dir, now); err != nil {
		t.Errorf("after a crash: %v", err)
	}
	check(t, os.WriteFile(filepath.Join(dir, keyFile), []byte("mine"), 0o600))
	if _, _, err := SelfSigned(dir, now); err == nil || fault.HintOf(err) == "" {
		t.Errorf("somebody else's file: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, keyFile)); err != nil || string(b) != "mine" {
		t.Errorf("somebody else's file was overwritten with %.20q, %v", b, err)
	}
}

func TestAnExpiredCertificateIsSaidToBe(t *testing.T) {
	dir := t.TempDir()
	pems, err := makeCertificates(time.Now().Add(-2 * selfSignedLife))
	check(t, err)
	for name, b := range pems {
		check(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	if _, err := Open(filepath.Join(dir, certFile), filepath.Join(dir, keyFile), nil); err == nil ||
		fault.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
