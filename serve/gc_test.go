package serve

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/serve/store"
	"bakehouse/serve/store/maintain"
)

// gc runs while the server does.
func TestWhatAGCTookIsOrdinarilyNotFoundAndTheRestIsServedAsBefore(t *testing.T) {
	f, first := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	w.follow(f, c)
	packs := []pack{first["web01"]}
	for n := int64(2); n <= 5; n++ {
		p := f.bake("web01's next " + string('0'+rune(n)))
		older := slices.Clone(packs)
		slices.Reverse(older)
		f.assign("web01", n, p, older[:min(len(older), schema.MaxOlder)]...)
		packs = append(packs, p)
		f.publish()
		w.poll(c, schema.PollRequest{}) // notices the release
		w.follow(f, c)
	}
	if _, err := maintain.GC(t.Context(), f.store, maintain.GCOptions{Anchor: f.Anchor, Keep: 1}); err != nil {
		t.Fatal(err)
	}
	for i, p := range packs {
		want := http.StatusOK
		if i < 2 {
			want = http.StatusNotFound
		}
		// The manifest aside, which the server may still have in memory.
		for _, path := range []string{schema.SegmentPath + p.segments[2].Hex(), schema.TargetPath + "web01/" + p.digest.Hex() + ".package"} {
			if r := w.get(c, path); r.status != want {
				t.Errorf("package %d: %s: %d %s", i+1, path, r.status, r.body)
			}
		}
	}
	if got := w.follow(f, c); !bytes.Equal(got, packs[4].bytes) {
		t.Error("the host is served another package than its newest")
	}
	again := start(t, f) // a server that knows nothing of what was before
	if got := again.follow(f, again.register("web01")); !bytes.Equal(got, packs[4].bytes) {
		t.Error("a new server serves another package")
	}
	if log := w.log.String(); strings.Contains(log, "fails to deliver") {
		t.Errorf("the server complains:\n%s", log)
	}
}

func TestAGCLeavesWhatIsReserved(t *testing.T) {
	f, _ := standardFleet(t)
	keys := []string{schema.LogDir + "checkpoint", schema.LogDir + "tile/0/x001/067", schema.DeltaDir + "xx/1.zst"}
	for _, key := range keys {
		check(t, store.CreateBytes(t.Context(), f.store, key, []byte(key)))
	}
	report, err := maintain.GC(t.Context(), f.store, maintain.GCOptions{Anchor: f.Anchor, Keep: 1})
	check(t, err)
	for _, key := range keys {
		b, err := store.Read(t.Context(), f.store, key, 100)
		if err != nil || string(b) != key {
			t.Errorf("%s: %q, %v", key, b, err)
		}
	}
	for kind, want := range map[string]int{"log": 2, "deltas": 1} {
		i := slices.IndexFunc(report.Kinds, func(k maintain.KindTally) bool { return k.Kind == kind })
		if i < 0 || report.Kinds[i].Kept.Objects != want {
			t.Errorf("of %s not %d are kept: %+v", kind, want, report.Kinds)
		}
	}
}

func TestTheLogsPathIsReserved(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	for _, c := range []caller{{}, installer, w.register("web01")} {
		for _, path := range []string{"", "checkpoint", "tile/0/x001/067"} {
			wantStatus(t, w.get(c, schema.LogPath+path), http.StatusNotFound, "not found")
		}
	}
}
