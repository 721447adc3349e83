package serve

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
)

// dial opens a TLS connection to the site, on which a test writes what it likes.
func (w *site) dial() *tls.Conn {
	w.t.Helper()
	config := w.http.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.ServerName = "example.com" // httptest's certificate
	config.NextProtos = nil
	conn, err := tls.Dial("tcp", w.http.Listener.Addr().String(), config)
	check(w.t, err)
	w.t.Cleanup(func() { conn.Close() })
	check(w.t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return conn
}

func TestConnectionsThatDribbleAreEnded(t *testing.T) {
	f, _ := standardFleet(t)
	w := startWith(t, f, filepath.Join(t.TempDir(), "i.db"), func(s *Server) { s.timeouts = timeouts{header: 2 * time.Second, body: 300 * time.Millisecond} })
	c := w.register("web01")
	auth := func(c caller) string {
		r, err := http.NewRequest(http.MethodGet, "/", nil)
		check(t, err)
		r.SetBasicAuth(c.name, c.secret)
		return "Authorization: " + r.Header.Get("Authorization") + "\r\n"
	}
	t.Run("during the TLS handshake", func(t *testing.T) {
		t.Parallel()
		conn, err := net.Dial("tcp", w.http.Listener.Addr().String())
		check(t, err)
		defer conn.Close()
		check(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = conn.Write([]byte{22, 3, 1})
		check(t, err)
		if _, err := io.ReadAll(conn); isTimeout(err) {
			t.Error("it is still open")
		}
	})
	for name, c := range map[string]struct{ send, status string }{
		"in the header":                       {"GET " + schema.HealthPath + " HTTP/1.1\r\nHost: x\r\nX-Slow", ""},
		"in a poll's body":                    {"POST " + schema.PollPath + " HTTP/1.1\r\nHost: x\r\n" + auth(c) + "Content-Length: 1000\r\n\r\n{", "408"},
		"in a body that nobody wants":         {"GET " + schema.HealthPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", "200"},
		"in a chunked body that nobody wants": {"GET " + schema.HealthPath + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "200"},
		"in a body of the unregistered":       {"POST " + schema.PollPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", "401"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := w.dial()
			_, err := io.WriteString(conn, c.send)
			check(t, err)
			b, err := io.ReadAll(conn)
			if isTimeout(err) {
				t.Errorf("it is still open after %s", b)
			}
			if line, _, _ := strings.Cut(string(b), "\r\n"); c.status != "" && !strings.Contains(line, c.status) {
				t.Errorf("%q, want %s", line, c.status)
			}
		})
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

func TestHeadersBeyondTheBoundAreRefused(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	conn := w.dial()
	go func() { // the server answers before it has read all
		_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", schema.HealthPath, strings.Repeat("x", 2*maxHeader))
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	check(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%s", resp.Status)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	w.http.TLS.MinVersion = tlsConfig(nil).MinVersion
	conn, err := net.Dial("tcp", w.http.Listener.Addr().String())
	check(t, err)
	defer conn.Close()
	c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err := c.Handshake(); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
}
