package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"sync"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"bakehouse/agent/trust/quorum"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// RootField is the name of the extra signed field in root metadata that holds a RootInfo.
const RootField = "bakehouse"

// RootInfo is fixed for a fleet's life, and signed with every root: bins can never leave the snapshot again, so their
// number is settled when the first root is made.
type RootInfo struct {
	Fleet string `json:"fleet"`
	Bins  int    `json:"bins"`
}

// MaxBins keeps the snapshot, with an entry for each bin, within its bound.
const MaxBins = 1 << 14

// Info reads the fleet's extra field of a root; ok is false if it has none.
func Info(root *metadata.Metadata[metadata.RootType]) (info RootInfo, ok bool) {
	f, ok := root.Signed.UnrecognizedFields[RootField].(map[string]any)
	if !ok {
		return RootInfo{}, false
	}
	info.Fleet, _ = f["fleet"].(string)
	switch n := f["bins"].(type) {
	case float64: // as decoded
		if n >= 0 && n <= math.MaxInt32 {
			info.Bins = int(n)
		}
	case int: // as made
		info.Bins = n
	}
	return info, true
}

// roots are those that this process has read and verified last. The same bytes are read at each step of a poll, by
// several readers, and reading them is most of what it costs. What is here is never changed.
var roots struct {
	sync.Mutex
	last []*rootCopy // the newest last
}

const keptRoots = 4

// rootCopy is a root as a file holds it.
type rootCopy struct {
	*metadata.Metadata[metadata.RootType]
	file   []byte
	signed schema.Digest // signedDigest
}

// readCopy is ParseRoot with what else the root is known by.
func readCopy(b []byte) (*rootCopy, error) {
	roots.Lock()
	for _, r := range roots.last {
		if string(r.file) == string(b) {
			roots.Unlock()
			return r, nil
		}
	}
	roots.Unlock()
	root, err := parseRoot(b)
	if err != nil {
		return nil, err
	}
	d, err := signedDigest(root)
	if err != nil {
		return nil, err
	}
	r := &rootCopy{root, append([]byte(nil), b...), d}
	roots.Lock()
	defer roots.Unlock()
	roots.last = append(roots.last[max(0, len(roots.last)+1-keptRoots):], r)
	return r, nil
}

func (r *rootCopy) version() int64 { return r.Signed.Version }

// ParseRoot reads a root that is trusted for where it comes from: it must hold together, and be signed by its own keys.
// The same bytes may give the same root, which nobody changes.
func ParseRoot(b []byte) (*metadata.Metadata[metadata.RootType], error) {
	r, err := readCopy(b)
	if err != nil {
		return nil, err
	}
	return r.Metadata, nil
}

func parseRoot(b []byte) (*metadata.Metadata[metadata.RootType], error) {
	root, err := ReadRoot(b)
	if err != nil {
		return nil, err
	}
	err = verify(rootFile, func() error {
		if root.Signed.Version < 1 {
			return fmt.Errorf("version %d", root.Signed.Version)
		}
		return quorum.OfRoot(root, metadata.ROOT).Verify(metadata.ROOT, root)
	})
	if err != nil {
		return nil, err
	}
	return root, nil
}

// ReadRoot reads a root without asking who signed it, for those who are about to sign it or to say who has.
func ReadRoot(b []byte) (root *metadata.Metadata[metadata.RootType], err error) {
	if err := checkLength(rootFile, b, schema.MaxRoot); err != nil {
		return nil, err
	}
	err = guarded(rootFile, b, func() error {
		root, err = metadata.Root().FromBytes(b)
		return err
	})
	return root, err
}

// nextRoot verifies b as the root that follows cur: its keys vouch for it, and so do its own (5.3.4, 5.3.5).
func nextRoot(cur *metadata.Metadata[metadata.RootType], b []byte) (next *metadata.Metadata[metadata.RootType], err error) {
	want := cur.Signed.Version + 1
	name := versionedName(metadata.ROOT, want)
	if err := checkLength(name, b, schema.MaxRoot); err != nil {
		return nil, err
	}
	err = guarded(name, b, func() error {
		if next, err = metadata.Root().FromBytes(b); err != nil {
			return err
		}
		if err := quorum.OfRoot(cur, metadata.ROOT).Verify(metadata.ROOT, next); err != nil {
			return err
		}
		if next.Signed.Version != want {
			return fmt.Errorf("bad version number, expected %d, got %d", want, next.Signed.Version)
		}
		return quorum.OfRoot(next, metadata.ROOT).Verify(metadata.ROOT, next)
	})
	if err != nil {
		return nil, err
	}
	return next, nil
}

// newSet starts a walk from a verified root. go-tuf's clock is stopped at year one: expiry is judged here, role by role,
// so that an error can say what expired, when, and by which clock.
func newSet(root *metadata.Metadata[metadata.RootType]) *trustedmetadata.TrustedMetadata {
	return &trustedmetadata.TrustedMetadata{Root: quorum.Legible(root),
		Targets: map[string]*metadata.Metadata[metadata.TargetsType]{}}
}

// signedDigest identifies a root whatever signatures it carries.
func signedDigest(root *metadata.Metadata[metadata.RootType]) (schema.Digest, error) {
	b, err := cjson.EncodeCanonical(root.Signed)
	return schema.DigestOf(b), err
}

// choose settles which root to start from: the newest of the saved one and the anchor, if they are of one fleet. The
// anchor came with a package that was verified, or from the operator, so where the two contradict each other the host
// was moved to another fleet, and what it knew of the old one is of no more use. An anchor that is merely older than
// the saved root lowers nothing. A Repository may be opened without an anchor; then the saved root has to be there.
func (w *walker) choose(anchor []byte) error {
	var a *rootCopy
	if anchor != nil || w.fleet {
		var err error
		if a, err = readCopy(anchor); err != nil && w.fleet {
			return fault.Hint(fmt.Errorf("anchor root: %w", err),
				"install a package of this fleet again, or use its trust/1.root.json")
		} else if err != nil {
			return fmt.Errorf("trusted root: %w", err)
		}
	}
	w.marks = readMarks(w.dir, a)
	s := w.savedRoot()
	switch {
	case a == nil && s == nil:
		return fault.Hint(errors.New("no trusted root"), "trust one first: init ROOT")
	case a == nil:
		a = s
	}
	if !w.sameFleet(a, s) {
		if err := w.dir.Clear(); err != nil {
			return err
		}
		w.marks, s = &marks{dirty: true}, nil
	}
	w.marks.addRoot(a.version(), a.signed, schema.DigestOf(a.file))
	w.root = a.file
	if s != nil && s.version() >= a.version() {
		w.root = s.file
		w.marks.addRoot(s.version(), s.signed, schema.DigestOf(s.file))
	}
	return nil
}

// savedRoot reads the newest root that the two copies vouch for, nil if there is none. A copy that the marks contradict is
// damaged, whoever signed it. One that they do not know yet was written just before a crash: the root before it has to
// have signed it, or else nothing of that root may be left.
func (w *walker) savedRoot() (best *rootCopy) {
	var known, unknown []*rootCopy
	var files [][]byte
	for _, name := range []string{rootFile, w.dir.CopyOf(rootFile)} {
		b := w.dir.Read(name, schema.MaxRoot)
		files = append(files, b)
		r, err := readCopy(b)
		if err != nil {
			continue
		}
		if seen := w.marks.root(r.version()); seen == nil {
			unknown = append(unknown, r)
		} else if seen.Signed == r.signed {
			known = append(known, r)
		}
	}
	for _, r := range known {
		// Signatures may have been damaged that nobody needs: then the file is not the one that was seen.
		if best == nil || r.version() > best.version() || r.version() == best.version() && !w.marks.hasRoot(schema.DigestOf(best.file)) {
			best = r
		}
	}
	for _, r := range unknown {
		last := w.marks.lastRoot()
		follows := best != nil && r.version() == best.version()+1 &&
			quorum.OfRoot(best.Metadata, metadata.ROOT).Verify(metadata.ROOT, r.Metadata) == nil
		if follows || best == nil && (last == 0 || r.version() == last+1) {
			best = r
		}
	}
	if w.dir != nil && (best == nil || !bytes.Equal(files[0], best.file) || !bytes.Equal(files[1], best.file)) {
		w.healRoot = true
	}
	return best
}

// sameFleet compares the anchor with what was seen: by content where the same version was seen, by signature where the
// anchor is the next one, and by the signed name of the fleet where nothing better is known.
func (w *walker) sameFleet(a, s *rootCopy) bool {
	if seen := w.marks.root(a.version()); seen != nil {
		return seen.Signed == a.signed
	}
	if s == nil {
		return true // nothing is left that could contradict
	}
	switch a.version() {
	case s.version():
		return s.signed == a.signed
	case s.version() + 1:
		return quorum.OfRoot(s.Metadata, metadata.ROOT).Verify(metadata.ROOT, a.Metadata) == nil
	}
	ai, _ := Info(a.Metadata)
	si, _ := Info(s.Metadata)
	return ai.Fleet == si.Fleet
}

// maxRoots bounds one walk; the next Refresh goes on from there.
const maxRoots = 256

// walkRoots takes every root from the one held to the newest there is, each as soon as it is verified (5.3).
func (w *walker) walkRoots(ctx context.Context, src MetadataSource) error {
	root, err := ParseRoot(w.root)
	if err != nil {
		return err
	}
	for range maxRoots {
		if root.Signed.Version == math.MaxInt64 {
			break
		}
		name := versionedName(metadata.ROOT, root.Signed.Version+1)
		before := quorum.OfRoot(root, metadata.SNAPSHOT).IDs
		b := offered(src, name, root.Signed.Version, w.root, schema.MaxRoot)
		next, err := nextRoot(root, b)
		if b == nil || err != nil {
			if b, err = src.Metadata(ctx, name, schema.MaxRoot); errors.Is(err, fs.ErrNotExist) {
				break
			} else if err != nil {
				return unreachable(name, err)
			}
			next, err = nextRoot(root, b)
		}
		if root = next; err != nil {
			return fault.Refuse(err, "the server, or something on the network, altered the root; "+
				"if the fleet was set up again with other root keys, "+
				"install its package here manually and register again")
		}
		now := quorum.OfRoot(root, metadata.SNAPSHOT).IDs
		if slices.ContainsFunc(before, func(id string) bool { return !slices.Contains(now, id) }) {
			w.marks.forgetListed()
		}
		if err := w.takeRoot(b, root); err != nil {
			return err
		}
	}
	v := root.Signed.Version
	if last := w.marks.lastRoot(); v < last {
		return rollback(metadata.ROOT, v, last)
	}
	return w.fresh(metadata.ROOT, root.Signed.Expires, w.believed(root))
}

func (w *walker) takeRoot(b []byte, root *metadata.Metadata[metadata.RootType]) error {
	signed, err := signedDigest(root)
	if err != nil {
		return err
	}
	w.root, w.healRoot = b, w.dir != nil
	w.marks.addRoot(root.Signed.Version, signed, schema.DigestOf(b))
	return w.save()
}

// save writes root and marks, if they changed.
func (w *walker) save() error {
	if w.healRoot {
		if err := w.dir.WriteTwice(rootFile, w.root); err != nil {
			return err
		}
		w.healRoot = false
	}
	return writeMarks(w.dir, w.marks)
}

// VerifyRoots checks a chain of roots, the first of which is trusted for where it comes from, and returns the last.
func VerifyRoots(roots [][]byte) (*metadata.Metadata[metadata.RootType], error) {
	if len(roots) == 0 {
		return nil, errors.New("no root metadata")
	}
	root, err := ParseRoot(roots[0])
	if err != nil {
		return nil, err
	}
	for _, b := range roots[1:] {
		if root, err = nextRoot(root, b); err != nil {
			return nil, err
		}
	}
	return root, nil
}
