package serve

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/uplink"
	"bakehouse/serve/inventory"
)

// muc is the user that speaks for the site muc.
var muc = caller{"site-muc", password}

// sitedFleet is the standard fleet, whose web01 and web02 are of the site muc.
func sitedFleet(t testing.TB) (*fleet, map[string]pack) {
	f := newFleet(t)
	packs := map[string]pack{}
	f.Policy.Sites["muc"] = schema.Site{URL: "https://muc.example", Passwords: true}
	f.Policy.Sites["ber"] = schema.Site{URL: "https://ber.example"}
	f.access.Users["site-muc"] = schema.User{Hash: f.access.Users["idle"].Hash, Automation: true,
		Permissions: map[string][]string{schema.PermSite: {"muc", "central", "gone"}}}
	for host, site := range map[string]string{"web01": "muc", "web02": "muc", "db01": "central", "db02": "ber"} {
		packs[host] = f.bake(host + "'s first")
		f.assign(host, 1, packs[host])
		a := f.Given[host]
		a.Site = site
		f.Assign(a)
	}
	f.publish()
	return f, packs
}

func (w *site) sitePoll(q uplink.PollRequest) (a uplink.PollAnswer) {
	w.t.Helper()
	q.Schema, q.Status.Now = schema.WireVersions(), time.Now()
	if q.Instance == "" {
		q.Instance = "one"
	}
	r := w.do(muc, http.MethodPost, uplink.PollPath, q, uplink.SiteHeader, "muc")
	if r.status != http.StatusOK {
		w.t.Fatalf("a site's poll: %d %s", r.status, r.body)
	}
	check(w.t, schema.Decode(r.body, &a))
	return a
}

func namesOf(list []uplink.Registration) (names []string) {
	for _, h := range list {
		names = append(names, h.Host)
	}
	return names
}

func TestASiteIsToldOfItsOwnHostsAlone(t *testing.T) {
	f, _ := sitedFleet(t)
	w := start(t, f)
	one, other := w.register("web01"), w.register("db01")
	a := w.sitePoll(uplink.PollRequest{})
	if got := namesOf(a.Hosts); !a.All || a.More || !slices.Equal(got, []string{"web01"}) ||
		a.Hosts[0].Secret != schema.DigestOf([]byte(one.secret)) ||
		string(a.Timestamp) != string(f.Files["timestamp.json"]) {
		t.Fatalf("%+v", a)
	}
	held := map[string]uplink.Registration{"web01": a.Hosts[0]}
	next := uplink.PollRequest{Cursor: a.Cursor, Hosts: uplink.SumOf(held), Status: uplink.Status{Timestamp: 1}}
	if a = w.sitePoll(next); a.All || len(a.Hosts)+len(a.Gone) != 0 || a.Timestamp != nil {
		t.Errorf("it is told what it holds: %+v", a)
	}
	w.register("web02")
	a = w.sitePoll(next)
	if got := namesOf(a.Hosts); a.All || !slices.Equal(got, []string{"web02"}) {
		t.Errorf("after another registration: %+v", a)
	}
	check(t, w.db.End(t.Context(), "web01", inventory.End{How: inventory.Revoked, By: "mia", At: time.Now()}))
	next.Cursor, held["web02"] = a.Cursor, a.Hosts[0]
	next.Hosts = uplink.SumOf(held)
	if a = w.sitePoll(next); a.All || len(a.Hosts) != 0 || !slices.Equal(a.Gone, []string{"web01"}) {
		t.Errorf("after a revocation: %+v", a)
	}
	// A cursor that is not the last: the answer with it was lost.
	a = w.sitePoll(uplink.PollRequest{Cursor: "lost"})
	if !a.All || !slices.Equal(namesOf(a.Hosts), []string{"web02"}) {
		t.Errorf("after a lost answer: %+v", a)
	}

	// A host of another site that comes with its secret is adopted until it is heard of elsewhere.
	adopt := func(host, secret string) reply {
		return w.do(muc, http.MethodPost, uplink.AdoptPath, uplink.AdoptRequest{Host: host,
			Secret: schema.DigestOf([]byte(secret))}, uplink.SiteHeader, "muc")
	}
	wantStatus(t, adopt("db01", "wrong"), http.StatusUnauthorized, "not registered here")
	wantStatus(t, adopt("db02", "wrong"), http.StatusUnauthorized, "not registered here")
	if r := adopt("db01", other.secret); r.status != http.StatusOK {
		t.Errorf("adopt: %d %s", r.status, r.body)
	}
	if a = w.sitePoll(uplink.PollRequest{}); !slices.Equal(namesOf(a.Hosts), []string{"db01", "web02"}) {
		t.Errorf("after an adoption: %+v", a)
	}
	w.poll(other, schema.PollRequest{})
	if a = w.sitePoll(uplink.PollRequest{}); !slices.Equal(namesOf(a.Hosts), []string{"web02"}) {
		t.Errorf("after its poll here: %+v", a)
	}
}

func TestASitesUserReadsWhatItsHostsMayAndNothingElse(t *testing.T) {
	f, packs := sitedFleet(t)
	w := start(t, f)
	for _, host := range []string{"web01", "db01", "db02"} {
		w.register(host)
	}
	read := func(c caller, site, host, path string) int {
		return w.get(c, path, uplink.SiteHeader, site, uplink.HostHeader, host).status
	}
	of := func(host string) []string {
		p := packs[host]
		own := p.segments[len(p.segments)-1] // which no other package has
		return []string{schema.ManifestPath + p.manifest.Hex(), schema.SegmentPath + own.Hex(),
			schema.TargetPath + host + "/" + p.digest.Hex() + ".package"}
	}
	for _, path := range append(of("web01"), schema.MetadataPath+"1."+f.Bin("web01")+".json") {
		if got := read(muc, "muc", "web01", path); got != http.StatusOK {
			t.Errorf("%s: %d", path, got)
		}
	}
	for _, foreign := range []string{"db01", "db02"} {
		for _, path := range of(foreign) {
			for _, as := range []string{"web01", "web02", foreign, "", "nobody", "../web01"} {
				if got := read(muc, "muc", as, path); got != http.StatusNotFound {
					t.Errorf("as %q: %s of %s: %d", as, path, foreign, got)
				}
			}
		}
	}
	path := of("web01")[0]
	for _, c := range []struct {
		who    caller
		site   string
		status int
	}{{muc, "ber", 403}, {muc, "central", 403}, {muc, "gone", 403}, {muc, "../muc", 403},
		{caller{"idle", password}, "muc", 403}, {caller{"site-muc", "wrong"}, "muc", 401}, {caller{}, "muc", 401}} {
		if got := read(c.who, c.site, "web01", path); got != c.status {
			t.Errorf("%s for site %s: %d, want %d", c.who.name, c.site, got, c.status)
		}
	}
	access := ""
	for key := range f.Objects {
		if strings.HasPrefix(key, "targets/") {
			name := schema.TargetPath + key[len("targets/xx/"):] + ".access"
			if read(muc, "muc", "web01", name) == http.StatusOK {
				access = name
			}
		}
	}
	if access != "" {
		t.Errorf("a site reads the hashes of users: %s", access)
	}
}

func TestReportsOfASiteCountOnceInOrderAndForItsHostsAlone(t *testing.T) {
	f, _ := sitedFleet(t)
	w := start(t, f)
	w.register("web01")
	w.register("db01")
	now := time.Now().Add(time.Second) // after the registration
	report := func(n int64, host string, at time.Time, state string) uplink.HostReport {
		return uplink.HostReport{Number: n, Host: host, At: at, Address: "192.0.2.7:1", Timestamp: 1, Root: 1,
			Report: schema.Report{Agent: "1", State: state}}
	}
	batch := uplink.PollRequest{Reports: []uplink.HostReport{report(1, "web01", now.Add(-3*time.Millisecond), "failed"),
		report(2, "db01", now, "failed"), report(3, "nobody", now, "failed"), report(4, "../x", now, "failed"),
		report(5, "web01", now.Add(-time.Millisecond), schema.StateCurrent)}}
	now = time.Now() // the centre's, which none is later than
	for i := range batch.Reports {
		batch.Reports[i].At = now.Add(time.Duration(i-10) * time.Millisecond)
	}
	for range 2 { // the answer to the first is lost
		if a := w.sitePoll(batch); a.Taken != 5 {
			t.Fatalf("taken: %+v", a)
		}
	}
	h, err := w.db.Host(t.Context(), "web01")
	check(t, err)
	if h.Seen.Report.State != schema.StateCurrent || h.Seen.Address != "192.0.2.7:1" {
		t.Errorf("%+v", h.Seen)
	}
	if h, err := w.db.Host(t.Context(), "db01"); err != nil || !h.Seen.At.IsZero() {
		t.Errorf("a site reported for a host of the centre: %+v, %v", h, err)
	}
	// An older report that comes later, by whichever way, changes nothing.
	w.sitePoll(uplink.PollRequest{Reports: []uplink.HostReport{report(6, "web01", now.Add(-time.Minute), "failed")}})
	if h, err = w.db.Host(t.Context(), "web01"); err != nil || h.Seen.Report.State != schema.StateCurrent {
		t.Errorf("%+v, %v", h.Seen, err)
	}
}

func TestTwoSitesWithOneNameAreNoticed(t *testing.T) {
	f, _ := sitedFleet(t)
	w := start(t, f)
	for i, instance := range []string{"one", "one", "two", "two", "two"} {
		if a := w.sitePoll(uplink.PollRequest{Instance: instance}); a.Problem != "" {
			t.Errorf("poll %d: a site that was set up again is said to be two: %s", i, a.Problem)
		}
	}
	if a := w.sitePoll(uplink.PollRequest{Instance: "one"}); !strings.Contains(a.Problem, "another server") {
		t.Errorf("two are not noticed: %+v", a)
	}
	list, err := w.server.sites.Contacts(t.Context())
	check(t, err)
	if len(list) != 1 || list[0].Other == nil || list[0].Name != "muc" || list[0].User != "site-muc" {
		t.Errorf("%+v", list)
	}
	if log := w.log.String(); strings.Count(log, "two sites go by one name") != 1 {
		t.Errorf("the log: %s", log)
	}
}

func TestARegistrationThroughASiteIsThatOfWhoeverAsksTheSite(t *testing.T) {
	f, _ := sitedFleet(t)
	w := start(t, f)
	forward := func(host, authorization string) reply {
		return w.do(muc, http.MethodPost, uplink.RegisterPath, uplink.RegisterRequest{Address: "192.0.2.9:1",
			Authorization: authorization, Request: registration(host)}, uplink.SiteHeader, "muc")
	}
	basic := func(c caller) string {
		r, err := http.NewRequest(http.MethodGet, "/", nil)
		check(t, err)
		r.SetBasicAuth(c.name, c.secret)
		return r.Header.Get("Authorization")
	}
	wantStatus(t, forward("web01", basic(caller{"installer", "wrong"})), http.StatusUnauthorized, "wrong user")
	wantStatus(t, forward("web01", "Bearer nonsense"), http.StatusUnauthorized, "wrong join token")
	wantStatus(t, forward("web01", basic(muc)), http.StatusForbidden, "may not register")
	wantStatus(t, forward("nobody", basic(installer)), http.StatusNotFound, "has no package for host nobody")
	if a := w.sitePoll(uplink.PollRequest{}); len(a.Hosts) != 0 {
		t.Fatalf("a refused registration counts: %+v", a)
	}
	// A host of another site: its own is in the answer, and until it goes there it is of this one, too.
	r := forward("db02", basic(installer))
	var a schema.RegisterAnswer
	check(t, schema.Decode(r.body, &a))
	if r.status != http.StatusOK || a.Site != "ber" || a.Secret == "" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if a := w.sitePoll(uplink.PollRequest{}); !slices.Equal(namesOf(a.Hosts), []string{"db02"}) {
		t.Errorf("%+v", a)
	}
	h, err := w.db.Host(t.Context(), "db02")
	check(t, err)
	if h.User != "installer" {
		t.Errorf("%+v", h)
	}
}

// A site of a version that has none in common with its centre is told which of the two to update.
func TestASiteAndItsCentreAgreeOnAVersion(t *testing.T) {
	f, _ := sitedFleet(t)
	w := start(t, f)
	v := func(min, max int) schema.Versions { return schema.Versions{Min: min, Max: max} }
	for _, m := range []struct {
		centre, site schema.Versions
		hint         string // empty: they agree
	}{
		{v(1, 1), v(1, 1), ""}, {v(1, 2), v(1, 1), ""}, {v(1, 1), v(1, 2), ""},
		{v(1, 1), v(2, 3), "update the centre before its sites"}, {v(2, 3), v(1, 1), "update the site's program"},
	} {
		w.server.speaks = m.centre
		r := w.do(muc, http.MethodPost, uplink.PollPath, uplink.PollRequest{Schema: m.site, Instance: "one",
			Status: uplink.Status{Now: time.Now()}}, uplink.SiteHeader, "muc")
		if m.hint == "" {
			if r.status != http.StatusOK {
				t.Errorf("%+v: %d %s", m, r.status, r.body)
			}
			continue
		}
		wantStatus(t, r, http.StatusBadRequest, m.hint)
		wantStatus(t, r, http.StatusBadRequest,
			"the site speaks "+m.site.String()+" of the protocol, this server "+m.centre.String())
	}
}
