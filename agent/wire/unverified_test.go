package wire

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"bakehouse/schema"
)

func TestAnUnverifiedServerIsAskedForOpenMetadataAloneAndToldNothing(t *testing.T) {
	var asked []string
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.String())
		var all bytes.Buffer
		r.Header.Write(&all)
		for _, secret := range []string{"web01", "s3cret", "1.2.3", "Authorization"} {
			if strings.Contains(all.String()+string(b), secret) {
				t.Errorf("%s is sent: %s%s", secret, &all, b)
			}
		}
		w.Write([]byte("it"))
	}))
	t.Cleanup(s.Close)
	u, err := NewUnverified(Config{Server: s.URL, User: "web01", Password: "s3cret", Program: "bakehouse-agent/1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	d := schema.DigestOf(nil)
	for name, want := range map[string]bool{"timestamp.json": true, "2.root.json": true, "7.snapshot.json": true,
		"7.targets.json": true, "3.bin-0a.json": false, "root.json": false, "../poll": false, "07.root.json": false,
		"-1.root.json": false, "1.root.json/x": false, "1.timestamp.json": false, "+1.root.json": false} {
		b, err := u.Metadata(t.Context(), name, 100)
		if (err == nil && string(b) == "it") != want || !want && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %s, %v", name, b, err)
		}
	}
	if b, err := u.Target(t.Context(), schema.PolicyTarget, d, 100); err != nil || string(b) != "it" {
		t.Errorf("policy: %s, %v", b, err)
	}
	for _, name := range []string{schema.AccessTarget, schema.ReleaseTarget, "web01/package"} {
		if _, err := u.Target(t.Context(), name, d, 100); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := u.Tree(t.Context(), d, 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("tree: %v", err)
	}
	slices.Sort(asked)
	want := []string{"GET /v1/metadata/2.root.json", "GET /v1/metadata/7.snapshot.json",
		"GET /v1/metadata/7.targets.json", "GET /v1/metadata/timestamp.json", "GET /v1/targets/" + d.Hex() + ".policy"}
	if !slices.Equal(asked, want) {
		t.Errorf("asked for %q", asked)
	}
}

// Where a certificate is not verified, that of a proxy is not either, and the password for the proxy is no stranger's.
func TestAProxyWhoseCertificateIsNotVerifiedGetsNoPassword(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("it"))
	}))
	t.Cleanup(server.Close)
	for _, scheme := range []string{"http", "https"} {
		var connects []*http.Request
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if scheme == "https" {
			l = tls.NewListener(l, server.TLS)
		}
		t.Cleanup(func() { l.Close() })
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				return
			}
			connects = append(connects, r)
			to, err := net.Dial("tcp", r.Host)
			if err != nil {
				return
			}
			defer to.Close()
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			go io.Copy(to, c)
			io.Copy(c, to)
		}()
		at := url.URL{Scheme: scheme, Host: l.Addr().String(), User: url.UserPassword("proxyuser", "letmein")}
		u, err := NewUnverified(Config{Server: server.URL, Proxy: schema.Proxy{Mode: "explicit", URL: at.String()}})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := u.Metadata(t.Context(), "timestamp.json", 100); err != nil || string(b) != "it" {
			t.Errorf("%s: %s, %v", scheme, b, err)
		}
		u.Close()
		server.CloseClientConnections()
		<-done
		if len(connects) != 1 || (connects[0].Header.Get("Proxy-Authorization") != "") != (scheme == "http") {
			t.Errorf("%s: %v", scheme, connects)
		}
	}
}
