package serve

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bakehouse/schema"
)

func (w *site) health() health {
	w.t.Helper()
	r := w.get(caller{}, schema.HealthPath)
	if r.status != http.StatusOK {
		w.t.Fatalf("healthz: %d %s", r.status, r.body)
	}
	var h health
	check(w.t, schema.Decode(r.body, &h))
	return h
}

func TestAStoreThatGoesWrongIsReportedAndTheLastReleaseServed(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(f *fleet)
		log  string
	}{
		"an altered timestamp": {func(f *fleet) {
			f.overwrite(schema.TimestampKey(2), bytes.Replace(f.Files["timestamp.json"], []byte(`"version":2`),
				[]byte(`"version":3`), 1))
		}, "timestamp.json"},
		"a timestamp that is no JSON": {func(f *fleet) { f.overwrite(schema.TimestampKey(2), []byte("{")) },
			"timestamp.json"},
		"an older release replayed": {func(f *fleet) { f.overwrite(schema.TimestampKey(2), f.read(schema.TimestampKey(1))) },
			"is timestamp 1"},
		"a missing snapshot": {func(f *fleet) { f.removeKey(schema.MetadataKey("snapshot", 2)) }, "snapshot"},
		"a bin that is another's": {func(f *fleet) {
			f.overwrite(schema.MetadataKey(f.Bin("web01"), 2), f.read(schema.MetadataKey(f.Bin("web01"), 1)))
		}, "bin-"},
		"the whole store set back": {func(f *fleet) {
			f.removeKey(schema.TimestampKey(2))
			f.removeKey(schema.TimestampKey(1))
		}, "there was 1 before"},
		"the store's directory taken away": {func(f *fleet) { check(f.t, os.Rename(f.dir, f.dir+".away")) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, packs := standardFleet(t)
			w := start(t, f)
			host := w.register("web01")
			f.assign("web01", 2, f.bake("web01's second"))
			f.publish()
			c.harm(f)
			if err := w.server.releases.Follow(t.Context()); err == nil {
				t.Fatal("the release was taken")
			} else {
				w.server.noteTrouble(err)
			}
			if h := w.health(); h.Status != "degraded" || h.Timestamp != 1 || strings.Contains(h.Problem, f.dir) {
				t.Errorf("healthz: %+v", h)
			}
			if log := w.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, c.log) {
				t.Errorf("log: %s", log)
			}
			if a, r := w.poll(host, schema.PollRequest{}); r.status != http.StatusOK ||
				!strings.Contains(string(f.stampOf(a, 0)), `"version":1`) {
				t.Errorf("poll: %d %s", r.status, r.body)
			}
			if _, err := os.Stat(f.dir); err == nil {
				if r := w.get(host, schema.ManifestPath+packs["web01"].manifest.Hex()); r.status != http.StatusOK {
					t.Errorf("manifest: %d %s", r.status, r.body)
				}
			}
		})
	}
}

func (f *fleet) read(key string) []byte {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, filepath.FromSlash(key)))
	check(f.t, err)
	return b
}

func TestAStoreThatIsMendedIsServedAgain(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	f.publish()
	good := f.read(schema.TimestampKey(2))
	f.overwrite(schema.TimestampKey(2), []byte("{}"))
	if err := w.server.releases.Follow(t.Context()); err == nil {
		t.Fatal("the release was taken")
	}
	if err := w.server.releases.Tick(t.Context()); err != nil {
		t.Errorf("it is looked at again at once: %v", err)
	}
	f.overwrite(schema.TimestampKey(2), good)
	check(t, w.server.releases.Follow(t.Context()))
	if h := w.health(); h.Status != "ok" || h.Timestamp != 2 {
		t.Errorf("healthz: %+v", h)
	}
}

func TestAnExpiredReleaseIsServedAndSaidToBeExpired(t *testing.T) {
	f, packs := standardFleet(t)
	f.Now = f.Now.AddDate(-2, 0, 0)
	f.publish()
	w := start(t, f)
	c := w.register("web01")
	if h := w.health(); h.Status != "degraded" || !strings.Contains(h.Problem, "expired") {
		t.Errorf("healthz: %+v", h)
	}
	if r := w.get(c, schema.ManifestPath+packs["web01"].manifest.Hex()); r.status != http.StatusOK {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestABrokenDatabaseFailsHealthAndNobodyIsTakenForUnregistered(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	check(t, w.db.Close())
	wantStatus(t, w.get(c, schema.MetadataPath+"timestamp.json"), http.StatusServiceUnavailable, "cannot answer")
	if r := w.get(caller{}, schema.HealthPath); r.status != http.StatusServiceUnavailable ||
		!strings.Contains(string(r.body), "failing") {
		t.Errorf("%d %s", r.status, r.body)
	}
	db := w.http
	w.http = nil // stop would close the database again
	db.Close()
}

func TestReleasesMoveUnderTheEyesOfManyHosts(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { w.server.Watch(ctx, time.Millisecond) })
	for host := range packs {
		c := w.register(host)
		all.Go(func() {
			last := int64(0)
			for last < 6 {
				a, r := w.poll(c, schema.PollRequest{MetadataVersions: held(last, 1)})
				if r.status == http.StatusNoContent || r.status == http.StatusOK && len(a.Files) == 0 { // nothing new
					continue
				}
				var stamp struct{ Signed struct{ Version int64 } }
				if err := schema.Decode(f.stampOf(a, last), &stamp); err != nil || stamp.Signed.Version < last {
					t.Errorf("%s: version %d after %d, %v", host, stamp.Signed.Version, last, err)
					return
				}
				last = stamp.Signed.Version
				if r := w.get(c, schema.MetadataPath+"1."+f.Bin(host)+".json"); r.status != http.StatusOK {
					t.Errorf("bin: %d", r.status)
				}
			}
		})
	}
	for range 5 {
		f.publish()
	}
	for {
		if rel, _ := w.server.releases.Now(); rel.Timestamp == 6 {
			break
		}
		if err := w.server.releases.Follow(ctx); err != nil {
			t.Error(err)
			break
		}
	}
	cancel()
	all.Wait()
}
