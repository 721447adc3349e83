package serve

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"bakehouse/schema"
)

func TestAHostGetsFromRegistrationToItsPackage(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	if got := w.follow(f, c); !bytes.Equal(got, packs["web01"].bytes) {
		t.Errorf("assembled another package")
	}
	if a := w.packageAnswer(c, packs["web01"].manifest); len(a.Statements) != 1 {
		t.Errorf("statements: %s", a.Statements)
	}
	if strings.Contains(w.log.String(), c.secret) || strings.Contains(w.log.String(), password) {
		t.Error("a secret stands in the log")
	}
}

func TestAStockTUFClientFindsTheWholePackageUnderItsTargetPath(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	c, p := w.register("web01"), packs["web01"]
	r := w.get(c, schema.TargetPath+"web01/"+p.digest.Hex()+".package")
	if r.status != http.StatusOK || !bytes.Equal(r.body, p.bytes) {
		t.Fatalf("%d, %d bytes, want %d", r.status, len(r.body), len(p.bytes))
	}
	if got := r.header.Get("Content-Length"); got != fmt.Sprint(len(p.bytes)) {
		t.Errorf("Content-Length %s", got)
	}
}

// pathsOf lists every path under which an object of the store might be asked for.
func pathsOf(key string, hosts []string) []string {
	name := key[strings.LastIndexByte(key, '/')+1:]
	switch {
	case strings.HasPrefix(key, schema.MetadataDir):
		return []string{schema.MetadataPath + name}
	case strings.HasPrefix(key, schema.TimestampDir):
		return []string{schema.MetadataPath + name}
	case strings.HasPrefix(key, schema.StatementDir):
		name = strings.Split(key, "/")[1]
	}
	name, _, _ = strings.Cut(name, ".")
	paths := []string{}
	for _, prefix := range []string{schema.ManifestPath, schema.SegmentPath} {
		paths = append(paths, prefix+name)
	}
	for _, target := range []string{schema.PolicyTarget, schema.ReleaseTarget, schema.AccessTarget, schema.AboutTarget,
		"package"} {
		paths = append(paths, schema.TargetPath+name+"."+target)
	}
	for _, h := range hosts {
		paths = append(paths, schema.TargetPath+h+"/"+name+".package", schema.TargetPath+h+"/"+name+".policy")
	}
	return paths
}

func TestAHostReadsItsOwnPackageOnly(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	const host = "web01"
	hosts := []string{}
	for h := range packs {
		w.register(h)
		hosts = append(hosts, h)
	}
	c := w.register(host)

	own := packs[host]
	may := []string{schema.MetadataPath + "1.root.json", schema.MetadataPath + "1.snapshot.json",
		schema.MetadataPath + "1.targets.json",
		schema.MetadataPath + "1." + f.Bin(host) + ".json", schema.ManifestPath + own.manifest.Hex(),
		schema.TargetPath + host + "/" + own.digest.Hex() + ".package"}
	for _, d := range own.segments {
		may = append(may, schema.SegmentPath+d.Hex())
	}
	rel, _ := w.server.releases.Now()
	for name, ds := range rel.Targets {
		may = append(may, schema.TargetPath+ds[0].Hex()+"."+name)
	}

	nothing := w.get(c, schema.ManifestPath+schema.DigestOf([]byte("no such thing")).Hex())
	if nothing.status != http.StatusNotFound {
		t.Fatalf("what does not exist: %d %s", nothing.status, nothing.body)
	}
	paths := []string{"/v1/", "/v1/hosts", schema.SegmentPath, schema.TargetPath + "policy",
		schema.MetadataPath + "1.bin-zz.json",
		schema.MetadataPath + "01.root.json", schema.MetadataPath + "0.root.json", schema.MetadataPath + "99.snapshot.json",
		schema.MetadataPath + "1.bin.json",
		schema.ManifestPath + strings.ToUpper(own.manifest.Hex()), schema.SegmentPath + "sha256:" + own.segments[0].Hex(),
		schema.TargetPath + "%2e%2e/" + own.digest.Hex() + ".package", schema.MetadataPath + "..%2Finventory.db"}
	for e, err := range f.store.List(t.Context(), "", "") {
		check(t, err)
		paths = append(paths, pathsOf(e.Key, hosts)...)
	}
	read := 0
	for _, path := range paths {
		r := w.get(c, path)
		if slices.Contains(may, path) {
			read++
			if r.status != http.StatusOK {
				t.Errorf("%s is its own, but: %d %s", path, r.status, r.body)
			}
			continue
		}
		if r.same() != nothing.same() {
			t.Errorf("%s is told apart from what does not exist:\n%s\n%s", path, r.same(), nothing.same())
		}
	}
	if read < len(may) {
		t.Errorf("only %d of %d own objects were asked for", read, len(may))
	}
	t.Logf("%d paths asked, %d may be read", len(paths), len(may))
}

func TestClaimingAnothersPackageOpensNothing(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	other := packs["web02"]
	report := schema.Report{State: schema.StateCurrent, Installed: other.digest, Downloaded: other.digest,
		Target: other.digest}
	if _, r := w.poll(c, schema.PollRequest{Report: report}); r.status != http.StatusOK {
		t.Fatalf("poll: %d %s", r.status, r.body)
	}
	for _, path := range []string{schema.ManifestPath + other.manifest.Hex(),
		schema.SegmentPath + other.segments[2].Hex(), schema.TargetPath + "web01/" + other.digest.Hex() + ".package"} {
		wantStatus(t, w.get(c, path), http.StatusNotFound, "not found")
	}
}

func TestAPackageOnceGivenStaysReadableForThatHostAlone(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	fetched, installed, unasked := w.register("web01"), w.register("web02"), w.register("web03")
	w.follow(f, fetched)
	// web02 was installed by hand: it never fetched its manifest, only reports what runs there.
	w.poll(installed, schema.PollRequest{Report: schema.Report{Installed: packs["web02"].digest}})
	for _, h := range []string{"web01", "web02", "web03"} {
		f.assign(h, 2, f.bake(h+"'s second"))
	}
	f.publish()
	w.poll(fetched, schema.PollRequest{MetadataVersions: held(1, 1)}) // notices the release

	old := func(h string) string { return schema.SegmentPath + packs[h].segments[2].Hex() }
	if r := w.get(fetched, old("web01")); r.status != http.StatusOK {
		t.Errorf("fetched before: %d %s", r.status, r.body)
	}
	if r := w.get(installed, old("web02")); r.status != http.StatusOK {
		t.Errorf("reported before: %d %s", r.status, r.body)
	}
	wantStatus(t, w.get(unasked, old("web03")), http.StatusNotFound, "not found")
	wantStatus(t, w.get(installed, old("web01")), http.StatusNotFound, "not found")
}

func TestOlderCandidatesMayBeReadWithoutHavingBeenGiven(t *testing.T) {
	f, packs := standardFleet(t)
	f.assign("web01", 2, f.bake("web01's second"), packs["web01"])
	f.publish()
	w := start(t, f)
	c := w.register("web01")
	if r := w.get(c, schema.SegmentPath+packs["web01"].segments[2].Hex()); r.status != http.StatusOK {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestAnUnknownHostAndAWrongSecretAreAnsweredAlike(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	w.register("web01")
	for _, path := range []string{schema.MetadataPath + "timestamp.json", schema.MetadataPath + "1.root.json",
		schema.SegmentPath + "00",
		schema.TargetPath + "policy", schema.ManifestPath + "00"} {
		want := w.get(caller{"web01", "wrong"}, path)
		wantStatus(t, want, http.StatusUnauthorized, "register it again")
		for name, c := range map[string]caller{"an unknown host": {"nohost", "wrong"},
			"no host at all": {"../etc", "x"},
			"no secret":      {"web01", ""}, "a user": installer} {
			if got := w.get(c, path); got.same() != want.same() {
				t.Errorf("%s on %s:\n%s\n%s", name, path, got.same(), want.same())
			}
		}
	}
}

func TestAStrangerReadsWhatNamesNoHostAndNothingElse(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	hosts := []string{}
	for h := range packs {
		w.register(h)
		hosts = append(hosts, h)
	}
	rel, _ := w.server.releases.Now()
	may := []string{schema.MetadataPath + "timestamp.json", schema.MetadataPath + "1.root.json",
		schema.MetadataPath + "1.snapshot.json", schema.MetadataPath + "1.targets.json",
		schema.TargetPath + rel.Targets[schema.PolicyTarget][0].Hex() + "." + schema.PolicyTarget}
	none := []string{schema.MetadataPath + "99.snapshot.json", schema.MetadataPath + "2.root.json",
		schema.TargetPath + schema.DigestOf([]byte("x")).Hex() + "." + schema.PolicyTarget}
	paths := []string{"/v1/", schema.PollPath, schema.RegisterPath, schema.SegmentPath, schema.PackagePath + "web01",
		schema.MetadataPath + "1.bin-zz.json", schema.TreePath + rel.Tree.Hex()}
	for e, err := range f.store.List(t.Context(), "", "") {
		check(t, err)
		paths = append(paths, pathsOf(e.Key, hosts)...)
	}
	paths = append(append(paths, may...), none...)
	for _, path := range paths {
		r := w.get(caller{}, path)
		switch {
		case slices.Contains(may, path):
			if r.status != http.StatusOK {
				t.Errorf("%s: %d %s", path, r.status, r.body)
			}
			for _, h := range hosts {
				if bytes.Contains(r.body, []byte(h)) {
					t.Errorf("%s names %s", path, h)
				}
			}
		case r.status == http.StatusOK:
			t.Errorf("a stranger reads %s", path)
		case slices.Contains(none, path) && r.status != http.StatusNotFound:
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
		// Whoever says who it is has to prove it, there too.
		if r := w.get(caller{"web01", "wrong"}, path); r.status == http.StatusOK {
			t.Errorf("%s is read with a wrong secret", path)
		}
	}
}

func TestRegisteringAgainReplacesTheSecretAndARestartKeepsIt(t *testing.T) {
	f, _ := standardFleet(t)
	database := t.TempDir() + "/inventory.db"
	w := startWith(t, f, database, nil)
	first := w.register("web01")
	second := w.register("web01")
	if first.secret == second.secret || len(second.secret) < 50 {
		t.Errorf("secrets %d and %d characters long", len(first.secret), len(second.secret))
	}
	w.stop()
	w = startWith(t, f, database, nil)
	wantStatus(t, w.get(first, schema.MetadataPath+"timestamp.json"), http.StatusUnauthorized, "")
	if r := w.get(second, schema.MetadataPath+"timestamp.json"); r.status != http.StatusOK {
		t.Errorf("%d %s", r.status, r.body)
	}
	w.poll(second, schema.PollRequest{MetadataVersions: held(1, 1)})
	q := registration("web01")
	again := w.do(installer, http.MethodPost, schema.RegisterPath, q)
	wantStatus(t, again, http.StatusConflict, "host web01 is registered, by installer, and polled at ")
	if hint := again.problem().Hint; !strings.Contains(hint, "--force") {
		t.Errorf("hint %q", hint)
	}
	if r := w.get(second, schema.MetadataPath+"timestamp.json"); r.status != http.StatusOK {
		t.Errorf("the host that polls is locked out: %d %s", r.status, r.body)
	}
	q.Replace = true
	wantStatus(t, w.do(installer, http.MethodPost, schema.RegisterPath, q), http.StatusOK, "")
	wantStatus(t, w.get(second, schema.MetadataPath+"timestamp.json"), http.StatusUnauthorized, "")
	for _, want := range []string{"registration replaced", "by=installer", "polled=", "from=127.0.0.1:"} {
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
}

func TestAHostTakenOutOfTheFleetIsHeldButNotForgotten(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	f.Remove("web01")
	f.publish()
	a, r := w.poll(c, schema.PollRequest{MetadataVersions: held(1, 1)})
	if r.status != http.StatusOK || !strings.Contains(a.Hold, "has no package for host web01") || a.Site != "" {
		t.Fatalf("%d %s", r.status, r.body)
	}
	_, r = w.poll(c, schema.PollRequest{MetadataVersions: held(2, 1), Held: true})
	if r.status != http.StatusNoContent {
		t.Errorf("told again: %d %s", r.status, r.body)
	}
	f.assign("web01", 3, f.bake("web01 again"))
	f.publish()
	a, r = w.poll(c, schema.PollRequest{MetadataVersions: held(2, 1), Held: true})
	if r.status != http.StatusOK || a.Hold != "" {
		t.Errorf("back again: %d %s", r.status, r.body)
	}
}
