package agent

import (
	"bytes"
	"crypto/sha256"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/staging"
	"bakehouse/schema"
)

// A monitored host may have little memory and a package may be large: what is allocated in all, by the test's server
// too, stays a small part of what is fetched, put together and digested.
func TestALargePackageIsFetchedAndPutTogetherInConstantMemory(t *testing.T) {
	const size = 96 << 20
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	chunk := bytes.Repeat([]byte("a large package\n"), 4096)
	f.Bend(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, schema.SegmentPath) {
			return false
		}
		w.Header().Set("Content-Length", strconv.Itoa(size))
		for sent := 0; sent < size; sent += len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				t.Error(err)
			}
		}
		return true
	})
	sum := sha256.New()
	for n := 0; n < size; n += len(chunk) {
		sum.Write(chunk)
	}
	digest := schema.Digest(sum.Sum(nil))
	m := &schema.Manifest{Schema: schema.ManifestSchema, Bake: 1, Name: "bakehouse-agent", Version: "1",
		Recipe:   "0123456789abcdef",
		Platform: h.platform, Format: schema.Tgz, Anchor: schema.DigestOf(f.Anchor), Size: size, SHA256: digest,
		Parts: []schema.Part{{Segment: &schema.SegmentRef{Digest: digest, Size: size, Payload: digest,
			PayloadSize: size}}}}

	s, err := h.files.Load()
	if err != nil {
		t.Fatal(err)
	}
	c, err := h.dial(s, s.Ways()[0], f.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	u := &update{Agent: h.Agent, host: s, client: c}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := u.segments(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	as := *m
	as.Format = schema.Pkg // whose contents are not listed
	staged, err := staging.Stage(t.Context(), h.system(), h.files.Stored(stagingDir), &as, u.segmentFile)
	if err != nil {
		t.Fatal(err)
	}
	staged.Remove()
	runtime.ReadMemStats(&after)
	allocated := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d MB came in %d kB of allocations", size>>20, allocated>>10)
	if allocated > size/12 {
		t.Errorf("%d bytes were allocated for %d", allocated, size)
	}
	if got := c.Fetched(); got != size {
		t.Errorf("%d bytes are counted", got)
	}
}
