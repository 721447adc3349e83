package serve

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"bakehouse/schema"
)

// rename has the fleet list a host under another name, with its former ones, and publishes.
func (f *fleet) rename(host, name string, was ...string) {
	f.t.Helper()
	a := f.Given[host]
	f.Remove(host)
	a.Host, a.Was = name, was
	f.Assign(a)
	f.publish()
}

// rename has the fleet rename a host, and the server follow.
func (w *site) rename(f *fleet, host, name string, was ...string) {
	w.t.Helper()
	f.rename(host, name, was...)
	check(w.t, w.server.releases.Follow(w.t.Context()))
}

// asks polls with nothing in hand and reports how that is answered, and by which name.
func (w *site) asks(c caller) (status int, name string) {
	w.t.Helper()
	a, r := w.poll(c, schema.PollRequest{Report: schema.Report{State: schema.StateCurrent}})
	return r.status, a.Name
}

func (w *site) wantAsks(c caller, status int, name string) {
	w.t.Helper()
	if s, n := w.asks(c); s != status || n != name {
		w.t.Errorf("%s is answered %d and called %q, want %d and %q", c.name, s, n, status, name)
	}
}

func (w *site) wantRegistered(names ...string) {
	w.t.Helper()
	for _, name := range []string{"web01", "new01"} {
		_, err := w.db.Secret(w.t.Context(), name)
		if want := fmt.Sprint(names); (err == nil) != strings.Contains(want, name) {
			w.t.Errorf("the registration of %s: %v, want only %s", name, err, want)
		}
	}
}

func TestARenamedHostIsKnownByItsSecretUnderBothNames(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	w.follow(f, c)
	w.rename(f, "web01", "new01", "web01")
	now := caller{"new01", c.secret}
	w.wantAsks(c, http.StatusOK, "new01")
	w.wantRegistered("web01") // it does not go under its new name yet
	if got := w.follow(f, now); string(got) != string(packs["web01"].bytes) {
		t.Error("under its new name it gets another package")
	}
	w.wantRegistered("new01")
	h, err := w.db.Host(t.Context(), "new01")
	check(t, err)
	if h.User != "installer" || h.Seen.At.IsZero() {
		t.Errorf("of what was known is left %+v", h)
	}
	if given, err := w.db.Packages(t.Context(), "new01"); err != nil || len(given) != 1 {
		t.Errorf("what it was given: %v, %v", given, err)
	}
	// It was restored from a backup, and has its former name again.
	w.wantAsks(c, http.StatusOK, "new01")
	w.wantRegistered("new01")
	w.wantAsks(caller{"web01", "guessed"}, http.StatusUnauthorized, "")
	w.wantAsks(caller{"new01", "guessed"}, http.StatusUnauthorized, "")
}

// A name that is waiting for its host is told at each poll, though nothing else is new.
func TestAnIdlePollUnderAFormerNameIsAnsweredWithTheNewOne(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	w.rename(f, "web01", "new01", "web01")
	w.wantAsks(c, http.StatusOK, "new01")
	a, r := w.poll(c, schema.PollRequest{MetadataVersions: held(2, 1), Held: true})
	if r.status != http.StatusOK || a.Name != "new01" {
		t.Errorf("%d %+v", r.status, a)
	}
}

func TestACommitThatTakesARenameBackLeavesTheRegistration(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	w.rename(f, "web01", "new01", "web01")
	w.wantAsks(c, http.StatusOK, "new01")
	w.rename(f, "new01", "web01")
	w.wantAsks(c, http.StatusOK, "")
	w.wantRegistered("web01")
}

func TestAFormerNameOpensNothingOfTheOthers(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	other := w.register("web02")
	w.rename(f, "web01", "new01", "web01")
	w.wantAsks(c, http.StatusOK, "new01")
	// Of the new name it may verify what is signed, and of no other.
	open := map[string]bool{f.Bin("web01"): true, f.Bin("new01"): true}
	for i := range fleetBins {
		role := fmt.Sprintf("bin-%x", i)
		version := f.Targets[role].Signed.Version
		r := w.get(c, fmt.Sprintf("%s%d.%s.json", schema.MetadataPath, version, role))
		if got := r.status == http.StatusOK; got != open[role] {
			t.Errorf("%s: %d", role, r.status)
		}
	}
	wantStatus(t, w.get(c, schema.ManifestPath+packs["web02"].manifest.Hex()), http.StatusNotFound, "")
	for _, c := range []caller{{"web02", c.secret}, {"web01", other.secret}, {"new01", other.secret}} {
		w.wantAsks(c, http.StatusUnauthorized, "")
	}
}

// Somebody set the host up again under its new name before the machine under the old one heard of it.
func TestANameThatIsRegisteredItselfIsNotGivenToAnother(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	w.rename(f, "web01", "new01", "web01")
	w.wantAsks(c, http.StatusOK, "new01")
	r := w.do(installer, http.MethodPost, schema.RegisterPath, registration("new01"))
	wantStatus(t, r, http.StatusConflict, "host web01 is registered, by installer, and polled at ")
	now := w.register("new01") // with --force
	w.wantAsks(c, http.StatusOK, "")
	w.wantAsks(caller{"new01", c.secret}, http.StatusUnauthorized, "")
	w.wantAsks(now, http.StatusOK, "")
	w.wantRegistered("web01", "new01")
	a, _ := w.poll(c, schema.PollRequest{})
	if a.Hold != "host web01 is called new01 now" {
		t.Errorf("held as %q", a.Hold)
	}
}

func TestARegisteredHostWhoseNameIsGoneIsToldOfOncePerRelease(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	w.rename(f, "web01", "new01")
	for range 3 {
		w.wantAsks(c, http.StatusOK, "")
	}
	const want = "the fleet has no package for host web01"
	log := w.log.String()
	if strings.Count(log, want) != 1 || !strings.Contains(log, "bakehouse-agent register --force --host NAME") {
		t.Errorf("the log says it %d times: %s", strings.Count(log, want), log)
	}
	f.publish()
	check(t, w.server.releases.Follow(t.Context()))
	w.wantAsks(c, http.StatusOK, "")
	if n := strings.Count(w.log.String(), want); n != 2 {
		t.Errorf("after another release it is said %d times", n)
	}
}
