package trusttest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bakehouse/schema"
)

// Package is a package that a fleet publishes. It may be changed before Give, so that what is signed is not true.
type Package struct {
	Manifest  *schema.Manifest
	Bytes     []byte                   // whole
	Segments  map[schema.Digest][]byte // by their own digest
	Signers   []Key                    // nil: the fleet's package key
	Statement *schema.Statement        // nil: the true one
}

// Piece is a part of a package: literal, or a segment if it says of which payload. Digest and size are filled in.
type Piece struct {
	Bytes   []byte
	Segment *schema.SegmentRef
}

// Pack makes a package of pieces. m is its manifest without them.
func (f *Fleet) Pack(m schema.Manifest, pieces ...Piece) *Package {
	p := &Package{Manifest: &m, Segments: map[schema.Digest][]byte{}}
	for _, piece := range pieces {
		p.Bytes = append(p.Bytes, piece.Bytes...)
		if piece.Segment == nil {
			m.Parts = append(m.Parts, schema.Part{Data: piece.Bytes})
			continue
		}
		ref := *piece.Segment
		ref.Digest, ref.Size = schema.DigestOf(piece.Bytes), int64(len(piece.Bytes))
		if ref.Payload.IsZero() {
			ref.Payload, ref.PayloadSize = ref.Digest, ref.Size
		}
		m.Parts = append(m.Parts, schema.Part{Segment: &ref})
		p.Segments[ref.Digest] = piece.Bytes
	}
	m.Schema, m.Bake, m.Name, m.Anchor = schema.ManifestSchema, 1, "bakehouse-agent", schema.DigestOf(f.Anchor)
	m.Size, m.SHA256 = int64(len(p.Bytes)), schema.DigestOf(p.Bytes)
	if m.Recipe == "" {
		m.Recipe = schema.RecipeID(m.SHA256.Short())
	}
	return p
}

// Put serves a package's manifest, segments and statements, and returns the manifest's digest.
func (f *Fleet) Put(p *Package) schema.Digest {
	b := must1(p.Manifest.Marshal()) // not Encode: a manifest that is not in order is published as well
	d := schema.DigestOf(b)
	f.PutManifest(d, b)
	for digest, segment := range p.Segments {
		f.Objects[schema.SegmentKey(digest)] = segment
	}
	statement := schema.StatementFor(p.Manifest, d)
	if p.Statement != nil {
		statement = *p.Statement
	}
	signers := p.Signers
	if signers == nil {
		signers = []Key{f.Package}
	}
	var envelopes [][]byte
	for _, k := range signers {
		envelopes = append(envelopes, Statement(statement, k))
	}
	f.PutStatements(d, envelopes)
	return d
}

// PutManifest serves a manifest under a digest, be it its own or not.
func (f *Fleet) PutManifest(d schema.Digest, b []byte) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	must1(w.Write(b))
	must(w.Close())
	f.Objects[schema.ManifestKey(d)] = z.Bytes()
}

// Statements are the envelopes on the package of a manifest, in order.
func (f *Fleet) Statements(manifest schema.Digest) (envelopes [][]byte) {
	prefix := schema.StatementsPrefix(manifest)
	for _, key := range slices.Sorted(maps.Keys(f.Objects)) {
		if strings.HasPrefix(key, prefix) {
			envelopes = append(envelopes, f.Objects[key])
		}
	}
	return envelopes
}

// PutStatements replaces the envelopes on the package of a manifest.
func (f *Fleet) PutStatements(manifest schema.Digest, envelopes [][]byte) {
	prefix := schema.StatementsPrefix(manifest)
	maps.DeleteFunc(f.Objects, func(key string, _ []byte) bool { return strings.HasPrefix(key, prefix) })
	for i, e := range envelopes {
		f.Objects[schema.StatementKey(manifest, fmt.Sprintf("%03d", i))] = e
	}
}

// Give puts a package and gives it to a host as the next release, with the package before it as an older candidate.
// Each bend may change what is said of it before that is signed.
func (f *Fleet) Give(host string, p *Package, bend ...func(*schema.Target)) {
	f.release++
	a := schema.Assignment{Host: host, SHA256: p.Manifest.SHA256, Length: p.Manifest.Size,
		Target: f.Offer(f.Put(p), p.Manifest.Recipe, f.release)}
	if before, ok := f.Given[host]; ok {
		a.Older = before.Candidates()[:1]
	}
	for _, change := range bend {
		change(&a.Target)
	}
	f.Assign(a)
}
