package trust

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"bakehouse/schema"
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

// ParseRoot reads a root that is trusted for where it comes from: it must hold together, and be signed by its own keys.
func ParseRoot(b []byte) (*metadata.Metadata[metadata.RootType], error) {
	root, err := ReadRoot(b)
	if err != nil {
		return nil, err
	}
	err = verify(rootFile, func() error {
		if root.Signed.Version < 1 {
			return fmt.Errorf("version %d", root.Signed.Version)
		}
		return rootAuthority(root, metadata.ROOT).verify(metadata.ROOT, root)
	})
	if err != nil {
		return nil, err
	}
	return root, nil
}

// ReadRoot reads a root without asking who signed it, for those who are about to sign it or to say who has.
func ReadRoot(b []byte) (root *metadata.Metadata[metadata.RootType], err error) {
	if err := check(rootFile, b, schema.MaxRoot); err != nil {
		return nil, err
	}
	err = verify(rootFile, func() error {
		root, err = metadata.Root().FromBytes(b)
		return err
	})
	return root, err
}

// Signers returns the ids of the keys that root gives the role and that validly signed md, a go-tuf metadata object.
func Signers(root *metadata.Metadata[metadata.RootType], role string, md any) []string {
	return rootAuthority(root, role).signers(md)
}

// nextRoot verifies b as the root that follows cur: its keys vouch for it, and so do its own (5.3.4, 5.3.5).
func nextRoot(cur *metadata.Metadata[metadata.RootType], b []byte) (next *metadata.Metadata[metadata.RootType], err error) {
	want := cur.Signed.Version + 1
	name := versionedName(metadata.ROOT, want)
	if err := check(name, b, schema.MaxRoot); err != nil {
		return nil, err
	}
	err = verify(name, func() error {
		if next, err = metadata.Root().FromBytes(b); err != nil {
			return err
		}
		if err := rootAuthority(cur, metadata.ROOT).verify(metadata.ROOT, next); err != nil {
			return err
		}
		if next.Signed.Version != want {
			return fmt.Errorf("bad version number, expected %d, got %d", want, next.Signed.Version)
		}
		return rootAuthority(next, metadata.ROOT).verify(metadata.ROOT, next)
	})
	if err != nil {
		return nil, err
	}
	return next, nil
}

// newSet starts a walk from a verified root. go-tuf's clock is stopped at year one: expiry is judged here, role by role,
// so that an error can say what expired, when, and by which clock.
func newSet(root *metadata.Metadata[metadata.RootType]) *trustedmetadata.TrustedMetadata {
	return &trustedmetadata.TrustedMetadata{Root: legible(root), Targets: map[string]*metadata.Metadata[metadata.TargetsType]{}}
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
	saved, s := w.savedRoot()
	if anchor == nil && !w.fleet {
		if s == nil {
			return schema.Hint(errors.New("no trusted root is held"), "give one first: init ROOT")
		}
		anchor = saved
	}
	a, err := ParseRoot(anchor)
	if err != nil && !w.fleet {
		return fmt.Errorf("trusted root: %w", err)
	}
	if err != nil {
		return schema.Hint(fmt.Errorf("anchor root: %w", err), "install a package of this fleet again, or give its trust/1.root.json")
	}
	aSigned, err := signedDigest(a)
	if err != nil {
		return err
	}
	if !w.sameFleet(a, aSigned, s) {
		if err := w.dir.clear(); err != nil {
			return err
		}
		w.marks, s, saved = &marks{dirty: true}, nil, nil
	}
	w.marks.addRoot(a.Signed.Version, aSigned, schema.DigestOf(anchor))
	w.root = anchor
	if s != nil && s.Signed.Version >= a.Signed.Version {
		w.root = saved
		sSigned, err := signedDigest(s)
		if err != nil {
			return err
		}
		w.marks.addRoot(s.Signed.Version, sSigned, schema.DigestOf(saved))
	}
	return nil
}

// savedRoot reads the newer of the two copies, nil if neither is whole.
func (w *walker) savedRoot() (saved []byte, s *metadata.Metadata[metadata.RootType]) {
	for _, name := range []string{rootFile, w.dir.copyOf(rootFile)} {
		b := w.dir.read(name, schema.MaxRoot)
		r, err := ParseRoot(b)
		if err != nil {
			w.healRoot = w.dir != nil
			continue
		}
		if s == nil || r.Signed.Version > s.Signed.Version {
			w.healRoot = w.healRoot || s != nil
			s, saved = r, b
		} else if r.Signed.Version < s.Signed.Version {
			w.healRoot = true
		}
	}
	return saved, s
}

// sameFleet compares the anchor with what was seen: by content where the same version was seen, by signature where the
// anchor is the next one, and by the signed name of the fleet where nothing better is known.
func (w *walker) sameFleet(a *metadata.Metadata[metadata.RootType], signed schema.Digest, s *metadata.Metadata[metadata.RootType]) bool {
	if seen := w.marks.root(a.Signed.Version); seen != nil {
		return seen.Signed == signed
	}
	if s == nil {
		return true // nothing is left that could contradict
	}
	switch a.Signed.Version {
	case s.Signed.Version:
		d, err := signedDigest(s)
		return err == nil && d == signed
	case s.Signed.Version + 1:
		return rootAuthority(s, metadata.ROOT).verify(metadata.ROOT, a) == nil
	}
	ai, _ := Info(a)
	si, _ := Info(s)
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
		b, err := src.Metadata(ctx, name, schema.MaxRoot)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return unreachable(name, err)
		}
		before := rootAuthority(root, metadata.SNAPSHOT).keyIDs
		if root, err = nextRoot(root, b); err != nil {
			return err
		}
		now := rootAuthority(root, metadata.SNAPSHOT).keyIDs
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
		if err := w.dir.writeTwice(rootFile, w.root); err != nil {
			return err
		}
		w.healRoot = false
	}
	return w.dir.writeMarks(w.marks)
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
