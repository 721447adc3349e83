package serve

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/delta"
)

// FuzzRequests asks as web01 for whatever comes: the server must neither break nor say anything of web02's package.
func FuzzRequests(f *testing.F) {
	fl, packs := standardFleet(f)
	w := start(f, fl)
	c, own, other := w.register("web01"), packs["web01"], packs["web02"]
	for _, path := range []string{"/", schema.HealthPath, schema.MetadataPath + "timestamp.json",
		schema.MetadataPath + "1." + fl.Bin("web01") + ".json",
		schema.MetadataPath + "99999999999999999999.root.json", schema.TargetPath + "web01/" + own.digest.Hex() + ".package",
		schema.TargetPath + "web02/" + other.digest.Hex() + ".package", schema.ManifestPath + other.manifest.Hex(),
		schema.SegmentPath + own.segments[0].Hex(), schema.PackagePath + "web02",
		"//v1/../v1/poll"} {
		f.Add(http.MethodGet, path, "1", "bytes=1-2", []byte(nil))
	}
	f.Add(http.MethodPost, schema.PollPath, "", "",
		[]byte(`{"schema":1,"timestamp":1,"report":{"installed":"`+other.digest.String()+`"}}`))
	f.Add(http.MethodPost, schema.RegisterPath, "", "", []byte(`{"schema":{"min":1,"max":1},"host":"web02"}`))
	h := w.server.Handler()
	f.Fuzz(func(t *testing.T, method, path, have, ranges string, body []byte) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", bytes.NewReader(body))
		r.Method, r.URL = method, &url.URL{Path: path}
		r.SetBasicAuth(c.name, c.secret)
		r.Header.Set(delta.HaveHeader, have)
		r.Header.Set("Range", ranges)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code >= 500 {
			t.Errorf("%s %q: %d %s", method, path, rec.Code, rec.Body)
		}
		if b := rec.Body.Bytes(); bytes.Contains(b, []byte("web02's")) || bytes.Contains(b, other.bytes) {
			t.Errorf("%s %q tells of another host's package", method, path)
		}
	})
}
