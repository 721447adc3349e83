package serve

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/certificate"
)

// rejected is a certificate that hosts reject.
type rejected struct{ urls []string }

func (*rejected) Look() {}
func (r *rejected) Problem(urls []string, _ time.Time) string {
	r.urls = urls
	return "not for bakehouse.example"
}

func TestACertificateThatHostsRejectIsInTheLogAndInHealth(t *testing.T) {
	t.Parallel()
	f, _ := standardFleet(t)
	cert := &rejected{}
	w := startWith(t, f, filepath.Join(t.TempDir(), "i.db"), func(s *Server) {
		s.cert = cert
		s.look(t.Context())
		s.look(t.Context())
	})
	r := w.get(caller{}, schema.HealthPath)
	for _, want := range []string{`"status":"degraded"`, "not for bakehouse.example"} {
		if !strings.Contains(string(r.body), want) {
			t.Errorf("%s", r.body)
		}
	}
	if len(cert.urls) != 1 || cert.urls[0] != "https://bakehouse.example" {
		t.Errorf("compared with %q", cert.urls)
	}
	if n := strings.Count(w.log.String(), "not for bakehouse.example"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

func TestAHangupReadsTheCertificateAgainAndEndsNothing(t *testing.T) {
	t.Parallel()
	f, _ := standardFleet(t)
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	for _, d := range []string{first, second} {
		_, _, err := certificate.SelfSigned(d, time.Now())
		check(t, err)
	}
	url, cmd, _, stderr := program(t, "serve", "--store", f.dir, "--listen", "127.0.0.1:0", "--watch", "1h",
		"--database", filepath.Join(dir, "inventory.db"), "--tls-cert", filepath.Join(first, "server.pem"),
		"--tls-key", filepath.Join(first, "server.key"))
	presented := func() string {
		t.Helper()
		conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{InsecureSkipVerify: true})
		check(t, err)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := presented()
	for _, name := range []string{"server.pem", "server.key"} {
		check(t, os.Rename(filepath.Join(second, name), filepath.Join(first, name)))
	}
	check(t, cmd.Process.Signal(syscall.SIGHUP))
	stderr.wait(t, "TLS certificate renewed")
	if presented() == before {
		t.Error("the certificate of the start is presented")
	}
	check(t, cmd.Process.Signal(syscall.SIGTERM))
	check(t, cmd.Wait())
}
