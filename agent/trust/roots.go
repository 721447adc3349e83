package trust

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

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
	set, err := newSet(b)
	if err != nil {
		return nil, err
	}
	return set.Root, nil
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

// newSet starts a walk. go-tuf's clock is stopped at year one: expiry is judged here, role by role, so that an error
// can say what expired, when, and by which clock.
func newSet(root []byte) (set *trustedmetadata.TrustedMetadata, err error) {
	if err := check(rootFile, root, schema.MaxRoot); err != nil {
		return nil, err
	}
	err = verify(rootFile, func() error {
		set, err = trustedmetadata.New(root)
		if err == nil && set.Root.Signed.Version < 1 {
			err = fmt.Errorf("version %d", set.Root.Signed.Version)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	set.RefTime = time.Time{}
	return set, nil
}

// signedDigest identifies a root whatever signatures it carries.
func signedDigest(root *metadata.Metadata[metadata.RootType]) (schema.Digest, error) {
	b, err := cjson.EncodeCanonical(root.Signed)
	return schema.DigestOf(b), err
}

// choose settles which root to start from: the newest of the saved one and the anchor, if they are of one fleet. The
// anchor came with a package that was verified, or from the operator, so where the two contradict each other the host
// was moved to another fleet, and what it knew of the old one is of no more use. An anchor that is merely older than
// the saved root lowers nothing.
func (c *Client) choose(anchor []byte) error {
	a, err := ParseRoot(anchor)
	if err != nil {
		return schema.Hint(fmt.Errorf("anchor root: %w", err), "install a package of this fleet again, or give its trust/1.root.json")
	}
	aSigned, err := signedDigest(a)
	if err != nil {
		return err
	}
	var saved []byte
	var s *metadata.Metadata[metadata.RootType]
	for _, name := range []string{rootFile, copyOf(rootFile)} {
		b := c.dir.read(name, schema.MaxRoot)
		r, err := ParseRoot(b)
		if err != nil {
			c.healRoot = c.dir != nil
			continue
		}
		if s == nil || r.Signed.Version > s.Signed.Version {
			c.healRoot = c.healRoot || s != nil
			s, saved = r, b
		} else if r.Signed.Version < s.Signed.Version {
			c.healRoot = true
		}
	}
	if !c.sameFleet(a, aSigned, s) {
		if err := c.dir.clear(); err != nil {
			return err
		}
		c.marks, s, saved = &marks{dirty: true}, nil, nil
	}
	c.marks.addRoot(a.Signed.Version, aSigned, schema.DigestOf(anchor))
	c.root = anchor
	if s != nil && s.Signed.Version >= a.Signed.Version {
		c.root = saved
		sSigned, err := signedDigest(s)
		if err != nil {
			return err
		}
		c.marks.addRoot(s.Signed.Version, sSigned, schema.DigestOf(saved))
	}
	return nil
}

// sameFleet compares the anchor with what was seen: by content where the same version was seen, by signature where the
// anchor is the next one, and by the signed name of the fleet where nothing better is known.
func (c *Client) sameFleet(a *metadata.Metadata[metadata.RootType], signed schema.Digest, s *metadata.Metadata[metadata.RootType]) bool {
	if seen := c.marks.root(a.Signed.Version); seen != nil {
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
		return s.VerifyDelegate(metadata.ROOT, a) == nil
	}
	ai, _ := Info(a)
	si, _ := Info(s)
	return ai.Fleet == si.Fleet
}

// maxRoots bounds one walk; the next Refresh goes on from there.
const maxRoots = 256

// walkRoots takes every root from the one held to the newest there is, each as soon as it is verified (5.3).
func (c *Client) walkRoots(ctx context.Context, src Source, set *trustedmetadata.TrustedMetadata) error {
	for range maxRoots {
		if set.Root.Signed.Version == math.MaxInt64 {
			break
		}
		name := versionedName(metadata.ROOT, set.Root.Signed.Version+1)
		b, err := src.Metadata(ctx, name, schema.MaxRoot)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return unreachable(name, err)
		}
		if err := check(name, b, schema.MaxRoot); err != nil {
			return err
		}
		if err := verify(name, func() error { _, err := set.UpdateRoot(b); return err }); err != nil {
			return err
		}
		if err := c.takeRoot(b, set.Root); err != nil {
			return err
		}
	}
	v := set.Root.Signed.Version
	if last := c.marks.lastRoot(); v < last {
		return rollback(metadata.ROOT, v, last)
	}
	return c.fresh(metadata.ROOT, set.Root.Signed.Expires, c.believed(set))
}

func (c *Client) takeRoot(b []byte, root *metadata.Metadata[metadata.RootType]) error {
	signed, err := signedDigest(root)
	if err != nil {
		return err
	}
	c.root, c.healRoot = b, c.dir != nil
	c.marks.addRoot(root.Signed.Version, signed, schema.DigestOf(b))
	return c.save()
}

// save writes root and marks, if they changed.
func (c *Client) save() error {
	if c.healRoot {
		if err := c.dir.writeTwice(rootFile, c.root); err != nil {
			return err
		}
		c.healRoot = false
	}
	return c.dir.writeMarks(c.marks)
}

// VerifyRoots checks a chain of roots, the first of which is trusted for where it comes from, and returns the last.
func VerifyRoots(roots [][]byte) (*metadata.Metadata[metadata.RootType], error) {
	if len(roots) == 0 {
		return nil, errors.New("no root metadata")
	}
	set, err := newSet(roots[0])
	if err != nil {
		return nil, err
	}
	for _, b := range roots[1:] {
		name := versionedName(metadata.ROOT, set.Root.Signed.Version+1)
		if err := check(name, b, schema.MaxRoot); err != nil {
			return nil, err
		}
		if err := verify(name, func() error { _, err := set.UpdateRoot(b); return err }); err != nil {
			return nil, err
		}
	}
	return set.Root, nil
}
