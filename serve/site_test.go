package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bakehouse/agent/trust"
	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/serve/inventory"
	"bakehouse/serve/origin"
	"bakehouse/serve/store"
)

// site is a server under test, over TLS on a port of its own.
type site struct {
	t      testing.TB
	server *Server
	db     *inventory.DB
	http   *httptest.Server
	log    *lockedBuffer
}

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu    sync.Mutex
	b     bytes.Buffer
	grown chan struct{} // closed and replaced by each write
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// wait returns once text stands in the log.
func (l *lockedBuffer) wait(t testing.TB, text string) {
	t.Helper()
	for {
		l.mu.Lock()
		if bytes.Contains(l.b.Bytes(), []byte(text)) {
			l.mu.Unlock()
			return
		}
		if l.grown == nil {
			l.grown = make(chan struct{})
		}
		grown := l.grown
		l.mu.Unlock()
		select {
		case <-grown:
		case <-time.After(30 * time.Second):
			t.Fatalf("%q never came in: %s", text, l)
		}
	}
}

// start serves f until the test ends.
func start(t testing.TB, f *fleet) *site {
	t.Helper()
	return startWith(t, f, filepath.Join(t.TempDir(), "inventory.db"), nil)
}

func startWith(t testing.TB, f *fleet, database string, tune func(*Server)) *site {
	t.Helper()
	db, err := inventory.Open(t.Context(), database)
	check(t, err)
	log := &lockedBuffer{}
	s, err := New(t.Context(), Options{Store: f.store, Inventory: db, Anchor: f.Anchor,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	check(t, err)
	s.releases.Pace = origin.Pace{Patience: time.Minute} // a poll brings what is published, however busy the machine is
	if tune != nil {
		tune(s)
	}
	w := serveTLS(t, s, db, log)
	t.Cleanup(w.stop)
	return w
}

func serveTLS(t testing.TB, s *Server, db *inventory.DB, log *lockedBuffer) *site {
	h := httptest.NewUnstartedServer(nil)
	h.Config = s.HTTPServer()
	h.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	h.StartTLS()
	return &site{t: t, server: s, db: db, http: h, log: log}
}

func (w *site) stop() {
	if w.http == nil {
		return
	}
	w.http.Close()
	w.http = nil
	if w.db == nil {
		return
	}
	if err := w.db.Close(); err != nil {
		w.t.Error(err)
	}
}

// caller is who asks: a host with its secret, a user with a password, or nobody.
type caller struct{ name, secret string }

// reply is a response that was read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) problem() schema.Problem {
	var p schema.Problem
	_ = json.Unmarshal(r.body, &p)
	return p
}

// same renders all of a response that a peer could tell apart, but for the date.
func (r reply) same() string {
	h := r.header.Clone()
	h.Del("Date")
	return fmt.Sprintf("%d %v %q", r.status, h, r.body)
}

func (w *site) do(c caller, method, path string, body any, headers ...string) reply {
	w.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		in = bytes.NewReader(b)
	default:
		j, err := json.Marshal(b)
		check(w.t, err)
		in = bytes.NewReader(j)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.http.URL+path, in)
	check(w.t, err)
	if c.name != "" {
		req.SetBasicAuth(c.name, c.secret)
	}
	req.Header.Set("Accept-Encoding", "identity")
	// Sent again by the client, as by a host, where the server closed a connection that nobody used for a while: on a
	// machine with much else to do a while is soon over.
	req.Header["Idempotency-Key"] = nil
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return w.read(w.http.Client(), req)
}

func (w *site) read(c *http.Client, req *http.Request) reply {
	w.t.Helper()
	resp, err := c.Do(req)
	check(w.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(w.t, err)
	return reply{resp.StatusCode, resp.Header, b}
}

func (w *site) get(c caller, path string, headers ...string) reply {
	w.t.Helper()
	return w.do(c, http.MethodGet, path, nil, headers...)
}

var installer = caller{"installer", password}

func registration(host string) schema.RegisterRequest {
	return schema.RegisterRequest{Schema: schema.WireVersions(), Host: host, Agent: "1.0",
		Platform: schema.Platform{OS: "linux", Arch: "amd64"}}
}

func (w *site) register(host string) caller {
	w.t.Helper()
	q := registration(host)
	q.Replace = true
	r := w.do(installer, http.MethodPost, schema.RegisterPath, q)
	if r.status != http.StatusOK {
		w.t.Fatalf("register %s: %d %s", host, r.status, r.body)
	}
	var a schema.RegisterAnswer
	check(w.t, schema.Decode(r.body, &a))
	return caller{host, a.Secret}
}

func (w *site) poll(c caller, q schema.PollRequest) (answer schema.PollAnswer, r reply) {
	w.t.Helper()
	q.Schema = schema.WireVersions()
	r = w.do(c, http.MethodPost, schema.PollPath, q)
	if r.status == http.StatusOK {
		check(w.t, schema.Decode(r.body, &answer))
	}
	return answer, r
}

// held are the versions that a host names which reads nothing but these two.
func held(timestamp, root int64) schema.MetadataVersions {
	return schema.MetadataVersions{Timestamp: timestamp, Root: root}
}

// stampOf is the timestamp of an answer for a host that holds the version have, nil if it brings none.
func (f *fleet) stampOf(a schema.PollAnswer, have int64) []byte {
	f.t.Helper()
	var old []byte
	if have > 0 {
		// It may be of the future.
		old, _ = store.Read(f.t.Context(), f.store, schema.TimestampKey(have), schema.MaxTimestamp)
	}
	return wire.Source{Files: a.Files}.Offered("timestamp.json", have, old, schema.MaxTimestamp)
}

// packageAnswer asks for what a package is checked by.
func (w *site) packageAnswer(c caller, manifest schema.Digest, headers ...string) (a schema.PackageAnswer) {
	w.t.Helper()
	r := w.get(c, schema.ManifestPath+manifest.Hex(), headers...)
	if r.status != http.StatusOK || r.header.Get("Cache-Control") != cacheNever {
		w.t.Fatalf("manifest: %d %v %s", r.status, r.header, r.body)
	}
	check(w.t, schema.Decode(r.body, &a))
	return a
}

// source is a host's view of the site, as agent/trust reads it.
type source struct {
	w *site
	c caller
}

func (s source) read(path string) ([]byte, error) {
	r := s.w.get(s.c, path)
	switch r.status {
	case http.StatusOK:
		return r.body, nil
	case http.StatusNotFound:
		return nil, fs.ErrNotExist
	}
	return nil, fmt.Errorf("%s: %d %s", path, r.status, r.body)
}

func (s source) Metadata(_ context.Context, name string, _ int64) ([]byte, error) {
	return s.read(schema.MetadataPath + name)
}

func (s source) Tree(_ context.Context, root schema.Digest, _ int64) ([]byte, error) {
	return s.read(schema.TreePath + root.Hex())
}

func (s source) Target(_ context.Context, name string, d schema.Digest, _ int64) ([]byte, error) {
	return s.read(schema.TargetPath + d.Hex() + "." + name)
}

// follow is what a host does between poll and installation; it returns the assembled package.
func (w *site) follow(f *fleet, c caller) []byte {
	w.t.Helper()
	answer, r := w.poll(c, schema.PollRequest{})
	if r.status != http.StatusOK {
		w.t.Fatalf("poll: %d %s", r.status, r.body)
	}
	client, err := trust.Open("", f.Anchor, nil)
	check(w.t, err)
	check(w.t, client.Refresh(w.t.Context(), source{w, c}, f.stampOf(answer, 0)))
	a, err := client.Assignment(w.t.Context(), source{w, c}, c.name)
	check(w.t, err)
	m, err := schema.DecodeManifest(w.packageAnswer(c, a.Manifest).Manifest, a.Manifest)
	check(w.t, err)
	var out bytes.Buffer
	check(w.t, m.Assemble(&out, func(ref schema.SegmentRef) (io.ReadCloser, error) {
		r := w.get(c, schema.SegmentPath+ref.Digest.Hex())
		if r.status != http.StatusOK {
			return nil, fmt.Errorf("%d %s", r.status, r.body)
		}
		return io.NopCloser(bytes.NewReader(r.body)), nil
	}))
	if schema.DigestOf(out.Bytes()) != a.SHA256 {
		w.t.Fatal("the package is not the one that was signed")
	}
	return out.Bytes()
}

// wantStatus fails unless the reply has the status and its problem mentions text.
func wantStatus(t testing.TB, r reply, status int, text string) {
	t.Helper()
	if p := r.problem(); r.status != status || !strings.Contains(p.Error+" "+p.Hint, text) {
		t.Errorf("got %d %s, want %d and %q", r.status, r.body, status, text)
	}
}
