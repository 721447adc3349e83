package bake

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"

	"bakehouse/reconcile/bake/held"
	"bakehouse/reconcile/rules"
	"bakehouse/reconcile/services"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Version is the bake version: the same recipe and version make the same bytes. It is raised when the golden hashes in
// the test change.
const Version = 13

// Store keeps segments and the claims on them. Create fails with fs.ErrExist, Open with fs.ErrNotExist.
type Store interface {
	Open(ctx context.Context, key string) (io.ReadCloser, error)
	Create(ctx context.Context, key string, r io.Reader) error
}

// Sources opens the files whose Shared is true: those in the repo, and host programs. A file may be opened several times;
// what it yields is checked against the file's digest each time. That of a file whose ByProvenance is true is none of the
// bytes: there, Sources checks the archive, and yields the same each time.
type Sources interface {
	Open(f fleet.File, p schema.Platform) (io.ReadCloser, error)
}

// Baker makes packages. It is safe for concurrent use, and keeps what it learnt of segments until it is closed.
type Baker struct {
	sources  Sources
	segments segments
	prefixes prefixes
}

// New returns a Baker that keeps segments in st. Close it after use.
func New(st Store, src Sources) *Baker {
	b := &Baker{sources: src, segments: segments{store: st, made: map[schema.Digest]*slot{}}}
	b.segments.spare.Store(held.Spare)
	return b
}

// Close frees the private copies of segments. No Bake may be running.
func (b *Baker) Close() error { return b.segments.close() }

// Baked is a package: its manifest, and what it took to make it.
type Baked struct {
	Manifest *schema.Manifest
	Digest   schema.Digest // of the encoded manifest, by which it is stored
	Packed   []byte        // gzip of the encoded manifest, as it is stored
	// Segments that this call put into the store, and those that were there or that an earlier call put there.
	NewSegments, ReusedSegments []schema.SegmentRef

	files []listed
}

// Bake makes the package of a recipe. It stores the segments that are missing, not the manifest. anchor is the digest of
// the anchor root, which must be the one that the recipe's files carry. Errors name plugin and file; a store whose
// content does not verify is a refusal (fault.IsRefusal).
func (b *Baker) Bake(ctx context.Context, r *rules.Recipe, format schema.Format, anchor schema.Digest) (*Baked, error) {
	baked, err := b.bake(ctx, r, format, anchor)
	if err != nil {
		return nil, fmt.Errorf("package %s for %s as %s: %w", r.ID, r.Platform, format, err)
	}
	return baked, nil
}

func (b *Baker) bake(ctx context.Context, r *rules.Recipe, format schema.Format, anchor schema.Digest) (*Baked, error) {
	l, err := b.layout(r, anchor)
	if err != nil {
		return nil, err
	}
	baked := &Baked{}
	var parts []part
	switch format {
	case schema.Tgz:
		parts, err = b.tgz(ctx, l, baked)
	case schema.Deb:
		parts, err = b.deb(ctx, l, baked)
	case schema.Rpm:
		parts, err = b.rpm(ctx, l, baked)
	case schema.Pkg:
		parts, err = b.pkg(ctx, l, baked)
	case schema.Msi:
		parts, err = b.msi(ctx, l, baked)
	default:
		err = fmt.Errorf("no such format")
	}
	if err != nil {
		return nil, err
	}
	m := &schema.Manifest{Schema: schema.ManifestSchema, Bake: Version, Name: l.name, Version: l.version,
		Recipe: r.ID, Platform: r.Platform, Format: format, Anchor: anchor, Needs: l.needs(format),
		Parts: schemaParts(parts)}
	if m.Size, m.SHA256, err = b.measure(ctx, parts); err != nil {
		return nil, err
	}
	text, digest, err := m.Encode()
	if err != nil {
		return nil, err
	}
	baked.Manifest, baked.Digest, baked.Packed = m, digest, pack(text, len(parts[len(parts)-1].data))
	return baked, nil
}

// needs is what a package of l takes for granted of its host, beside what the package manager sees to.
func (l *layout) needs(format schema.Format) (n schema.Needs) {
	if l.recipe.Platform.OS == "linux" { // users are made there only
		n = l.accounts.needs()
	}
	if format == schema.Tgz && len(l.capable()) > 0 {
		n.Programs = []string{"setcap"}
	}
	return n
}

func (b *Baker) tgz(ctx context.Context, l *layout, baked *Baked) ([]part, error) {
	switch f := updaterScripts(l, true); {
	case f == nil:
	case services.Made(l.recipe.Platform.OS): // long, and alike in many packages
		l.shared = append(l.shared, []*file{f})
	default:
		l.own = slices.Insert(l.own, 0, f)
	}
	absoluteLinks(append(l.shared, l.own)...)
	if err := oldTar(l); err != nil {
		return nil, err
	}
	if l.recipe.Platform.OS == "darwin" {
		l.shared[0] = ownedDirs(l.shared[0]) // the system's /etc is a link, and tar would put a directory in its place
	}
	data, _, _, err := b.archive(ctx, tarArchive, l.shared, l.own, baked)
	if err != nil {
		return nil, err
	}
	return data.parts, nil
}

// archive puts an archive's stream together. It returns what reading the files yielded.
func (b *Baker) archive(ctx context.Context, as *archiver, shared [][]*file, own []*file, baked *Baked) (s *stream,
	sums, last []fileSum, err error) {
	s = newStream()
	for _, files := range shared {
		g, err := b.segment(ctx, as.payload(files), baked)
		if err != nil {
			return nil, nil, nil, err
		}
		s.splice(g)
		sums = append(sums, g.sums...)
		baked.list(g.ref.Digest, files, g.sums)
	}
	var tail bytes.Buffer
	if last, err = as.write(ctx, &tail, own); err != nil {
		return nil, nil, nil, err
	}
	tail.Write(as.end)
	s.end(tail.Bytes())
	baked.list(schema.Digest{}, own, last)
	return s, sums, last, nil
}

// segment makes or finds the segment of a payload, and notes which it was.
func (b *Baker) segment(ctx context.Context, p payload, baked *Baked) (*segment, error) {
	g, fresh, err := b.segments.get(ctx, p)
	if err != nil {
		return nil, err
	}
	if fresh {
		baked.NewSegments = append(baked.NewSegments, g.ref)
	} else {
		baked.ReusedSegments = append(baked.ReusedSegments, g.ref)
	}
	return g, nil
}

// measure hashes the whole package.
func (b *Baker) measure(ctx context.Context, parts []part) (size int64, sum schema.Digest, err error) {
	for _, p := range parts {
		size += p.size()
	}
	// Nothing but an archive, or a compound file: it begins like others.
	if parts[0].segment != nil || bytes.Equal(parts[0].data, gzipHeader) {
		sum, err = b.prefixes.digest(ctx, parts)
		return size, sum, err
	}
	h := sha256.New()
	err = writeParts(ctx, h, parts)
	return size, schema.Digest(h.Sum(nil)), err
}

// pack is the stored form of a manifest, of which so many bytes at the end are the last literal. It is addressed by what it
// inflates to, so its own bytes may vary.
func pack(text []byte, last int) []byte {
	// Names and hex digits first, then literals, which look like noise: flushed between, or one Huffman code would have to
	// do for both. Before the last one too, if that pays: what is before it may be hex digits, as in an rpm, or noise.
	line, end := bytes.IndexByte(text, '\n')+1, len(text)-last
	one, two := packFlushed(text, line), packFlushed(text, line, end)
	if len(two) < len(one) {
		return two
	}
	return one
}

func packFlushed(text []byte, at ...int) []byte {
	var b bytes.Buffer
	z := packers.Get().(*gzip.Writer)
	defer packers.Put(z)
	z.Reset(&b) // which does not fail
	from := 0
	for _, to := range at {
		z.Write(text[from:to])
		z.Flush()
		from = to
	}
	z.Write(text[from:])
	z.Close()
	return b.Bytes()
}

// packers are reused as deflaters are.
var packers = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, level)
	if err != nil {
		panic(err) // only for a level out of range
	}
	return z
}}

// listed is files of a package, and what reading them yielded: those in a segment, or its own if that is zero.
type listed struct {
	segment schema.Digest
	files   []*file
	sums    []fileSum
}

func (b *Baked) list(segment schema.Digest, files []*file, sums []fileSum) {
	if len(files) > 0 {
		b.files = append(b.files, listed{segment, files, sums})
	}
}

// Lists is what the store keeps to say which files a package holds, encoded, by its manifest's digest; and the same of
// each segment that holds some, by the segment's digest, unless told says that it was listed before. Afterwards b holds
// no files any more: a pass keeps thousands.
func (b *Baked) Lists(told func(segment schema.Digest) bool) (lists map[schema.Digest][]byte, err error) {
	c := &schema.Contents{Schema: schema.ContentsSchema, Files: []schema.ContentsEntry{}}
	lists = map[schema.Digest][]byte{}
	for _, l := range b.files {
		entries := l.entries()
		for _, e := range entries {
			if e.Plugin != "" && !slices.Contains(c.Plugins, e.Plugin) {
				c.Plugins = append(c.Plugins, e.Plugin)
			}
		}
		switch {
		case len(entries) == 0:
			continue
		case l.segment.IsZero():
			c.Files = entries
			continue
		}
		c.Shared = append(c.Shared, l.segment)
		if told(l.segment) {
			continue
		}
		of := &schema.Contents{Schema: schema.ContentsSchema, Files: entries}
		if lists[l.segment], err = of.Encode(); err != nil {
			return nil, err
		}
	}
	slices.Sort(c.Plugins)
	lists[b.Digest], err = c.Encode()
	b.files = nil
	return lists, err
}

func (l listed) entries() []schema.ContentsEntry {
	entries := []schema.ContentsEntry{}
	read := map[string]fileSum{}
	for _, s := range l.sums {
		read[s.path] = s
	}
	for _, f := range l.files {
		s, ok := read[f.path]
		if f.isLink() {
			s, ok = fileSum{size: int64(len(f.link)), sha: schema.DigestOf([]byte(f.link))}, true
		}
		name := f.path
		if f.mode.IsDir() && !f.implied() {
			name, s, ok = name+"/", fileSum{sha: schema.DigestOf(nil)}, true
		}
		if !ok {
			continue
		}
		e := schema.ContentsEntry{Path: name, Mode: f.mode.Perm(), Link: f.link, Size: s.size, SHA256: s.sha}
		if f.plugin != madeHere {
			e.Plugin = f.plugin
		}
		if f.owner != "" || f.group != "" {
			e.Owner = cmp.Or(f.owner, "root") + ":" + cmp.Or(f.group, "root")
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b schema.ContentsEntry) int { return cmp.Compare(a.Path, b.Path) })
	return entries
}

// madeHere stands for the plugin of a file that no plugin has.
const madeHere = "(all)"
