package trust

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"bakehouse/schema"
)

const (
	timestampFile = "timestamp.json"
	snapshotFile  = "snapshot.json"
	targetsFile   = "targets.json"
	policySuffix  = "." + schema.PolicyTarget
)

// walk goes from the newest root and a timestamp to the policy (5.4 to 5.6). Without a source it reads back what the
// directory holds: then expiry and marks are not asked, because nothing is installed on the word of such a view.
func (c *Client) walk(ctx context.Context, src Source, timestamp []byte) (*view, error) {
	set, err := c.takeTimestamp(timestamp, src != nil)
	if err != nil {
		return nil, err
	}
	v := &view{set: set, timestamp: timestamp}
	if held := c.cur.Load(); src != nil && held != nil &&
		held.set.Timestamp.Signed.Version == set.Timestamp.Signed.Version {
		// A version once seen stays what it was, unless the root has since dropped who signed it.
		if s, err := c.takeTimestamp(held.timestamp, true); err == nil {
			v.set, v.timestamp = s, held.timestamp
		}
	}
	if err := c.takeSnapshot(ctx, src, v.set); err != nil {
		return nil, err
	}
	if err := c.takeTargets(ctx, src, v.set); err != nil {
		return nil, err
	}
	v.targets = v.set.Targets[metadata.TARGETS]
	if v.policy, err = c.takePolicy(ctx, src, v.set); err != nil {
		return nil, err
	}
	return v, nil
}

// files are the names under which the directory holds v, without its bins.
func (v *view) files() []string {
	names := []string{
		versionedName(metadata.SNAPSHOT, v.set.Snapshot.Signed.Version),
		versionedName(metadata.TARGETS, v.set.Targets[metadata.TARGETS].Signed.Version),
	}
	if d, _, err := targetDigest(v.set.Targets[metadata.TARGETS], schema.PolicyTarget); err == nil {
		names = append(names, d.Hex()+policySuffix)
	}
	return names
}

func (c *Client) takeTimestamp(b []byte, strict bool) (*trustedmetadata.TrustedMetadata, error) {
	set, err := newSet(c.root)
	if err != nil {
		return nil, err
	}
	if err := check(timestampFile, b, schema.MaxTimestamp); err != nil {
		return nil, err
	}
	if err := verify(timestampFile, func() error { _, err := set.UpdateTimestamp(b); return err }); err != nil {
		return nil, err
	}
	ts := set.Timestamp.Signed
	if m := ts.Meta[snapshotFile]; ts.Version < 1 || m == nil || m.Version < 1 {
		return nil, refuse("%s: no version of itself or of the snapshot", timestampFile)
	}
	by := rootAuthority(set.Root, metadata.TIMESTAMP)
	if !strict {
		c.marks.raise(metadata.TIMESTAMP, ts.Version, by, set.Timestamp, nil)
		return set, nil
	}
	if err := c.marks.below(metadata.TIMESTAMP, ts.Version, by); err != nil {
		return nil, err
	}
	if err := c.marks.below(metadata.SNAPSHOT, ts.Meta[snapshotFile].Version, rootAuthority(set.Root, metadata.SNAPSHOT)); err != nil {
		return nil, err
	}
	if err := c.fresh(metadata.TIMESTAMP, ts.Expires, c.believed(set)); err != nil {
		return nil, err
	}
	c.marks.raise(metadata.TIMESTAMP, ts.Version, by, set.Timestamp, nil)
	return set, nil
}

func (c *Client) takeSnapshot(ctx context.Context, src Source, set *trustedmetadata.TrustedMetadata) error {
	by := rootAuthority(set.Root, metadata.SNAPSHOT)
	want := set.Timestamp.Signed.Meta[snapshotFile].Version
	err := c.load(ctx, src, metadata.SNAPSHOT, want, schema.MaxSnapshot, func(b []byte) error {
		set.Snapshot = nil // of a copy that failed: go-tuf would compare the next one with it
		if _, err := set.UpdateSnapshot(b, false); err != nil {
			return err
		}
		if src == nil {
			return nil
		}
		return c.marks.metaBelow(by, set.Snapshot.Signed.Meta)
	})
	if err != nil {
		return err
	}
	s := set.Snapshot.Signed
	if src != nil {
		if err := c.fresh(metadata.SNAPSHOT, s.Expires, c.believed(set)); err != nil {
			return err
		}
	}
	c.marks.raise(metadata.SNAPSHOT, s.Version, by, set.Snapshot, s.Meta)
	return nil
}

func (c *Client) takeTargets(ctx context.Context, src Source, set *trustedmetadata.TrustedMetadata) error {
	return c.takeRole(ctx, src, set, metadata.TARGETS, metadata.ROOT, rootAuthority(set.Root, metadata.TARGETS))
}

// takeRole loads the targets role that the snapshot lists and by may sign: targets itself, or a bin.
func (c *Client) takeRole(ctx context.Context, src Source, set *trustedmetadata.TrustedMetadata, role, delegator string, by authority) error {
	meta := set.Snapshot.Signed.Meta[role+".json"]
	if meta == nil || meta.Version < 1 {
		return refuse("%s: does not list %s", snapshotFile, role)
	}
	if src != nil {
		if err := c.marks.below(role, meta.Version, by); err != nil {
			return err
		}
	}
	accepted := false
	defer func() {
		if !accepted {
			delete(set.Targets, role)
		}
	}()
	err := c.load(ctx, src, role, meta.Version, schema.MaxTargets, func(b []byte) error {
		_, err := set.UpdateDelegatedTargets(b, role, delegator)
		return err
	})
	if err != nil {
		return err
	}
	t := set.Targets[role]
	if src != nil {
		if err := c.fresh(role, t.Signed.Expires, c.believed(set)); err != nil {
			return err
		}
	}
	if c.dir != nil || role == metadata.TARGETS {
		// Who reads all bins and forgets them at exit has their versions from the snapshot's mark; a mark for each would
		// cost a second look at every signature.
		c.marks.raise(role, t.Signed.Version, by, t, nil)
	}
	accepted = true
	return nil
}

// load gets a role's file of that version: from the directory if what is there verifies, else as a difference to what is
// there, else whole. take verifies it; the last answer's error is the one that counts.
func (c *Client) load(ctx context.Context, src Source, role string, version, limit int64, take func([]byte) error) error {
	name := versionedName(role, version)
	try := func(b []byte) error {
		if err := check(name, b, limit); err != nil {
			return err
		}
		return verify(name, func() error { return take(b) })
	}
	if b := c.dir.read(name, limit); b != nil && try(b) == nil {
		return nil
	}
	if src == nil {
		return unreachable(name, fs.ErrNotExist)
	}
	if d, ok := src.(DeltaSource); ok {
		if v, held := c.dir.held(role, limit); held != nil && v != version {
			b, err := d.MetadataAgainst(ctx, name, v, held, limit)
			if err == nil && try(b) == nil {
				return c.keep(name, role, b)
			}
		}
	}
	b, err := src.Metadata(ctx, name, limit)
	if err != nil {
		return unreachable(name, err)
	}
	if err := try(b); err != nil {
		return err
	}
	return c.keep(name, role, b)
}

// keep writes a verified file. Of a bin the versions before go at once: no timestamp names them as files.
func (c *Client) keep(name, role string, b []byte) error {
	if err := c.dir.write(name, b); err != nil {
		return err
	}
	if role == metadata.SNAPSHOT || role == metadata.TARGETS {
		return nil
	}
	return c.dir.sweep(func(n, r string) bool { return r == role && n != name })
}

// content reads a top-level target, which the targets role names by length and hash.
func (c *Client) content(ctx context.Context, src Source, set *trustedmetadata.TrustedMetadata, target string) ([]byte, error) {
	want, length, err := targetDigest(set.Targets[metadata.TARGETS], target)
	if err != nil {
		return nil, err
	}
	if length > schema.MaxTarget {
		return nil, refuse("target %s: %d bytes, more than %d", target, length, int64(schema.MaxTarget))
	}
	if target == schema.PolicyTarget {
		if b := c.dir.read(want.Hex()+policySuffix, length); schema.DigestOf(b) == want {
			return b, nil
		}
	}
	if src == nil {
		return nil, unreachable("target "+target, fs.ErrNotExist)
	}
	b, err := src.Target(ctx, target, want, length)
	if err != nil {
		return nil, unreachable("target "+target, err)
	}
	if got := schema.DigestOf(b); got != want || int64(len(b)) != length {
		return nil, schema.Refuse(&schema.AlteredError{Object: "target " + target, Want: want, Got: got},
			"the server or something on the way altered the target; nothing of it is used")
	}
	if target == schema.PolicyTarget {
		return b, c.dir.write(want.Hex()+policySuffix, b)
	}
	return b, nil
}

// targetDigest reads what md says of a target. A target with two hashes could be fetched and checked under either.
func targetDigest(md *metadata.Metadata[metadata.TargetsType], target string) (schema.Digest, int64, error) {
	var d schema.Digest
	f := md.Signed.Targets[target]
	if f == nil {
		return d, 0, fmt.Errorf("target %s: %w", target, ErrNoTarget)
	}
	h := f.Hashes["sha256"]
	if len(f.Hashes) != 1 || len(h) != len(d) || f.Length < 0 {
		return d, 0, refuse("target %s: not exactly a length and a sha256", target)
	}
	copy(d[:], h)
	return d, f.Length, nil
}
