package serve

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/uplink"
	"bakehouse/serve/rollout"
	"bakehouse/serve/rollout/keeper"
	"bakehouse/serve/token"
)

func TestAHostIsRegisteredAndUpdatedThroughItsSite(t *testing.T) {
	f, packs := sitedFleet(t)
	m := startSite(t, f, nil)
	host := m.register("web01")
	if got := m.follow(f, host); !bytes.Equal(got, packs["web01"].bytes) {
		t.Fatal("another package")
	}
	m.step()
	if h, err := m.centre.db.Host(t.Context(), "web01"); err != nil || h.Seen.At.IsZero() {
		t.Errorf("the centre knows nothing of its poll: %+v, %v", h, err)
	}
}

// own is the segment of a package that no other package has.
func (p pack) own() schema.Digest { return p.segments[len(p.segments)-1] }

func TestACutOffSiteServesOnAlsoAfterARestart(t *testing.T) {
	f, packs := sitedFleet(t)
	m := startSite(t, f, nil)
	host := m.register("web01")
	m.follow(f, host)
	m.link.set(true, nil)
	for _, when := range []string{"cut off", "restarted while cut off"} {
		if got := m.follow(f, host); !bytes.Equal(got, packs["web01"].bytes) {
			t.Errorf("%s: another package", when)
		}
		if h := m.health(); when != "cut off" && (h.Status != "degraded" || h.Site != "muc" ||
			!strings.Contains(h.Problem, "the centre does not answer")) {
			t.Errorf("%s: health %+v", when, h)
		}
		if r := m.get(caller{}, schema.ReadyPath); r.status != http.StatusOK {
			t.Errorf("%s: not ready: %d %s", when, r.status, r.body)
		}
		// Nothing is half done: a new host is told to come again, and so is one that nobody here knows.
		wantStatus(t, m.do(installer, http.MethodPost, schema.RegisterPath, registration("web02")),
			http.StatusServiceUnavailable, "the host was not registered")
		if _, err := m.db.Secret(t.Context(), "web02"); err == nil {
			t.Error("half a registration")
		}
		wantStatus(t, m.do(caller{"db01", "anything"}, http.MethodPost, schema.PollPath,
			schema.PollRequest{Schema: schema.WireVersions()}), http.StatusServiceUnavailable, "try again later")
		wantStatus(t, m.do(host, http.MethodPost, schema.UnregisterPath, struct{}{}), http.StatusServiceUnavailable,
			"still registered")
		m.halt()
		m.boot()
	}
	f.assign("web01", 2, f.bake("web01's second"))
	f.publish()
	check(t, m.centre.server.releases.Follow(t.Context()))
	m.link.set(false, nil)
	m.step()
	if a, _ := m.poll(host, schema.PollRequest{}); !bytes.Contains(f.stampOf(a, 0), []byte(`"version":2`)) {
		t.Errorf("it does not follow: %+v", a)
	}
	if h := m.health(); h.Timestamp != 2 || strings.Contains(h.Problem, "does not answer") {
		t.Errorf("health: %+v", h)
	}
}

func TestReportsWaitForTheCentreAndComeInOrderOnce(t *testing.T) {
	f, _ := sitedFleet(t)
	m := startSite(t, f, nil)
	host := m.register("web01")
	m.step()
	m.link.set(true, nil)
	report := func(state, code string) {
		t.Helper()
		if _, r := m.poll(host, schema.PollRequest{Report: schema.Report{Agent: "1", State: state, Code: code,
			LastCheck: time.Now()}}); r.status != http.StatusOK {
			t.Fatalf("poll: %d %s", r.status, r.body)
		}
	}
	report(schema.StateFailed, "one")
	report(schema.StateFailed, "one") // no news
	report(schema.StateFailed, "two")
	m.halt() // what was acknowledged is on disk
	m.boot()
	report(schema.StateCurrent, "")
	if _, err := m.up.Step(t.Context(), m.server.releases.Follow); err == nil {
		t.Fatal("the link is not cut")
	}
	lost := false
	var taken []string
	m.link.set(false, func(w http.ResponseWriter, r *http.Request, pass http.Handler) bool {
		if r.URL.Path != uplink.PollPath {
			return false
		}
		b, err := io.ReadAll(r.Body)
		check(t, err)
		r.Body = io.NopCloser(bytes.NewReader(b))
		var q uplink.PollRequest
		check(t, json.Unmarshal(b, &q))
		if !lost && len(q.Reports) > 0 { // the centre takes them, and its answer is lost
			lost = true
			pass.ServeHTTP(discard{http.Header{}}, r)
			panic(http.ErrAbortHandler)
		}
		for _, one := range q.Reports {
			taken = append(taken, one.Report.State+one.Report.Code)
		}
		return false
	})
	for range 2 {
		_, _ = m.up.Step(t.Context(), m.server.releases.Follow)
	}
	if want := []string{"failedone", "failedtwo", "current"}; !slices.Equal(taken, want) || !lost {
		t.Errorf("the centre was told %v, want %v", taken, want)
	}
	h, err := m.centre.db.Host(t.Context(), "web01")
	check(t, err)
	if h.Seen.Report.State != schema.StateCurrent {
		t.Errorf("%+v", h.Seen.Report)
	}
	m.centre.server.live.Step(t.Context())
	past, err := m.centre.db.PastOf(t.Context(), "web01")
	check(t, err)
	var codes []string
	for _, p := range past {
		codes = append(codes, p.Code)
	}
	if n := strings.Count(strings.Join(codes, " "), "one"); n != 1 {
		t.Errorf("what came twice counts twice: %v", codes)
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

func TestAPasswordGoesThroughASiteOnlyWhereSignedPolicyLetsIt(t *testing.T) {
	f, _ := sitedFleet(t)
	f.Policy.Sites["muc"] = schema.Site{URL: "https://muc.example"}
	f.publish()
	m := startSite(t, f, nil)
	wantStatus(t, m.do(installer, http.MethodPost, schema.RegisterPath, registration("web01")), http.StatusForbidden,
		"join token")
	if n := m.link.count("POST " + uplink.RegisterPath); n != 0 {
		t.Errorf("the password was sent to the centre, %d times", n)
	}
	if m.do(caller{}, http.MethodPost, schema.RegisterPath, registration("web01")).status != http.StatusUnauthorized {
		t.Error("nobody registers")
	}
	made := m.centre.create(installer, token.Spec{Uses: 1}).Secret
	r := m.do(caller{}, http.MethodPost, schema.RegisterPath, registration("web01"), "Authorization", "Bearer "+made)
	if r.status != http.StatusOK {
		t.Fatalf("a join token: %d %s", r.status, r.body)
	}
	var a schema.RegisterAnswer
	check(t, schema.Decode(r.body, &a))
	m.follow(f, caller{"web01", a.Secret})
	wantStatus(t, m.do(caller{}, http.MethodPost, schema.RegisterPath, registration("web02"), "Authorization",
		"Bearer "+made), http.StatusForbidden, "used")
}

func TestASiteIsNoCentre(t *testing.T) {
	f, _ := sitedFleet(t)
	m := startSite(t, f, nil)
	for _, path := range []string{"/", schema.MetricsPath, schema.TokensPath, schema.AuditPath, uplink.PollPath,
		"/sign-in", schema.RolloutPath, schema.PackagePath + "web01"} {
		if r := m.get(installer, path); r.status != http.StatusMisdirectedRequest {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
}

func TestConcurrentMissesFetchOnce(t *testing.T) {
	f, packs := sitedFleet(t)
	m := startSite(t, f, nil)
	host := m.register("web01")
	m.packageAnswer(host, packs["web01"].manifest)
	var done sync.WaitGroup
	path := schema.SegmentPath + packs["web01"].segments[0].Hex()
	for range 20 {
		done.Go(func() {
			if r := m.get(host, path); r.status != http.StatusOK || !bytes.Equal(r.body, f.shared[0]) {
				t.Errorf("%d, %d bytes", r.status, len(r.body))
			}
		})
	}
	done.Wait()
	if n := m.link.count("GET " + path); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

func TestWhatIsAlteredInTheCacheIsFetchedAgain(t *testing.T) {
	f, packs := sitedFleet(t)
	m := startSite(t, f, nil)
	host := m.register("web01")
	m.follow(f, host)
	m.halt()
	altered := 0
	check(t, filepath.WalkDir(filepath.Join(m.dir, "objects"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		altered++
		b, err := os.ReadFile(path)
		check(t, err)
		b[len(b)/2] ^= 1
		return os.WriteFile(path, b, 0o600)
	}))
	if altered < 8 {
		t.Fatalf("%d files", altered)
	}
	m.boot()
	if got := m.follow(f, host); !bytes.Equal(got, packs["web01"].bytes) {
		t.Error("another package")
	}
}

// A centre that lies gets nothing past its site, and takes nothing away.
func TestAHostileCentreChangesNothingForHosts(t *testing.T) {
	flip := func(path string) func(*fleet) func(http.ResponseWriter, *http.Request, http.Handler) bool {
		return func(*fleet) func(http.ResponseWriter, *http.Request, http.Handler) bool {
			return func(w http.ResponseWriter, r *http.Request, pass http.Handler) bool {
				if !strings.Contains(r.URL.Path, path) {
					return false
				}
				r.Header.Del("Accept-Encoding")
				rec := httptest.NewRecorder()
				pass.ServeHTTP(rec, r)
				b := rec.Body.Bytes()
				b[len(b)/2] ^= 1
				w.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
				w.WriteHeader(rec.Code)
				_, _ = w.Write(b)
				return true
			}
		}
	}
	answer := func(path string, body func(f *fleet) []byte) func(*fleet) func(http.ResponseWriter, *http.Request,
		http.Handler) bool {
		return func(f *fleet) func(http.ResponseWriter, *http.Request, http.Handler) bool {
			return func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
				if !strings.Contains(r.URL.Path, path) {
					return false
				}
				_, _ = w.Write(body(f))
				return true
			}
		}
	}
	poll := func(change func(f *fleet, a *uplink.PollAnswer)) func(*fleet) func(http.ResponseWriter, *http.Request,
		http.Handler) bool {
		return answer(uplink.PollPath, func(f *fleet) []byte {
			a := uplink.PollAnswer{Schema: 1, Now: time.Now(), Root: 1, Timestamp: f.Files["timestamp.json"]}
			change(f, &a)
			b, err := json.Marshal(a)
			check(f.t, err)
			return b
		})
	}
	for name, bend := range map[string]func(*fleet) func(http.ResponseWriter, *http.Request, http.Handler) bool{
		"an altered snapshot": flip(".snapshot.json"),
		"altered targets":     flip(".targets.json"),
		"an altered policy":   flip(schema.TargetPath),
		"an altered bin":      flip(".bin-"),
		"an altered tree":     flip(schema.TreePath),
		"an altered manifest": flip(schema.ManifestPath),
		"an altered segment":  flip(schema.SegmentPath),
		"an endless segment":  answer(schema.SegmentPath, func(*fleet) []byte { return make([]byte, 1<<20) }),
		"an endless answer":   answer(uplink.PollPath, func(*fleet) []byte { return make([]byte, 8<<20) }),
		"no answer of ours":   answer("/", func(*fleet) []byte { return []byte("<html>Please sign in</html>") }),
		"a timestamp of nobody's": poll(func(_ *fleet, a *uplink.PollAnswer) {
			a.Timestamp = []byte(`{"signed":{"version":9}}`)
		}),
		"a timestamp that is none": poll(func(_ *fleet, a *uplink.PollAnswer) { a.Timestamp = []byte("{") }),
		"an older timestamp": poll(func(f *fleet, a *uplink.PollAnswer) {
			a.Timestamp = f.read(schema.TimestampKey(1))
		}),
		"a huge version of root": poll(func(_ *fleet, a *uplink.PollAnswer) { a.Root = 1 << 40 }),
		"hosts that are none": poll(func(_ *fleet, a *uplink.PollAnswer) {
			a.All, a.Hosts = true, []uplink.Registration{{Host: "../../etc/passwd"}}
		}),
		"more hosts than are asked for": poll(func(_ *fleet, a *uplink.PollAnswer) {
			a.Hosts = make([]uplink.Registration, 10*uplink.MaxRegistrations)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			f, packs := sitedFleet(t)
			f.publish()
			m := startSite(t, f, nil)
			host := m.register("web01")
			if got := m.follow(f, host); !bytes.Equal(got, packs["web01"].bytes) {
				t.Fatal("another package")
			}
			second := f.bake("web01's second")
			f.assign("web01", 3, second)
			f.publish()
			check(t, m.centre.server.releases.Follow(t.Context()))
			m.link.set(false, bend(f))
			_, _ = m.up.Step(t.Context(), m.server.releases.Follow)
			// Whatever the site makes of it, a host gets the old package or the new one, or nothing.
			for _, p := range []pack{packs["web01"], second} {
				r := m.getRaw(host, schema.SegmentPath+p.own().Hex())
				if r.status == http.StatusOK && r.err == nil && schema.DigestOf(r.body) != p.own() {
					t.Errorf("an altered segment is handed out whole: %d bytes", len(r.body))
				}
			}
			if r := m.get(host, schema.ManifestPath+packs["web01"].manifest.Hex()); r.status != http.StatusOK {
				t.Errorf("what it has is not served: %d %s", r.status, r.body)
			}
			if _, r := m.poll(host, schema.PollRequest{}); r.status != http.StatusOK {
				t.Errorf("poll: %d %s", r.status, r.body)
			}
			m.link.set(false, nil)
			m.heal()
			if got := m.follow(f, host); !bytes.Equal(got, second.bytes) {
				t.Error("it does not recover")
			}
		})
	}
}

// heal polls the centre, which answers again, until the site serves its release.
func (m *outpost) heal() {
	m.t.Helper()
	m.step()
	m.step()
}

// getRaw is get of what may break off.
func (m *outpost) getRaw(c caller, path string) (r struct {
	status int
	body   []byte
	err    error
}) {
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodGet, m.http.URL+path, nil)
	check(m.t, err)
	req.SetBasicAuth(c.name, c.secret)
	resp, err := m.http.Client().Do(req)
	if err != nil {
		r.err = err
		return r
	}
	defer resp.Body.Close()
	r.status = resp.StatusCode
	r.body, r.err = io.ReadAll(resp.Body)
	return r
}

// A site that does not hear from its centre opens no gate that the centre had not opened, and keeps those that it had.
func TestACutOffSiteOpensNoGate(t *testing.T) {
	f, _ := sitedFleet(t)
	f.Policy.Rings = []schema.Ring{{Name: "canary"}, {Name: "all", Gate: &schema.Gate{Healthy: schema.Whole, Hosts: 1}}}
	f.publish()
	m := startSite(t, f, nil)
	host := m.register("web01")
	m.step()
	for _, when := range []string{"the gate is closed", "cut off", "restarted while cut off"} {
		if a, r := m.poll(host, schema.PollRequest{}); r.status != http.StatusOK || a.HoldCode != rollout.CodeGate {
			t.Errorf("%s: %d %+v", when, r.status, a)
		}
		m.link.set(true, nil)
		if when == "cut off" {
			m.halt()
			m.boot()
		}
	}
	m.link.set(false, nil)
	open := keeper.Command{Verb: keeper.Promote, Ring: "all"}
	_, err := m.centre.server.rollout.verdicts.Act(t.Context(), open, "mia")
	check(t, err)
	m.step()
	m.server.rollout.step(t.Context())
	if a, _ := m.poll(host, schema.PollRequest{}); a.Hold != "" {
		t.Errorf("the centre opened the gate: %+v", a)
	}
	m.link.set(true, nil)
	m.halt()
	m.boot()
	if a, _ := m.poll(host, schema.PollRequest{}); a.Hold != "" {
		t.Errorf("the gate that the centre had opened is closed again: %+v", a)
	}
}

// A restored centre's older release reaches no host.
func TestARestoredCentreReachesNoHost(t *testing.T) {
	f, packs := sitedFleet(t)
	m := startSite(t, f, nil)
	host := m.register("web01")
	second := f.bake("web01's second")
	f.assign("web01", 2, second)
	f.publish()
	check(t, m.centre.server.releases.Follow(t.Context()))
	m.step()
	m.follow(f, host)
	old := f.read(schema.TimestampKey(1))
	m.link.set(false, func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if r.URL.Path != uplink.PollPath {
			return false
		}
		b, err := json.Marshal(uplink.PollAnswer{Schema: 1, Root: 1, Timestamp: old})
		check(t, err)
		_, _ = w.Write(b)
		return true
	})
	for _, when := range []string{"running", "restarted"} {
		_, _ = m.up.Step(t.Context(), m.server.releases.Follow)
		if a, _ := m.poll(host, schema.PollRequest{}); !bytes.Contains(f.stampOf(a, 0), []byte(`"version":2`)) {
			t.Errorf("%s: %+v", when, a)
		}
		if h := m.health(); h.Timestamp != 2 || h.Status != "degraded" {
			t.Errorf("%s: %+v", when, h)
		}
		m.halt()
		m.boot()
	}
	_ = packs
}

// A full disk, or one that cannot be written for another reason, takes nothing from hosts.
func TestASiteWhoseCacheCannotBeWrittenServesOn(t *testing.T) {
	f, packs := sitedFleet(t)
	m := startSite(t, f, nil)
	host := m.register("web01")
	for _, dir := range []string{schema.SegmentDir, schema.ManifestDir, schema.StatementDir} {
		check(t, os.WriteFile(filepath.Join(m.dir, "objects", strings.TrimSuffix(dir, "/")), nil, 0o600))
	}
	path := schema.SegmentPath + packs["web01"].own().Hex()
	m.packageAnswer(host, packs["web01"].manifest)
	r := m.get(host, path)
	if r.status != http.StatusOK || schema.DigestOf(r.body) != packs["web01"].own() {
		t.Errorf("%d, %d bytes", r.status, len(r.body))
	}
	if h := m.health(); h.Status != "degraded" || !strings.Contains(h.Problem, "the cache cannot be written") {
		t.Errorf("%+v", h)
	}
	m.link.set(false, func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if r.URL.Path == path {
			_, _ = w.Write(make([]byte, len("segment of web01's first")))
		}
		return r.URL.Path == path
	})
	if r := m.getRaw(host, path); r.err == nil {
		t.Errorf("an altered segment is passed on whole: %d, %d bytes", r.status, len(r.body))
	}
}

// A host that came to another site than its own is served there, and it is known to the centre through that.
func TestAHostOfAnotherSiteIsServedWhereItCameWithItsSecret(t *testing.T) {
	f, packs := sitedFleet(t)
	m := startSite(t, f, nil)
	host := m.centre.register("db02") // of the site ber
	if got := m.follow(f, host); !bytes.Equal(got, packs["db02"].bytes) {
		t.Error("another package")
	}
	m.step()
	if h, err := m.centre.db.Host(t.Context(), "db02"); err != nil || h.Seen.At.IsZero() {
		t.Errorf("%+v, %v", h, err)
	}
	wantStatus(t, m.do(caller{"db02", "guess"}, http.MethodPost, schema.PollPath,
		schema.PollRequest{Schema: schema.WireVersions()}), http.StatusUnauthorized, "not registered")
	before := m.link.count("POST " + uplink.AdoptPath)
	wantStatus(t, m.do(caller{"db02", "guess"}, http.MethodPost, schema.PollPath,
		schema.PollRequest{Schema: schema.WireVersions()}), http.StatusUnauthorized, "not registered")
	if m.link.count("POST "+uplink.AdoptPath) != before {
		t.Error("the centre is asked again about the same guess")
	}
}
