package serve

import (
	"testing"
	"time"

	"bakehouse/agent/trust/trusttest"
	"bakehouse/agent/wire"
	"bakehouse/schema"
)

// BenchmarkConfigOnlyUpdate is what an update of one host of 100,000 in 1,024 bins costs on the wire, when a literal of
// its package changed and so did 20 bins, over a connection of its own with TLS 1.3: the poll, what the package is
// checked by, and the report. Installing is left out; no segment is fetched. Run it with
//
//	go test -run '^$' -bench ConfigOnlyUpdate -benchtime 1x ./serve
func BenchmarkConfigOnlyUpdate(b *testing.B) {
	const host, hosts, bins = "host04711", 100_000, 1024
	f := newFleetOf(b, bins)
	for i := range hosts {
		f.assignMade(i, 1)
	}
	shared := [][]byte{noise(40000), noise(3000), noise(500), noise(5000), noise(100), noise(7000)}
	type manifest struct {
		digest schema.Digest
		bytes  []byte // encoded
	}
	give := func(release int64) (*trusttest.Package, manifest) {
		// What is literal in a deb: headers, the control archive, the host's own files, checksums. The manifest has
		// 1.6 KB then, in gzip, which is the most that a further package may take in the store.
		pieces := []trusttest.Piece{{Bytes: noise(450)}}
		for _, s := range shared {
			pieces = append(pieces, trusttest.Piece{Bytes: s, Segment: &schema.SegmentRef{PayloadSize: 2 * int64(len(s)),
				Payload: schema.DigestOf(append([]byte("payload"), s...))}})
		}
		p := f.Pack(schema.Manifest{Version: "1.0~0123456789abcdef", Recipe: "0123456789abcdef", Format: schema.Deb,
			Platform: schema.Platform{OS: "linux", Arch: "amd64"}},
			append(pieces, trusttest.Piece{Bytes: noise(150)})...)
		d := f.Put(p)
		f.assign(host, release, pack{bytes: p.Bytes, digest: p.Manifest.SHA256, manifest: d})
		m, err := p.Manifest.Marshal()
		check(b, err)
		return p, manifest{d, m}
	}
	_, before := give(1)
	f.publish()
	w := start(b, f)
	h := w.reader(f, w.register(host), b.TempDir())
	h.update(nil)
	_, err := h.wire.Package(b.Context(), before.digest, nil)
	check(b, err)
	var answers, requests, travelled, count int64
	for n := range b.N {
		release := int64(n + 2)
		for i := range 20 {
			f.assignMade(4711+i*997, release)
		}
		p, after := give(release)
		f.publish()
		check(b, w.server.releases.Follow(b.Context()))

		h.connects()
		h.sent, h.report = 0, usual(pack{digest: p.Manifest.SHA256})
		h.travelled.Store(0)
		a, _ := h.update(nil)
		held := &wire.HeldManifest{Digest: before.digest, Inflated: before.bytes}
		got, err := h.wire.Package(b.Context(), a.Manifest, held)
		check(b, err)
		_, err = schema.DecodeManifest(got.Manifest, a.Manifest)
		check(b, err)
		snapshot, bin := h.tuf.Digests(host)
		h.report.Details = &schema.Details{Interval: 3600, Previous: p.Manifest.SHA256, Snapshot: snapshot, Bin: bin,
			Keys: []schema.KeyState{{Name: "release", State: schema.KeyValid, Expires: time.Unix(1900000000, 0).UTC()}}}
		answer, err := h.wire.Poll(b.Context(),
			schema.PollRequest{MetadataVersions: h.tuf.Holds(host), Report: h.report})
		if err != nil || answer != nil {
			b.Fatalf("%+v, %v", answer, err)
		}
		answers += h.wire.Fetched()
		before = after
		h.wire.Close()
		requests, travelled, count = requests+h.sent, travelled+h.travelled.Load(), count+int64(len(h.asked))
	}
	n := int64(b.N)
	b.ReportMetric(float64(count/n), "requests")
	b.ReportMetric(float64(answers/n), "answers-B")
	b.ReportMetric(float64(requests/n), "reports-B")
	b.ReportMetric(float64(travelled/n), "TLS-B")
	b.ReportMetric(0, "ns/op")
	if answers/n > 2500 || travelled/n > 9500 || count/n > 4 {
		b.Errorf("%d bytes of answers, %d in all, %d requests: more than the budget", answers/n, travelled/n, count/n)
	}
}
