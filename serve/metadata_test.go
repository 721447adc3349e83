package serve

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/delta"
)

func TestMetadataTravelAsTheDifferenceToWhatTheHostHolds(t *testing.T) {
	f := newFleet(t)
	for i := range 300 {
		f.assign(fmt.Sprintf("web%03d", i), 1, pack{digest: schema.DigestOf(noise(8)), manifest: schema.DigestOf(noise(8)),
			bytes: []byte("x")})
	}
	f.publish()
	f.assign("web001", 2, f.bake("another"))
	f.publish()
	w := start(t, f)
	c := w.register("web001")
	bin := f.Bin("web001")
	for _, role := range []string{"snapshot", "targets", bin} {
		path := schema.MetadataPath + "2." + role + ".json"
		old := f.read(schema.MetadataKey(role, 1))
		want := f.read(schema.MetadataKey(role, 2))

		whole := w.get(c, path)
		if whole.status != http.StatusOK || !bytes.Equal(whole.body, want) || whole.header.Get("Content-Encoding") != "" {
			t.Fatalf("%s: %d %v", path, whole.status, whole.header)
		}
		zipped := w.get(c, path, "Accept-Encoding", "br;q=1, gzip;q=0.5")
		z, err := gzip.NewReader(bytes.NewReader(zipped.body))
		check(t, err)
		if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, want) ||
			zipped.header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s gzipped: %v", path, err)
		}
		for range 2 { // computed, then from the cache
			short := w.get(c, path, delta.HaveHeader, "1", "Accept-Encoding", "gzip")
			got, err := delta.Inflate(short.body, old, int64(len(want)))
			if err != nil || !bytes.Equal(got, want) || short.header.Get("Content-Encoding") != delta.Encoding {
				t.Errorf("%s against version 1: %v %v", path, short.header, err)
			}
			t.Logf("%s: %d bytes, %d gzipped, %d against version 1", path, len(want), len(zipped.body), len(short.body))
			if role == bin && len(short.body) > len(zipped.body)/4 {
				t.Errorf("%s: %d bytes against version 1, %d gzipped", path, len(short.body), len(zipped.body))
			}
		}
	}
}

func TestMetadataAreSentInFullWhenWhatTheHostHoldsCannotServe(t *testing.T) {
	f, _ := standardFleet(t)
	f.publish()
	w := start(t, f)
	c := w.register("web01")
	want := f.read(schema.MetadataKey("targets", 2))
	for name, have := range map[string]string{"a version that is not there": "0", "the same version": "2",
		"a later one": "3", "not a number": "one",
		"negative": "-1", "beyond any number": "99999999999999999999"} {
		if r := w.get(c, schema.MetadataPath+"2.targets.json", delta.HaveHeader, have); r.status != http.StatusOK ||
			!bytes.Equal(r.body, want) {
			t.Errorf("%s: %d %v", name, r.status, r.header)
		}
	}
	f.removeKey(schema.MetadataKey("targets", 1))
	if r := w.get(c, schema.MetadataPath+"2.targets.json", delta.HaveHeader, "1"); r.status != http.StatusOK ||
		!bytes.Equal(r.body, want) {
		t.Errorf("a version that gc took: %d %v", r.status, r.header)
	}
	for accept, encoding := range map[string]string{"gzip;q=0": "", "deflate": "", "gzip": "gzip", "GZIP;q=0.1": "gzip",
		"xgzip": ""} {
		if r := w.get(c, schema.MetadataPath+"2.targets.json", "Accept-Encoding",
			accept); r.header.Get("Content-Encoding") != encoding {
			t.Errorf("%s: %v", accept, r.header)
		}
	}
}

func TestObjectsAlteredInTheStoreAreNotHandedOn(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	c, p := w.register("web01"), packs["web01"]
	rel, _ := w.server.releases.Now()
	policy := rel.Targets[schema.PolicyTarget][0]
	for path, key := range map[string]string{
		schema.MetadataPath + "1.targets.json":                schema.MetadataKey("targets", 1),
		schema.MetadataPath + "1." + f.Bin("web01") + ".json": schema.MetadataKey(f.Bin("web01"), 1),
		schema.TargetPath + policy.Hex() + ".policy":          schema.TargetKey(policy),
		schema.ManifestPath + p.manifest.Hex():                schema.ManifestKey(p.manifest),
	} {
		good := f.read(key)
		f.overwrite(key, f.read(schema.ManifestKey(packs["web02"].manifest)))
		wantStatus(t, w.get(c, path), http.StatusServiceUnavailable, "cannot answer")
		f.removeKey(key)
		if r := w.get(c, path); r.status != http.StatusServiceUnavailable && r.status != http.StatusNotFound {
			t.Errorf("%s, missing: %d", path, r.status)
		}
		f.create(key, good)
		if r := w.get(c, path); r.status != http.StatusOK {
			t.Errorf("%s, mended: %d %s", path, r.status, r.body)
		}
	}
}

func TestAWholePackageThatDoesNotAddUpIsCutShort(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	c, p := w.register("web01"), packs["web01"]
	f.overwrite(schema.SegmentKey(p.segments[1]), noise(len(f.shared[1])))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.http.URL+schema.TargetPath+"web01/"+
		p.digest.Hex()+".package", nil)
	check(t, err)
	req.SetBasicAuth(c.name, c.secret)
	resp, err := w.http.Client().Do(req)
	check(t, err)
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%d bytes ended as if they were whole", len(b))
	}
}

func TestASegmentCanBeResumed(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	c, p := w.register("web01"), packs["web01"]
	r := w.get(c, schema.SegmentPath+p.segments[0].Hex(), "Range", "bytes=100-", "If-Range", `"`+p.segments[0].Hex()+`"`)
	if r.status != http.StatusPartialContent || !bytes.Equal(r.body, f.shared[0][100:]) {
		t.Errorf("%d, %d bytes", r.status, len(r.body))
	}
}

func TestABrokenStatementDoesNotHideTheOthers(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	c, p := w.register("web01"), packs["web01"]
	before := w.packageAnswer(c, p.manifest)
	f.create(schema.StatementKey(p.manifest, "key0"), []byte(`{"half":`))
	if a := w.packageAnswer(c, p.manifest); !reflect.DeepEqual(a, before) {
		t.Errorf("%s", a.Statements)
	}
	f.create(schema.StatementKey(p.manifest, "key2"), []byte(`{"second": true}`))
	if a := w.packageAnswer(c, p.manifest); len(a.Statements) != 2 || string(a.Statements[1]) != `{"second":true}` {
		t.Errorf("%s", a.Statements)
	}
}

// A second key may sign after a host has read the manifest: it then asks for the statements, and is never told old
// ones.
func TestAHostThatHasTheManifestIsSentTheStatementsAlone(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	c, p := w.register("web01"), packs["web01"]
	if a := w.packageAnswer(c, p.manifest); a.Manifest == nil || len(a.Statements) != 1 {
		t.Fatalf("%d bytes of manifest, %s", len(a.Manifest), a.Statements)
	}
	f.create(schema.StatementKey(p.manifest, "key2"), []byte(`{"second": true}`))
	a := w.packageAnswer(c, p.manifest, schema.HaveManifest, p.manifest.Hex())
	if a.Manifest != nil || len(a.Statements) != 2 {
		t.Errorf("%d bytes of manifest, %s", len(a.Manifest), a.Statements)
	}
}
