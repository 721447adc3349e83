package serve

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/delta"
	"bakehouse/schema/fault"
	"bakehouse/serve/envelopes"
	"bakehouse/serve/inventory"
	"bakehouse/serve/store"
)

// packed is a manifest that has the digest by which it is known, and the gzip that it was read from.
type packed struct {
	*schema.Manifest
	gzip []byte
}

// manifest returns a manifest, checked by its digest, for a host that has it.
func (s *Server) manifest(host string, d schema.Digest) (*packed, error) {
	return s.manifests.Get(d, func() (*packed, int64, error) {
		ctx, cancel := context.WithTimeout(store.For(context.Background(), host), readTimeout)
		defer cancel()
		b, err := store.Read(ctx, s.store, schema.ManifestKey(d), schema.MaxManifest)
		if err != nil {
			return nil, 0, err
		}
		m, err := schema.DecodeManifest(b, d)
		if err != nil {
			return nil, 0, err
		}
		size := int64(len(b)) + int64(len(m.Parts))*200
		for _, p := range m.Parts {
			size += int64(len(p.Data))
		}
		return &packed{m, b}, size, nil
	})
}

// manifestOf returns the manifest of a host's package, which must be of that package.
func (s *Server) manifestOf(host string, p inventory.Package) (*packed, error) {
	m, err := s.manifest(host, p.Manifest)
	if err == nil && m.SHA256 != p.SHA256 {
		err = &schema.AlteredError{Object: "package", Want: p.SHA256, Got: m.SHA256}
	}
	return m, err
}

// collected reports whether err is only that gc took what a package is made of: the host was once given it, and no signed
// metadata give it to the host any more.
func (s *Server) collected(host string, p inventory.Package, err error) bool {
	rel, _ := s.releases.Now()
	return errors.Is(err, fs.ErrNotExist) && !slices.Contains(candidates(rel, host), p)
}

// inStock looks, before an answer begins, for the segments of a package that gc may have taken while its manifest was in
// memory here.
func (s *Server) inStock(ctx context.Context, host string, p inventory.Package, m *packed) error {
	if !s.collected(host, p, fs.ErrNotExist) {
		return nil
	}
	for _, ref := range m.Segments() {
		if _, err := s.store.Stat(ctx, schema.SegmentKey(ref.Digest)); err != nil {
			return err
		}
	}
	return nil
}

// refuse answers a request for an object of p that the store does not yield.
func (s *Server) refuse(x *exchange, host string, p inventory.Package, what string, d schema.Digest, err error) {
	if s.collected(host, p, err) {
		x.notFound()
		return
	}
	s.storeTrouble(what, d.Hex(), err)
	x.unavailable()
}

// remember notes that the host is given p, so that it may go on reading p when newer metadata no longer name it.
func (s *Server) remember(ctx context.Context, host string, p inventory.Package) {
	if err := s.inventory.Remember(ctx, host, p, time.Now()); err != nil {
		s.log.Error("inventory", "error", err)
	}
}

// digestIn returns the digest in the path, or answers the request.
func digestIn(x *exchange, r *http.Request) (schema.Digest, bool) {
	d, err := schema.ParseHex(r.PathValue("digest"))
	if err != nil {
		x.notFound()
		return d, false
	}
	return d, true
}

// find is findPackage that answers the request if there is no such package.
func (s *Server) find(x *exchange, r *http.Request, host string, is func(inventory.Package) bool) (inventory.Package, bool) {
	p, ok, err := s.findPackage(r.Context(), host, is)
	if err != nil {
		s.log.Error("inventory", "error", err)
		x.unavailable()
		return p, false
	}
	if !ok {
		x.notFound()
	}
	return p, ok
}

// serveManifest answers what a package is checked by: its manifest, unless the host has that, and the DSSE envelopes on
// the package, without what follows from the manifest.
func (s *Server) serveManifest(x *exchange, r *http.Request, host string) {
	d, ok := digestIn(x, r)
	if !ok {
		return
	}
	p, ok := s.find(x, r, host, func(p inventory.Package) bool { return p.Manifest == d })
	if !ok {
		return
	}
	m, err := s.manifestOf(host, p)
	if err != nil {
		s.refuse(x, host, p, "manifest", d, err)
		return
	}
	a := schema.PackageAnswer{Manifest: m.gzip}
	if have, err := schema.ParseHex(r.Header.Get(schema.HaveManifest)); err == nil && have == d {
		a.Manifest = nil
	} else if err == nil {
		if b := s.manifestAgainst(r.Context(), host, m, d, have); b != nil {
			a.Manifest, a.Against = b, have
		}
	}
	what := schema.StatementFor(m.Manifest, d)
	a.Statements, err = envelopes.On(r.Context(), s.store, d, what, func(key string, err error) {
		s.storeTrouble("statement", key, err)
	})
	if err != nil {
		s.storeTrouble("statements", d.Hex(), err)
		x.unavailable()
		return
	}
	s.remember(r.Context(), host, p)
	x.Header().Set("Cache-Control", cacheNever) // further keys may sign later
	x.answerTo(r, a)
}

// manifestAgainst is the difference of m to another manifest of the host's, nil if there is none or it is no shorter.
func (s *Server) manifestAgainst(ctx context.Context, host string, m *packed, d, have schema.Digest) []byte {
	p, ok, err := s.findPackage(ctx, host, func(p inventory.Package) bool { return p.Manifest == have })
	if err != nil || !ok {
		return nil // the whole manifest does as well
	}
	old, err := s.manifestOf(host, p)
	if err != nil {
		return nil
	}
	file, err := m.Marshal()
	base, oldErr := old.Marshal()
	// A field that this program does not know is lost in it.
	if err != nil || oldErr != nil || schema.DigestOf(file) != d || schema.DigestOf(base) != have {
		return nil
	}
	var b []byte
	s.metadata.Deflating(func() { b, err = delta.Deflate(file, base) })
	if err != nil || len(b) >= len(m.gzip) {
		return nil
	}
	return b
}

func (s *Server) serveSegment(x *exchange, r *http.Request, host string) {
	d, ok := digestIn(x, r)
	if !ok {
		return
	}
	var ref schema.SegmentRef
	p, ok := s.find(x, r, host, func(p inventory.Package) bool {
		m, err := s.manifestOf(host, p)
		if err != nil {
			if !s.collected(host, p, err) {
				s.storeTrouble("manifest", p.Manifest.Hex(), err)
			}
			return false
		}
		i := slices.IndexFunc(m.Parts, func(part schema.Part) bool { return part.Segment != nil && part.Segment.Digest == d })
		if i >= 0 {
			ref = *m.Parts[i].Segment
		}
		return i >= 0
	})
	if !ok {
		return
	}
	key, found := schema.SegmentKey(d), func() {
		x.Header().Set("Cache-Control", cacheForever)
		x.Header().Set("Content-Type", "application/octet-stream")
		x.Header().Set("ETag", `"`+d.Hex()+`"`)
	}
	if r.Method == http.MethodHead || r.Header.Get("Range") != "" || r.Header.Get("If-None-Match") != "" {
		// A part, as by a host that resumes: only what is asked for is read.
		if _, err := s.store.Stat(r.Context(), key); err != nil {
			s.refuse(x, host, p, "segment", d, err)
			return
		}
		found()
		content := store.Seeker(r.Context(), s.store, key, ref.Size)
		defer content.Close()
		http.ServeContent(x, r, "", time.Time{}, content)
		return
	}
	f, err := s.store.Open(r.Context(), key)
	if err != nil {
		s.refuse(x, host, p, "segment", d, err)
		return
	}
	defer f.Close()
	found()
	x.Header().Set("Accept-Ranges", "bytes")
	x.Header().Set("Content-Length", strconv.FormatInt(ref.Size, 10))
	if _, err := io.Copy(x, io.LimitReader(f, ref.Size)); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// serveTarget answers what a stock TUF client asks for with consistent snapshots: HEX.policy, HOST/HEX.package.
func (s *Server) serveTarget(x *exchange, r *http.Request, host string) {
	owner, file, inFolder := strings.Cut(r.PathValue("path"), "/")
	if !inFolder {
		owner, file = "", owner
	}
	prefix, name, ok := strings.Cut(file, ".")
	d, err := schema.ParseHex(prefix)
	switch {
	case !ok || err != nil:
		x.notFound()
	case !inFolder:
		s.serveTopTarget(x, r, name, d)
	case owner == host && schema.PackageTarget(owner) == owner+"/"+name:
		if p, ok := s.find(x, r, host, func(p inventory.Package) bool { return p.SHA256 == d }); ok {
			s.servePackage(x, r, host, p, "")
		}
	default:
		x.notFound()
	}
}

func (s *Server) serveTopTarget(x *exchange, r *http.Request, name string, d schema.Digest) {
	rel, _ := s.releases.Now()
	if !slices.Contains(rel.Targets[name], d) {
		x.notFound()
		return
	}
	b, err := store.Read(r.Context(), s.store, schema.TargetKey(d), schema.MaxTarget)
	if got := schema.DigestOf(b); err == nil && got != d {
		err = &schema.AlteredError{Object: "target", Want: d, Got: got}
	}
	if errors.Is(err, fs.ErrNotExist) && rel.Targets[name][0] != d {
		x.notFound() // gc took the one before
		return
	}
	if err != nil {
		s.storeTrouble("target", name, err)
		x.unavailable()
		return
	}
	x.Header().Set("Cache-Control", cacheForever)
	x.body(http.StatusOK, "application/json", b)
}

// servePackage streams a whole package, put together as it goes. disposition is a Content-Disposition or empty.
func (s *Server) servePackage(x *exchange, r *http.Request, host string, p inventory.Package, disposition string) {
	m, err := s.manifestOf(host, p)
	if err != nil {
		s.refuse(x, host, p, "manifest", p.Manifest, err)
		return
	}
	if err := s.inStock(r.Context(), host, p, m); err != nil {
		s.refuse(x, host, p, "package", p.SHA256, err)
		return
	}
	s.remember(r.Context(), host, p)
	x.Header().Set("Cache-Control", cacheForever)
	x.Header().Set("Content-Type", "application/octet-stream")
	x.Header().Set("Content-Length", strconv.FormatInt(m.Size, 10))
	x.Header().Set("ETag", `"`+p.SHA256.Hex()+`"`)
	if disposition != "" {
		x.Header().Set("Content-Disposition", disposition)
	}
	if r.Method == http.MethodHead {
		return
	}
	err = m.Assemble(x, func(ref schema.SegmentRef) (io.ReadCloser, error) {
		return s.store.Open(r.Context(), schema.SegmentKey(ref.Digest))
	})
	if err == nil {
		return
	}
	if fault.IsRefusal(err) || errors.Is(err, fs.ErrNotExist) {
		s.storeTrouble("package", p.SHA256.Hex(), err)
	}
	panic(http.ErrAbortHandler) // cut the body short: what was sent is not the package
}
