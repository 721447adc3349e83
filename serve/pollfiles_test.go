package serve

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bakehouse/agent/trust"
	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/needs"
	"bakehouse/serve/certificate"
	"bakehouse/serve/encode"
)

// reader is a host's side of the protocol, as agent uses it, at a real server that notes each request.
type reader struct {
	t      testing.TB
	http   *httptest.Server
	conf   wire.Config
	wire   *wire.Client
	tuf    *trust.Client
	report schema.Report

	mu    sync.Mutex
	asked []string
	sent  int64 // bytes of the bodies of requests

	travelled atomic.Int64 // bytes on the wire, both ways, TLS too
}

// countedListener counts what travels.
type countedListener struct {
	net.Listener
	n *atomic.Int64
}

func (l countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countedConn{c, l.n}, err
}

type countedConn struct {
	net.Conn
	n *atomic.Int64
}

func (c countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}

func (c countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}

func (w *site) reader(f *fleet, c caller, dir string) *reader {
	w.t.Helper()
	h := &reader{t: w.t}
	next := w.server.Handler()
	h.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.asked = append(h.asked, r.Method+" "+r.URL.Path)
		h.sent += max(0, r.ContentLength)
		h.mu.Unlock()
		next.ServeHTTP(w, r)
	}))
	h.http.Listener = countedListener{h.http.Listener, &h.travelled}
	cert, caFile, err := certificate.SelfSigned(w.t.TempDir(), time.Now())
	check(w.t, err)
	ca, err := os.ReadFile(caFile)
	check(w.t, err)
	h.http.TLS = tlsConfig(certificate.Fixed(cert))
	h.http.TLS.Certificates = []tls.Certificate{cert} // or httptest takes its own
	h.http.StartTLS()
	w.t.Cleanup(h.http.Close)
	h.conf = wire.Config{Server: h.http.URL, Certificates: []string{string(ca)}, User: c.name, Password: c.secret,
		Proxy: schema.Proxy{Mode: "none"}, Program: "bakehouse-agent/1.12.0"}
	w.t.Cleanup(func() { h.wire.Close() })
	h.connects()
	h.tuf, err = trust.Open(dir, f.Anchor, nil)
	check(w.t, err)
	return h
}

// connects is what each update begins with, in a process of its own.
func (h *reader) connects() {
	if h.wire != nil {
		h.wire.Close()
	}
	var err error
	h.wire, err = wire.New(h.conf)
	check(h.t, err)
}

// update polls and reads on to the host's package; bend may change what the poll brings. It returns what was asked for.
func (h *reader) update(bend func([]schema.PollFile) []schema.PollFile) (a *schema.Assignment, asked []string) {
	h.t.Helper()
	ctx := context.Background()
	h.asked = nil
	answer, err := h.wire.Poll(ctx, schema.PollRequest{
		MetadataVersions: h.tuf.Holds(h.conf.User), Report: h.report})
	check(h.t, err)
	src, timestamp := wire.Source{Client: h.wire}, h.tuf.Timestamp()
	if answer != nil {
		src.NewestRoot, src.Files = answer.Root, answer.Files
		if slices.ContainsFunc(answer.Files, func(f schema.PollFile) bool { return f.Name == "timestamp.json" }) {
			timestamp = nil
		}
		if bend != nil {
			src.Files = bend(src.Files)
		}
	}
	check(h.t, h.tuf.Refresh(ctx, src, timestamp))
	a, err = h.tuf.Assignment(ctx, src, h.conf.User)
	check(h.t, err)
	h.mu.Lock()
	defer h.mu.Unlock()
	return a, h.asked
}

func TestAPollBringsAllThatAHostLacksAndNothingElse(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	h := w.reader(f, c, t.TempDir())
	const poll = "[POST " + schema.PollPath + "]"
	want := packs["web01"]
	for step, change := range []func(){
		func() {}, // the host has its anchor only
		func() { want = f.bake("web01's second"); f.assign("web01", 2, want, packs["web01"]) },
		func() { f.assign("web02", 2, f.bake("web02's second")) },
		func() {
			f.nextRoot(false)
			f.nextRoot(true)
			f.assign("web01", 3, packs["web01"])
			want = packs["web01"]
		},
		func() {
			f.Policy.Sites["muc"] = schema.Site{URL: "https://muc.example"}
		},
	} {
		if change(); step > 0 {
			f.publish()
			check(t, w.server.releases.Follow(t.Context()))
		}
		a, asked := h.update(nil)
		if got := strings.Join(asked, ", "); "["+got+"]" != poll || a.SHA256 != want.digest {
			t.Errorf("step %d: asked %s, got package %s of %s", step, got, a.SHA256, want.digest)
		}
		if root, stamp := h.tuf.Versions(); root != f.Root.Signed.Version || stamp != f.Timestamp.Signed.Version {
			t.Errorf("step %d: root %d, timestamp %d", step, root, stamp)
		}
		if _, asked := h.update(nil); len(asked) != 1 {
			t.Errorf("step %d: an idle update asks %q", step, asked)
		}
	}
	if p := h.tuf.Policy(); p.Sites["muc"].URL == "" {
		t.Errorf("policy %+v", p)
	}

	// Of the bins it is the host's own, whatever versions it claims to hold.
	for _, v := range []schema.MetadataVersions{{}, {Root: 1}, {Root: 9, Timestamp: 9, Snapshot: 9, Targets: 9, Bin: 9},
		{Root: -1, Timestamp: -1, Snapshot: -1, Targets: -1, Bin: -1}, {Snapshot: 1, Targets: 1 << 60, Bin: 2}} {
		a, _ := w.poll(c, schema.PollRequest{MetadataVersions: v})
		total := 0
		for _, file := range a.Files {
			total += len(file.Data)
			if strings.Contains(file.Name, ".bin-") && !strings.HasSuffix(file.Name, "."+f.Bin("web01")+".json") ||
				strings.Contains(file.Name, schema.AccessTarget) || len(file.Data) == 0 {
				t.Errorf("holding %+v it is brought %s, %d bytes", v, file.Name, len(file.Data))
			}
		}
		if total > encode.MaxNews {
			t.Errorf("holding %+v it is brought %d bytes", v, total)
		}
	}
}

// What is bent in a poll costs the host the request that it would have made without, and nothing else.
func TestWhatAPollBringsAndDoesNotVerifyCostsOneRequest(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	bin := f.Bin("web01")
	bomb, err := encode.Compress(make([]byte, 64<<20), 9)
	check(t, err)
	of := func(part string) func(string) bool {
		return func(name string) bool { return strings.Contains(name, part) }
	}
	var foreign []byte
	for host := range packs {
		if f.Bin(host) != bin {
			foreign = f.read(schema.MetadataKey(f.Bin(host), 1))
		}
	}
	for name, is := range map[string]func(string) bool{"root": of(".root."), "timestamp": of("timestamp"),
		"snapshot": of(".snapshot."), "targets": of(".targets."), "policy": of(".policy"), "bin": of(bin)} {
		dir := t.TempDir()
		h := w.reader(f, c, dir)
		h.update(nil)
		f.nextRoot(false)
		p := f.bake("web01's next to " + name)
		f.assign("web01", f.number+1, p)
		f.publish()
		check(t, w.server.releases.Follow(t.Context()))
		for kind, bend := range map[string]func(*schema.PollFile){
			"garbage": func(file *schema.PollFile) { file.Data = []byte("garbage") },
			"empty":   func(file *schema.PollFile) { file.Data = nil },
			"whole garbage": func(file *schema.PollFile) {
				*file = schema.PollFile{Name: file.Name, Data: noise(5000)}
			},
			"another's":      func(file *schema.PollFile) { *file = schema.PollFile{Name: file.Name, Data: foreign} },
			"no such base":   func(file *schema.PollFile) { file.Against = 99 },
			"not of the end": func(file *schema.PollFile) { file.Data = file.Data[:len(file.Data)/2] },
			"null signed": func(file *schema.PollFile) {
				*file = schema.PollFile{Name: file.Name, Data: []byte(`{"signed":null}`)}
			},
			"a bomb": func(file *schema.PollFile) {
				*file = schema.PollFile{Name: file.Name, Data: bomb, Gzip: true}
			},
		} {
			if !needs.Drawn(name + kind) {
				continue
			}
			dir := copied(t, dir)
			h := w.reader(f, c, dir)
			bent := 0
			a, asked := h.update(func(files []schema.PollFile) []schema.PollFile {
				for i := range files {
					if is(files[i].Name) {
						bend(&files[i])
						bent++
					}
				}
				return files
			})
			if bent == 0 || len(asked) != 1+bent || a.SHA256 != p.digest {
				t.Errorf("%s, %s: %d files bent, asked %q, package %s of %s",
					name, kind, bent, asked, a.SHA256, p.digest)
			}
		}
	}
}

func copied(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	check(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}
