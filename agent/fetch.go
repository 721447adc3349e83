package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bakehouse/agent/cycle"
	"bakehouse/agent/install/ready"
	"bakehouse/agent/report"
	"bakehouse/agent/trust/statement"

	"bakehouse/agent/staging"
	"bakehouse/agent/state"
	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
)

const (
	segmentsDir = "segments"
	packagesDir = "packages"
	stagingDir  = "staging"
	partSuffix  = ".part"
)

// manifest returns the manifest of a candidate, from here or from the server, checked against what is signed, and the
// envelopes with signature statements, which are always the server's.
func (u *update) manifest(ctx context.Context, c schema.Candidate) (m *schema.Manifest, envelopes [][]byte, err error) {
	base := u.baseManifest(c)
	p, err := u.client.Package(ctx, c.Manifest, base)
	if errors.Is(err, wire.ErrMalformed) {
		return nil, nil, fault.Refuse(err, "the server, or something on the network, altered it; it was discarded")
	}
	if err != nil {
		return nil, nil, missing("manifest", err)
	}
	if p.Manifest == nil {
		if m, err = u.heldManifest(c.SHA256, c.Manifest); err != nil {
			return nil, nil, err
		}
		return m, restored(m, c.Manifest, p.Statements), u.checkManifest(m, c)
	}
	if m, err = schema.DecodeManifest(p.Manifest, c.Manifest); err != nil {
		return nil, nil, fault.Refuse(err,
			"the server, or something on the network, altered the manifest; it was discarded")
	}
	if err := u.checkManifest(m, c); err != nil {
		return nil, nil, err
	}
	if err := durable.MkdirAll(u.files.Stored(packagesDir), 0o700); err != nil {
		return nil, nil, err
	}
	write := durable.WriteFile
	if m.Format == schema.Tgz {
		write = durable.WriteLoose // unpacking makes it durable
	}
	if err := write(u.files.Stored(packagesDir, c.SHA256.Hex()), p.Manifest, 0o600); err != nil {
		return nil, nil, err
	}
	u.say("fetched manifest %s (%d bytes)", c.Manifest.Short(), len(p.Manifest))
	return m, restored(m, c.Manifest, p.Statements), nil
}

// restored are the envelopes on the package of m, each with its payload: servers leave out what follows from m.
func restored(m *schema.Manifest, manifest schema.Digest, envelopes [][]byte) [][]byte {
	statement := schema.StatementFor(m, manifest)
	full := make([][]byte, len(envelopes))
	for i, e := range envelopes {
		full[i] = statement.Restore(e)
	}
	return full
}

// baseManifest is the manifest of c if it is here, else that of the installed package, which has most of it; nil if
// neither is.
func (u *update) baseManifest(c schema.Candidate) *wire.HeldManifest {
	held := []cycle.Installed{{Package: c.SHA256, Manifest: c.Manifest}}
	if i := u.host.Installed; i != nil {
		held = append(held, *i)
	}
	for _, i := range held {
		m, err := u.heldManifest(i.Package, i.Manifest)
		if err != nil {
			continue
		}
		// A field that this program does not know is lost in it.
		if b, err := m.Marshal(); err == nil && (schema.DigestOf(b) == i.Manifest || i.Manifest == c.Manifest) {
			return &wire.HeldManifest{Digest: i.Manifest, Inflated: b}
		}
	}
	return nil
}

func (a *Agent) heldManifest(pkg, manifest schema.Digest) (*schema.Manifest, error) {
	packed, err := state.ReadFile(a.files.Stored(packagesDir, pkg.Hex()), schema.MaxManifest)
	if err != nil {
		return nil, err
	}
	return schema.DecodeManifest(packed, manifest)
}

// checkManifest compares a manifest, whose digest is signed, with everything else that is signed: a mistake of the
// publisher must not become one of the host.
func (u *update) checkManifest(m *schema.Manifest, c schema.Candidate) error {
	var wrong string
	switch {
	case m.SHA256 != c.SHA256 || m.Size != c.Length:
		wrong = fmt.Sprintf("describes package %s (%d bytes), but this host is assigned %s (%d bytes)",
			m.SHA256.Short(), m.Size, c.SHA256.Short(), c.Length)
	case m.Recipe != c.Recipe:
		wrong = fmt.Sprintf("is for recipe %s, but this host is assigned %s", m.Recipe, c.Recipe)
	case m.Platform != u.platform:
		wrong = fmt.Sprintf("is for %s, but this host is %s", m.Platform, u.platform)
	case !u.trust.HasRoot(m.Anchor):
		wrong = "is built for the anchor root " + m.Anchor.Short() + ", which is not a verified root of this fleet"
	case u.host.PackageName() != "" && m.Name != u.host.PackageName():
		wrong = fmt.Sprintf("is a package %q, but this host's is %q", m.Name, u.host.PackageName())
	default:
		return nil
	}
	return fault.Refuse(fmt.Errorf("manifest %s %s", c.Manifest.Short(), wrong),
		"the fleet's repository and its releases disagree: see bakehouse explain %s", u.assigned.Host)
}

// signed verifies the signature statements on a package against the accepted keys.
func (u *update) signed(envelopes [][]byte, m *schema.Manifest, c schema.Candidate) error {
	if u.host.Unsigned() {
		u.warn("the signatures on this first package are not checked: this host was registered without a signature key; " +
			"signed metadata vouch for it, and the keys that it brings count from now on")
		return nil
	}
	v, err := statement.Judge(envelopes, schema.StatementFor(m, c.Manifest), u.keys, u.threshold)
	u.host.Ignored = report.Ignored(v.Ignored)
	if err != nil {
		return err
	}
	u.say("signatures: accepted %s (%d of %d needed)", strings.Join(v.Accepted, ", "), len(v.Accepted), u.threshold)
	return nil
}

// segments fetches what is not here yet. A segment that is here is digested first: a damaged one is fetched again.
func (u *update) segments(ctx context.Context, m *schema.Manifest) error {
	if err := durable.MkdirAll(u.files.Stored(segmentsDir), 0o700); err != nil {
		return err
	}
	all := m.Segments()
	var lack []schema.SegmentRef
	var bytes, there int64
	for _, ref := range all {
		if u.holds(ref) {
			continue
		}
		lack = append(lack, ref)
		bytes += ref.Size
		if fi, err := os.Stat(u.files.Stored(segmentsDir, ref.Digest.Hex()+partSuffix)); err == nil {
			there += min(fi.Size(), ref.Size)
		}
	}
	if err := ready.Space(u.files.Stored(), bytes-there+m.Size); err != nil {
		return &conditionError{err}
	}
	if len(lack) == 0 {
		u.say("fetching 0 of %d segments (all are on this host)", len(all))
		return nil
	}
	u.say("fetching %d of %d segments (%d bytes)", len(lack), len(all), bytes)
	for _, ref := range lack {
		if err := u.segment(ctx, ref); err != nil {
			return err
		}
	}
	return nil
}

// holds reports whether the segment is here and whole.
func (a *Agent) holds(ref schema.SegmentRef) bool {
	got, n, err := digestFile(a.files.Stored(segmentsDir, ref.Digest.Hex()), ref.Size)
	return err == nil && n == ref.Size && got == ref.Digest
}

// digestFile digests at most limit+1 bytes of a file.
func digestFile(name string, limit int64) (schema.Digest, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return schema.Digest{}, 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, limit+1))
	return schema.Digest(h.Sum(nil)), n, err
}

// segment fetches one segment, going on where an earlier attempt ended. What was resumed and turns out wrong is fetched
// once more from the start, since the first part may be what is damaged.
func (u *update) segment(ctx context.Context, ref schema.SegmentRef) error {
	name := u.files.Stored(segmentsDir, ref.Digest.Hex())
	part := name + partSuffix
	resumed, err := u.download(ctx, ref, part)
	if err != nil {
		return missing("segment "+ref.Digest.Short(), err)
	}
	got, n, err := digestFile(part, ref.Size)
	if err != nil {
		return err
	}
	if n == ref.Size && got == ref.Digest {
		return durable.Rename(part, name)
	}
	if err := os.Remove(part); err != nil {
		return err
	}
	if resumed {
		return u.segment(ctx, ref)
	}
	return fault.Refuse(&schema.AlteredError{Object: "segment", Want: ref.Digest, Got: got},
		"the server's store is damaged, or something on the network altered the segment: "+
			"run bakehouse store fsck on the server")
}

// download appends to part until it has the segment's size, never more.
func (u *update) download(ctx context.Context, ref schema.SegmentRef, part string) (resumed bool, err error) {
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false, err
	}
	defer f.Close()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	if have >= ref.Size {
		return true, nil // digested next, and dropped if wrong
	}
	seg, err := u.client.Segment(ctx, ref.Digest, ref.Size, have, u.origins)
	if err != nil {
		return false, err
	}
	defer seg.Body.Close()
	if seg.From != u.client.Server() {
		u.say("fetching segment %s from %s", ref.Digest.Short(), seg.From)
	}
	resumed = seg.Offset > 0
	if !resumed {
		if _, err = f.Seek(0, io.SeekStart); err == nil {
			err = f.Truncate(0)
		}
		if err != nil {
			return false, err
		}
	}
	// One byte more than there should be shows as a wrong digest.
	if err := seg.Copy(f); err != nil {
		return resumed, err
	}
	return resumed, f.Sync()
}

// origins are the places that signed policy names for content.
func (u *update) origins(to *url.URL) (certificates string, named bool) {
	return u.trust.Policy().Origin(to)
}

// missing says that the server lacks what signed metadata name.
func missing(what string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Hint(fmt.Errorf("%s: the server does not have it, or not for this host", what),
			"run bakehouse store fsck on the server")
	}
	return fmt.Errorf("%s: %w", what, err)
}

// stage puts a package together from its segments.
func (a *Agent) stage(ctx context.Context, m *schema.Manifest) (*staging.Package, error) {
	p, err := staging.Stage(ctx, a.system(), a.files.Stored(stagingDir), m, a.segmentFile)
	if err == nil {
		a.say("put together %d bytes, %s", m.Size, m.SHA256)
	}
	return p, err
}

func (a *Agent) segmentFile(ref schema.SegmentRef) (io.ReadCloser, error) {
	return os.Open(a.files.Stored(segmentsDir, ref.Digest.Hex()))
}

// prune removes segments and manifests that neither the installed nor the previous package needs. Of packages before
// those, the manifest stays as long as the segments that it needs do: going back to one costs no more than that. What
// cannot be read or removed costs only space.
func (a *Agent) prune(st *state.Record) {
	keep := map[string]bool{}
	keepManifest := func(i *cycle.Installed) { keep[i.Package.Hex()], keep[i.Package.Hex()+filesSuffix] = true, true }
	for _, i := range []*cycle.Installed{st.Installed, st.Previous} {
		if i == nil {
			continue
		}
		m, err := a.heldManifest(i.Package, i.Manifest)
		if err != nil {
			continue
		}
		keepManifest(i)
		for _, ref := range m.Segments() {
			keep[ref.Digest.Hex()] = true
		}
	}
	lost := func(s schema.SegmentRef) bool { return !keep[s.Digest.Hex()] }
	for _, i := range st.Before {
		if m, err := a.heldManifest(i.Package, i.Manifest); err == nil && !slices.ContainsFunc(m.Segments(), lost) {
			keepManifest(&i)
		}
	}
	for _, dir := range []string{segmentsDir, packagesDir} {
		entries, _ := os.ReadDir(a.files.Stored(dir))
		for _, e := range entries {
			if !keep[e.Name()] {
				os.Remove(a.files.Stored(dir, e.Name()))
			}
		}
	}
}

// adopt cuts the segments of an adopted package out of its file, if it is one of this host's. What cannot be used is
// fetched instead.
func (u *update) adopt(ctx context.Context, of *schema.Manifest) {
	dir := u.files.Stored(adoptedDir)
	for _, c := range u.assigned.Candidates() {
		f, err := os.Open(filepath.Join(dir, c.SHA256.Hex()))
		if err != nil {
			continue
		}
		m := of
		if m.SHA256 != c.SHA256 {
			if m, _, err = u.manifest(ctx, c); err != nil {
				u.say("the adopted package is not used: %v", err)
			}
		}
		if err == nil {
			u.cut(f, m)
		}
		f.Close()
	}
	if err := durable.RemoveAll(dir); err != nil {
		u.say("%v", err)
	}
}

// cut takes the segments that m names, and this host lacks, out of the package f.
func (u *update) cut(f io.ReaderAt, m *schema.Manifest) {
	var at int64
	taken := 0
	for _, p := range m.Parts {
		if p.Segment == nil {
			at += int64(len(p.Data))
			continue
		}
		ref := *p.Segment
		if !u.holds(ref) {
			if err := u.take(io.NewSectionReader(f, at, ref.Size), ref); err != nil {
				u.say("segment %s of the adopted package: %v", ref.Digest.Short(), err)
			} else {
				taken++
			}
		}
		at += ref.Size
	}
	u.say("took %d segments from the adopted package %s", taken, m.SHA256.Short())
}

func (u *update) take(r io.Reader, ref schema.SegmentRef) error {
	h := sha256.New()
	name := u.files.Stored(segmentsDir, ref.Digest.Hex())
	part := name + ".adopted"
	if err := os.Remove(part); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := durable.Create(part, io.TeeReader(r, h), 0o600); err != nil {
		return err
	}
	if got := schema.Digest(h.Sum(nil)); got != ref.Digest {
		return errors.Join(&schema.AlteredError{Object: "segment", Want: ref.Digest, Got: got}, os.Remove(part))
	}
	return durable.Rename(part, name)
}

// present reports whether just that package, put together and verified, is on the host already, installed by somebody
// else: the package manager has its version, and each file is as it came.
func (u *update) present(ctx context.Context) bool {
	if u.host.Installed != nil || u.begun || !u.system().Has(ctx, u.staged.Package) {
		return false
	}
	u.say("the package is installed already, each file as it came")
	return true
}

// fetchAgain fetches what is lost or damaged of a package that is installed, where a server that was asked has it.
func (u *update) fetchAgain(ctx context.Context, i *cycle.Installed) error {
	if u.client == nil || u.assigned == nil {
		return nil
	}
	for _, c := range u.assigned.Candidates() {
		if c.SHA256 != i.Package || c.Manifest != i.Manifest {
			continue
		}
		m, err := u.heldManifest(i.Package, i.Manifest)
		if err != nil {
			if m, _, err = u.manifest(ctx, c); err != nil {
				return err
			}
		}
		return u.segments(ctx, m)
	}
	return nil
}
