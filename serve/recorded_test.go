package serve

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bakehouse/agent/trust"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/uplink"
	"bakehouse/serve/publishing"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
	"bakehouse/serve/store/storetest"
	"bakehouse/serve/store/storetest/s3test"
)

// recording is what a host and a site of one version said to a server of that version, and what was answered. It is
// made once, when a version of the wire is new, and never again: hosts of that version are out there.
type recording struct {
	At        time.Time         `json:"at"` // by which what is published is valid
	Anchor    []byte            `json:"anchor"`
	Package   schema.Digest     `json:"package"` // web01's
	Objects   map[string][]byte `json:"objects"` // of the server's store
	Exchanges []recorded        `json:"exchanges"`
}

// recorded is one request and its answer, as they were on the wire but for what carries credentials.
type recorded struct {
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	As      string            `json:"as"`
	Headers map[string]string `json:"headers,omitempty"` // of the request
	Body    []byte            `json:"body,omitempty"`

	Status   int               `json:"status"`
	Answered map[string]string `json:"answered,omitempty"` // headers
	Answer   []byte            `json:"answer,omitempty"`
}

var (
	requestHeaders = []string{"Accept-Encoding", "Content-Type", "Range", "User-Agent", schema.HaveManifest,
		uplink.SiteHeader, uplink.HostHeader}
	answerHeaders = []string{"Content-Encoding", "Content-Type", "Content-Range", "Accept-Ranges", "ETag"}
)

func someOf(h http.Header, names []string) map[string]string {
	some := map[string]string{}
	for _, name := range names {
		if v := h.Get(name); v != "" {
			some[name] = v
		}
	}
	return some
}

// recordedFleet is small: one host of the centre, one of the site muc.
func recordedFleet(t *testing.T, at time.Time) *fleet {
	f := newFleet(t)
	f.Fleet = trusttest.NewFleet(at, 2)
	f.Policy.Sites["central"] = schema.Site{URL: "https://bakehouse.example"}
	f.Policy.Sites["muc"] = schema.Site{URL: "https://muc.example"}
	f.access.Users["site-muc"] = schema.User{Hash: f.access.Users["idle"].Hash, Automation: true,
		Permissions: map[string][]string{schema.PermSite: {"muc"}}}
	f.More[schema.AccessTarget] = &f.access
	f.More[schema.AboutTarget] = &schema.About{Schema: schema.AboutSchema, Subject: "recorded"}
	for _, host := range []string{"web01", "muc01"} {
		text := "what " + host + " runs"
		segment := storetest.Deflate(text)
		ref := schema.SegmentRef{Payload: schema.DigestOf([]byte(text)), PayloadSize: int64(len(text))}
		f.Give(host, f.Pack(schema.Manifest{Version: "1.0", Recipe: "0123456789abcdef", Format: schema.Deb,
			Platform: schema.Platform{OS: "linux", Arch: "amd64"}}, trusttest.Piece{Bytes: []byte("head")},
			trusttest.Piece{Bytes: segment, Segment: &ref}, trusttest.Piece{Bytes: []byte("tail")}))
	}
	a := f.Given["muc01"]
	a.Site = "muc"
	f.Assign(a)
	f.publish()
	return f
}

// peer is whoever answers over TLS, and how to ask it.
type peer struct {
	url, ca string
}

func answering(t *testing.T, h http.Handler) peer {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	return peer{s.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))}
}

func (p peer) as(t *testing.T, c caller, site string) *wire.Client {
	t.Helper()
	client, err := wire.New(wire.Config{Server: p.url, Certificates: []string{p.ca}, User: c.name, Password: c.secret,
		Proxy: schema.Proxy{Mode: "none"}, Program: "bakehouse-agent/1.0", Site: site})
	check(t, err)
	t.Cleanup(client.Close)
	return client
}

// fullReport has every field that hosts of this version fill in.
func fullReport(at time.Time) schema.Report {
	d := schema.DigestOf([]byte("some package"))
	return schema.Report{Agent: "1.0", Platform: schema.Platform{OS: "linux", Arch: "amd64"}, State: schema.StateFailed,
		Code: "unhealthy", Error: "the service did not start", Target: d, Downloaded: d, Installed: d,
		Recipe: "0123456789abcdef", Release: 1, Fetched: 1234, LastCheck: at, LastUpdate: at,
		NextCheck: at.Add(time.Hour),
		HeldSince: at, Critical: true, Machine: "0123456789abcdef0123456789abcdef",
		Details: &schema.Details{Interval: 3600,
			Keys:    []schema.KeyState{{Name: "release", State: schema.KeyValid, Expires: at}},
			Ignored: []schema.IgnoredSignature{{Key: "old", Reason: "it is retired"}}, Previous: d, Snapshot: d, Bin: d,
			LogTail: "the end of a log", Drift: "a file is gone", Repaired: at, Stopped: []string{"vitals.service"},
			Paused: &schema.Pause{Since: at, Until: at.Add(time.Hour), Reason: "maintenance"}}}
}

// converse is all that a host and a site of this version ask for, with what they make of the answers. It returns the
// digest of the package that the host puts together.
func converse(t *testing.T, p peer, at time.Time, anchor []byte) (got schema.Digest) {
	t.Helper()
	ctx := t.Context()
	answer, err := p.as(t, installer, "").Register(ctx, schema.RegisterRequest{Host: "web01", Agent: "1.0",
		Platform: schema.Platform{OS: "linux", Arch: "amd64"}, Replace: true})
	check(t, err)
	host := p.as(t, caller{"web01", answer.Secret}, "")
	tuf, err := trust.Open(t.TempDir(), anchor, func() time.Time { return at })
	check(t, err)
	poll, err := host.Poll(ctx, schema.PollRequest{MetadataVersions: tuf.Holds("web01"), Report: fullReport(at)})
	check(t, err)
	if poll == nil {
		t.Fatal("nothing is new for a host that has nothing")
	}
	src := wire.Source{Client: host, NewestRoot: poll.Root, Files: poll.Files}
	check(t, tuf.Refresh(ctx, src, nil))
	a, err := tuf.Assignment(ctx, src, "web01")
	check(t, err)
	pack, err := host.Package(ctx, a.Target.Manifest, nil)
	check(t, err)
	m, err := schema.DecodeManifest(pack.Manifest, a.Target.Manifest)
	check(t, err)
	if len(pack.Statements) == 0 {
		t.Error("there is no statement on the package")
	}
	var whole bytes.Buffer
	check(t, m.Assemble(&whole, func(ref schema.SegmentRef) (io.ReadCloser, error) {
		s, err := host.Segment(ctx, ref.Digest, ref.Size, 0, nil)
		if err != nil {
			return nil, err
		}
		return s.Body, nil
	}))
	// What a host asks for by itself when a poll did not bring it, or it begins in the middle.
	alone, err := trust.Open("", anchor, func() time.Time { return at })
	check(t, err)
	check(t, alone.Refresh(ctx, wire.Source{Client: host}, nil))
	_, err = alone.Assignment(ctx, wire.Source{Client: host}, "web01")
	check(t, err)
	_, err = host.Package(ctx, a.Target.Manifest, &wire.HeldManifest{Digest: a.Target.Manifest,
		Inflated: inflated(t, "gzip", pack.Manifest)})
	check(t, err)
	for _, ref := range m.Segments() {
		s, err := host.Segment(ctx, ref.Digest, ref.Size, 3, nil)
		check(t, err)
		check(t, s.Copy(io.Discard))
		s.Body.Close()
	}
	idle, err := host.Poll(ctx, schema.PollRequest{MetadataVersions: tuf.Holds("web01"), Report: schema.Report{
		Agent: "1.0", Platform: schema.Platform{OS: "linux", Arch: "amd64"}, State: schema.StateCurrent}})
	if err != nil || idle != nil && len(idle.Files) > 0 {
		t.Errorf("an idle poll: %+v, %v", idle, err)
	}

	// The site muc: a host registers there, and what it says is handed on.
	site := p.as(t, muc, "muc")
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(installer.name+":"+password))
	forwarded, err := site.Forward(ctx, uplink.RegisterRequest{Authorization: basic,
		Address: "192.0.2.1", Request: schema.RegisterRequest{Schema: schema.WireVersions(), Host: "muc01",
			Agent: "1.0", Platform: schema.Platform{OS: "linux", Arch: "amd64"}, Replace: true}})
	check(t, err)
	_, err = site.Adopt(ctx, uplink.AdoptRequest{Host: "muc01", Secret: schema.DigestOf([]byte(forwarded.Secret))})
	check(t, err)
	news, err := site.SitePoll(ctx, uplink.PollRequest{Instance: "one",
		Status: uplink.Status{Program: "1.0", Speaks: schema.WireVersions(), Started: at, Now: at, Hosts: 1,
			Cache: uplink.Cache{Bytes: 1, Limit: 2, Objects: 3, Hits: 4, Misses: 5}, Problem: "none"},
		Reports: []uplink.HostReport{{Number: 1, Host: "muc01", At: at, Address: "192.0.2.1", Timestamp: 1, Root: 1,
			Report: fullReport(at)}}})
	check(t, err)
	if len(news.Hosts) != 1 || news.Hosts[0].Host != "muc01" || news.Taken != 1 || len(news.Timestamp) == 0 {
		t.Errorf("the site is told %+v", news)
	}
	check(t, host.Unregister(ctx))
	return schema.DigestOf(whole.Bytes())
}

const recordingFile = "testdata/wire1.json"

func readRecording(t *testing.T) *recording {
	t.Helper()
	b, err := os.ReadFile(recordingFile)
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("BAKEHOUSE_TEST_UPDATE") != "" {
		b, err = record(t), nil
		check(t, os.WriteFile(recordingFile, b, 0o644))
	}
	check(t, err)
	var r recording
	check(t, json.Unmarshal(b, &r))
	return &r
}

// record makes the recording of this version's wire.
func record(t *testing.T) []byte {
	at := time.Now().UTC().Truncate(time.Second)
	f := recordedFleet(t, at)
	w := start(t, f)
	r := recording{At: at, Anchor: f.Anchor, Objects: map[string][]byte{}}
	for e, err := range f.store.List(t.Context(), "", "") {
		check(t, err)
		b, err := store.Read(t.Context(), f.store, e.Key, 1<<20)
		check(t, err)
		r.Objects[e.Key] = b
	}
	var mu sync.Mutex
	next := w.server.Handler()
	p := answering(t, http.HandlerFunc(func(out http.ResponseWriter, q *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(q.Body)
		q.Body = io.NopCloser(bytes.NewReader(body))
		heard := httptest.NewRecorder()
		next.ServeHTTP(heard, q)
		name, _, _ := q.BasicAuth()
		r.Exchanges = append(r.Exchanges, recorded{q.Method, q.URL.RequestURI(), name, someOf(q.Header, requestHeaders),
			body, heard.Code, someOf(heard.Header(), answerHeaders), heard.Body.Bytes()})
		maps.Copy(out.Header(), heard.Header())
		out.WriteHeader(heard.Code)
		_, _ = out.Write(heard.Body.Bytes())
	}))
	r.Package = converse(t, p, at, f.Anchor)
	b, err := json.MarshalIndent(r, "", " ")
	check(t, err)
	return append(b, '\n')
}

// Tomorrow's hosts and sites, at a server of the version that was recorded.
func TestHostsAndSitesUnderstandAServerOfTheFirstWire(t *testing.T) {
	r := readRecording(t)
	bends := map[string]func([]byte) []byte{"as it was": nil, "with fields nobody knows": withUnknown}
	for name, bend := range bends {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			left := slices.Clone(r.Exchanges)
			p := answering(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				i := slices.IndexFunc(left, func(x recorded) bool {
					have, asked := x.Headers[schema.HaveManifest], q.Header.Get(schema.HaveManifest)
					return x.Method == q.Method && x.Path == q.URL.RequestURI() && (have == "") == (asked == "") &&
						x.Headers["Range"] == q.Header.Get("Range")
				})
				if i < 0 { // as that server answered whatever it did not know
					w.WriteHeader(http.StatusNotFound)
					_, _ = w.Write([]byte(`{"error":"not found"}`))
					return
				}
				x := left[i]
				if q.Method == http.MethodPost {
					left = slices.Delete(left, i, i+1) // the next is another
				}
				for name, v := range x.Answered {
					w.Header().Set(name, v)
				}
				body := x.Answer
				if b := inflated(t, x.Answered["Content-Encoding"], body); bend != nil && !x.signed() && json.Valid(b) {
					body = bend(b)
					w.Header().Del("Content-Encoding")
				}
				w.WriteHeader(x.Status)
				_, _ = w.Write(body)
			}))
			if got := converse(t, p, r.At, r.Anchor); got != r.Package {
				t.Errorf("the host makes package %s of it, not %s", got, r.Package)
			}
		})
	}
}

// Hosts and sites of the version that was recorded, at today's server, whose store an older program has published.
func TestHostsAndSitesOfTheFirstWireAreUnderstood(t *testing.T) {
	r := readRecording(t)
	bends := map[string]func([]byte) []byte{"as they were": nil, "with fields nobody knows": withUnknown}
	for name, bend := range bends {
		t.Run(name, func(t *testing.T) {
			f := &fleet{Fleet: &trusttest.Fleet{Anchor: r.Anchor}, t: t}
			f.dir = filepath.Join(t.TempDir(), "store")
			f.store = storetest.Memory(r.Objects)
			w := start(t, f)
			secrets := map[string]string{installer.name: password, muc.name: password}
			for _, x := range r.Exchanges {
				body := x.Body
				if x.Path == uplink.AdoptPath { // by a secret that this server has just made
					body = fmt.Appendf(nil, `{"host":"muc01","secret":%q}`, schema.DigestOf([]byte(secrets["muc01"])))
				}
				if bend != nil && len(body) > 0 {
					body = bend(body)
				}
				var headers []string
				for name, v := range x.Headers {
					headers = append(headers, name, v)
				}
				var sent any
				if len(body) > 0 {
					sent = body
				}
				got := w.do(caller{x.As, secrets[x.As]}, x.Method, x.Path, sent, headers...)
				if got.status != x.Status {
					t.Errorf("%s %s: %d %s, was %d", x.Method, x.Path, got.status, got.body, x.Status)
					continue
				}
				if x.Method == http.MethodPost && strings.HasSuffix(x.Path, "/register") {
					var a schema.RegisterAnswer
					check(t, schema.Decode(got.body, &a))
					name := "web01"
					if x.As == muc.name {
						name = "muc01"
					}
					secrets[name] = a.Secret
				}
				compareAnswers(t, x, got)
			}
			check(t, w.db.Flush(t.Context()))
			check(t, w.server.live.CatchUp(t.Context()))
			row, _, _, ok := w.server.live.Table.Row("muc01", nil)
			if report := fullReport(r.At); !ok || row.Error != report.Error {
				t.Errorf("the server knows of the site's host: %+v", row)
			}
		})
	}
}

// signed reports whether the answer is a file that somebody signed or that is known by its digest.
func (x recorded) signed() bool {
	return x.Method == http.MethodGet && !strings.HasPrefix(x.Path, schema.ManifestPath)
}

// inflated is what a body is without its encoding.
func inflated(t *testing.T, encoding string, b []byte) []byte {
	if encoding != "gzip" {
		return b
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err == nil {
		b, err = io.ReadAll(z)
	}
	if err != nil {
		t.Error(err)
	}
	return b
}

// compareAnswers holds that an answer has all that the recorded one had, in the same form.
func compareAnswers(t *testing.T, x recorded, got reply) {
	t.Helper()
	what := x.Method + " " + x.Path
	if enc := got.header.Get("Content-Encoding"); enc != x.Answered["Content-Encoding"] {
		t.Errorf("%s: it is encoded as %q, and was as %q", what, enc, x.Answered["Content-Encoding"])
		return
	}
	encoding := x.Answered["Content-Encoding"]
	before, now := inflated(t, encoding, x.Answer), inflated(t, encoding, got.body)
	if x.signed() {
		if !bytes.Equal(before, now) {
			t.Errorf("%s: %d other bytes than the %d that there were", what, len(now), len(before))
		}
		return
	}
	if len(before) == 0 && len(now) == 0 {
		return
	}
	var was, is any
	check(t, errors.Join(json.Unmarshal(before, &was), json.Unmarshal(now, &is)))
	if lost := missing(was, is, ""); len(lost) > 0 {
		t.Errorf("%s: the answer has no more %s: %s", what, lost, now)
	}
}

// missing lists what was in an answer and is not, or is of another type.
func missing(was, is any, path string) (lost []string) {
	if reflect.TypeOf(was) != reflect.TypeOf(is) {
		return []string{fmt.Sprintf("%s as %T", path, was)}
	}
	switch was := was.(type) {
	case map[string]any:
		for name, v := range was {
			now, ok := is.(map[string]any)[name]
			if !ok {
				lost = append(lost, path+"."+name)
				continue
			}
			lost = append(lost, missing(v, now, path+"."+name)...)
		}
	case []any:
		now := is.([]any)
		if len(was) > 0 && len(now) == 0 {
			return []string{path + "[]"}
		}
		for i := range min(len(was), len(now)) {
			lost = append(lost, missing(was[i], now[i], path+"[]")...)
		}
	}
	return lost
}

// withUnknown adds a member that nobody knows to every object but those that are signed.
func withUnknown(b []byte) []byte {
	var v any
	if json.Unmarshal(b, &v) != nil {
		return b
	}
	var add func(v any)
	add = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, member := range v {
				if name != "statements" {
					add(member)
				}
			}
			v["ofALaterVersion"] = map[string]any{"list": []any{1, nil, "x"}}
		case []any:
			for _, member := range v {
				add(member)
			}
		}
	}
	add(v)
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// All that hosts and sites ask for, of a server whose store is a bucket, with a second release that comes meanwhile
// through another server, as CI publishes it.
func TestHostsUpdateThroughAServerOnABucket(t *testing.T) {
	s3 := s3test.Start(t)
	st, err := stores.Open(t.Context(), s3test.Location(s3.Bucket(), s3.Address))
	check(t, err)
	at := time.Now()
	f := recordedFleet(t, at)
	f.store, f.stored = st, map[string]bool{}
	f.access.Users["ci"] = schema.User{Hash: f.access.Users["idle"].Hash, Automation: true,
		Permissions: map[string][]string{schema.PermPublish: {publishing.AllHosts}}}
	f.publish()
	w, other := start(t, f), start(t, f)
	p := answering(t, w.server.Handler())
	if got, want := converse(t, p, at, f.Anchor), f.Given["web01"].SHA256; got != want {
		t.Errorf("package %s, want %s", got, want)
	}
	f.store = other.through()
	f.Give("web01", f.Pack(schema.Manifest{Version: "2.0", Recipe: "0123456789abcdef", Format: schema.Deb,
		Platform: schema.Platform{OS: "linux", Arch: "amd64"}}, trusttest.Piece{Bytes: []byte("other")}))
	f.publish()
	check(t, w.server.releases.Follow(t.Context()))
	host := w.register("web01")
	_, r := w.poll(host, schema.PollRequest{MetadataVersions: held(2, 1)})
	var answer schema.PollAnswer
	check(t, schema.Decode(r.body, &answer))
	if !slices.ContainsFunc(answer.Files, func(f schema.PollFile) bool { return f.Name == "3.snapshot.json" }) {
		t.Errorf("the second release is not served: %+v", answer)
	}
}
