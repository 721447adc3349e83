package trust

import (
	"context"
	"io/fs"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"bakehouse/agent/trust/bins"
	"bakehouse/agent/trust/kept"
	"bakehouse/agent/trust/quorum"
	"bakehouse/schema"
	"bakehouse/schema/durable"
)

const (
	snapshotFile = "snapshot.json"
	targetsFile  = "targets.json"
)

// walker is the TUF client workflow over one state directory. Client puts a fleet's policy and bins on top of it,
// Repository takes it as it is.
type walker struct {
	now      func() time.Time
	dir      *dir
	root     []byte // newest verified
	healRoot bool   // root must be written
	marks    *marks
	waived   []string
	held     []byte // the timestamp that stands for its version

	// fleet says that the repository is a fleet's: bins have fixed names and never leave the snapshot, targets and bins
	// have marks of their own, which a new snapshot key does not lower, and the timestamp is written by who commits it.
	fleet bool
}

func newWalker(dir string, anchor []byte, now func() time.Time, disk durable.Disk, fleet bool) (*walker, error) {
	if now == nil {
		now = time.Now
	}
	d, err := kept.Open(dir, disk, !fleet)
	if err != nil {
		return nil, err
	}
	w := &walker{now: now, dir: d, fleet: fleet}
	if err := w.choose(slices.Clone(anchor)); err != nil {
		return nil, err
	}
	return w, w.save()
}

// walked is where a walk arrived.
type walked struct {
	set       *trustedmetadata.TrustedMetadata
	timestamp []byte                   // that counts
	sums      map[string]schema.Digest // of the files of snapshot and targets, by role
}

// heldVersion is the version of the timestamp that is held, 0 if there is none, whether or not the root has since
// dropped who signed it.
func (w *walker) heldVersion() int64 {
	if w.held == nil {
		return 0
	}
	t, err := metadata.Timestamp().FromBytes(w.held)
	if err != nil {
		return 0
	}
	return t.Signed.Version
}

// refresh brings roots, timestamp, snapshot and targets to what timestamp names; nil fetches it.
func (w *walker) refresh(ctx context.Context, src MetadataSource, timestamp []byte) (*walked, error) {
	if err := w.walkRoots(ctx, src); err != nil {
		return nil, err
	}
	if timestamp == nil {
		if timestamp = offered(src, timestampFile, w.heldVersion(), w.held, schema.MaxTimestamp); timestamp != nil {
			if _, err := w.readTimestamp(timestamp); err != nil {
				timestamp = nil // whoever bent it on its way may not have done so with the file
			}
		}
	}
	if timestamp == nil {
		var err error
		if timestamp, err = src.Metadata(ctx, timestampFile, schema.MaxTimestamp); err != nil {
			return nil, unreachable(timestampFile, err)
		}
	}
	return w.walk(ctx, src, slices.Clone(timestamp))
}

// walk goes from the newest root and a timestamp to targets (5.4 to 5.6). Without a source it reads back what the
// directory holds: then expiry and marks are not asked, because nothing is installed on the word of such a view.
func (w *walker) walk(ctx context.Context, src MetadataSource, timestamp []byte) (*walked, error) {
	set, err := w.readTimestamp(timestamp)
	if err != nil {
		return nil, err
	}
	if src != nil && w.held != nil {
		// A version once seen stays what it was, unless the root has since dropped who signed it.
		if s, err := w.readTimestamp(w.held); err == nil && s.Timestamp.Signed.Version == set.Timestamp.Signed.Version {
			set, timestamp = s, w.held
		}
	}
	if err := w.takeTimestamp(set, timestamp, src != nil); err != nil {
		return nil, err
	}
	sums := map[string]schema.Digest{}
	if sums[metadata.SNAPSHOT], err = w.takeSnapshot(ctx, src, set); err != nil {
		return nil, err
	}
	by := quorum.OfRoot(set.Root, metadata.TARGETS)
	sums[metadata.TARGETS], err = w.takeRole(ctx, src, set, metadata.TARGETS, metadata.ROOT, by)
	return &walked{set, timestamp, sums}, err
}

// readTimestamp starts a walk with a timestamp that is whole and signed, whatever its version and age.
func (w *walker) readTimestamp(b []byte) (*trustedmetadata.TrustedMetadata, error) {
	root, err := ParseRoot(w.root)
	if err != nil {
		return nil, err
	}
	set := newSet(root)
	err = checkLength(timestampFile, b, schema.MaxTimestamp)
	if err == nil {
		err = guarded(timestampFile, b, func() error { _, err := set.UpdateTimestamp(b); return err })
	}
	if err != nil {
		return nil, err
	}
	ts := set.Timestamp.Signed
	if m := ts.Meta[snapshotFile]; ts.Version < 1 || m == nil || m.Version < 1 {
		return nil, refuse("%s: no version of itself or of the snapshot", timestampFile)
	}
	return set, nil
}

func (w *walker) takeTimestamp(set *trustedmetadata.TrustedMetadata, b []byte, strict bool) error {
	ts, by := set.Timestamp.Signed, quorum.OfRoot(set.Root, metadata.TIMESTAMP)
	if strict {
		if err := w.marks.below(metadata.TIMESTAMP, ts.Version, by); err != nil {
			return err
		}
		err := w.marks.below(metadata.SNAPSHOT, ts.Meta[snapshotFile].Version, quorum.OfRoot(set.Root, metadata.SNAPSHOT))
		if err != nil {
			return err
		}
		if err := w.marks.metaBelow(metadata.TIMESTAMP, by, ts.Meta); err != nil {
			return err
		}
		if err := w.fresh(metadata.TIMESTAMP, ts.Expires, w.believed(set.Root)); err != nil {
			return err
		}
	}
	w.marks.raise(metadata.TIMESTAMP, ts.Version, by, func() []string { return by.Signers(set.Timestamp) },
		w.listed(ts.Meta))
	if !strict || w.fleet {
		return nil
	}
	w.held = b
	return w.dir.Write(timestampFile, b)
}

func (w *walker) takeSnapshot(
	ctx context.Context, src MetadataSource, set *trustedmetadata.TrustedMetadata,
) (schema.Digest, error) {
	by := quorum.OfRoot(set.Root, metadata.SNAPSHOT)
	listed := set.Timestamp.Signed.Meta[snapshotFile]
	verifier, err := by.Verifier()
	asItStands := w.fleet && err == nil
	take := func(name string, b []byte) error {
		set.Snapshot = nil // of a copy that failed: go-tuf would compare the next one with it
		if asItStands && listed.VerifyLengthHashes(b) == nil {
			if md, ok := bins.ReadSnapshot(b, verifier); ok && md.Signed.Version == listed.Version {
				set.Snapshot = md
			}
		}
		if set.Snapshot == nil {
			err := guarded(name, b, func() error { _, err := set.UpdateSnapshot(b, false); return err })
			if err != nil {
				return err
			}
		}
		if src == nil {
			return nil
		}
		return w.marks.metaBelow(metadata.SNAPSHOT, by, set.Snapshot.Signed.Meta)
	}
	return w.load(ctx, src, set, metadata.SNAPSHOT, listed.Version, schema.MaxSnapshot, take, func() error {
		s := set.Snapshot.Signed
		if src != nil {
			if err := w.fresh(metadata.SNAPSHOT, s.Expires, w.believed(set.Root)); err != nil {
				return err
			}
		}
		w.marks.raise(metadata.SNAPSHOT, s.Version, by, func() []string { return by.Signers(set.Snapshot) },
			w.listed(s.Meta))
		return nil
	})
}

// listed are the versions to remember of a timestamp or snapshot. That a fleet's bin is there at all goes without saying.
func (w *walker) listed(meta map[string]*metadata.MetaFiles) map[string]int64 {
	var versions map[string]int64
	for name, f := range meta {
		if f.Version > 1 || !w.fleet {
			if versions == nil {
				versions = map[string]int64{}
			}
			versions[name] = f.Version
		}
	}
	return versions
}

// takeRole loads the targets role that the snapshot lists and by may sign: targets itself, or of a Repository one that
// is delegated to.
// Whoever delegates to it, it is verified anew, for each delegator may name other keys.
// It returns the digest of the role's file.
func (w *walker) takeRole(
	ctx context.Context, src MetadataSource, set *trustedmetadata.TrustedMetadata, role, delegator string,
	by quorum.Quorum,
) (schema.Digest, error) {
	meta := set.Snapshot.Signed.Meta[role+".json"]
	if meta == nil || meta.Version < 1 {
		return schema.Digest{}, refuse("%s: does not list %.80s", snapshotFile, role)
	}
	if src != nil && w.fleet {
		if err := w.marks.below(role, meta.Version, by); err != nil {
			return schema.Digest{}, err
		}
	}
	accepted := false
	defer func() {
		if !accepted {
			delete(set.Targets, role)
		}
	}()
	return w.load(ctx, src, set, role, meta.Version, schema.MaxTargets, func(name string, b []byte) error {
		return guarded(name, b, func() error {
			t, err := set.UpdateDelegatedTargets(b, role, delegator)
			if err == nil && w.fleet {
				err = isRole(t, role)
			}
			return err
		})
	}, func() error {
		t := set.Targets[role]
		if src != nil {
			if err := w.fresh(role, t.Signed.Expires, w.believed(set.Root)); err != nil {
				return err
			}
		}
		if w.fleet {
			w.marks.raise(role, t.Signed.Version, by, func() []string { return by.Signers(t) }, nil)
		}
		set.Targets[role] = quorum.LegibleTargets(t)
		accepted = true
		return nil
	})
}

// load gets a role's file of that version: from the directory if what is there verifies, else as a difference to what is
// there, else whole. take verifies it; the last answer's error is the one that counts. What then passes accept is kept.
// It returns the file's digest.
func (w *walker) load(
	ctx context.Context, src MetadataSource, set *trustedmetadata.TrustedMetadata, role string, version, limit int64,
	take func(name string, b []byte) error, accept func() error,
) (schema.Digest, error) {
	name := versionedName(role, version)
	if !set.Root.Signed.ConsistentSnapshot {
		name = quoted(role) + ".json"
	}
	try := func(b []byte) error {
		if err := checkLength(name, b, limit); err != nil {
			return err
		}
		return take(name, b)
	}
	if b := w.dir.Read(w.dir.RoleFile(role, version), limit); b != nil && try(b) == nil {
		return schema.DigestOf(b), accept()
	}
	if src == nil {
		return schema.Digest{}, unreachable(name, fs.ErrNotExist)
	}
	v, held := w.dir.Held(role, limit)
	if b := offered(src, name, v, held, limit); b != nil && try(b) == nil {
		return schema.DigestOf(b), w.keep(role, version, b, accept)
	}
	if d, ok := src.(DeltaSource); ok {
		if held != nil && v != version {
			b, err := d.MetadataAgainst(ctx, name, v, held, limit)
			if err == nil && try(b) == nil {
				return schema.DigestOf(b), w.keep(role, version, b, accept)
			}
		}
	}
	b, err := src.Metadata(ctx, name, limit)
	if err != nil {
		return schema.Digest{}, unreachable(name, err)
	}
	if err := try(b); err != nil {
		return schema.Digest{}, err
	}
	return schema.DigestOf(b), w.keep(role, version, b, accept)
}

// keep writes a verified file that is accepted. Of a bin the versions before go at once: no timestamp names them as files.
func (w *walker) keep(role string, version int64, b []byte, accept func() error) error {
	if err := accept(); err != nil {
		return err
	}
	name := w.dir.RoleFile(role, version)
	if err := w.dir.Write(name, b); err != nil {
		return err
	}
	if !w.fleet || role == metadata.SNAPSHOT || role == metadata.TARGETS {
		return nil
	}
	return w.dir.Sweep(func(n, r string) bool { return r == role && n != name })
}

func (w *walker) believed(root *metadata.Metadata[metadata.RootType]) time.Time {
	now := w.now()
	if floor := w.marks.floor(quorum.OfRoot(root, metadata.TARGETS)); now.Before(floor) {
		return floor
	}
	return now
}

// fresh checks a role's expiry (5.3.10, 5.4.4, 5.5.6, 5.6.6).
func (w *walker) fresh(role string, expires, now time.Time) error {
	if now.Before(expires) || slices.Contains(w.waived, role) || slices.Contains(w.waived, everyRole) {
		return nil
	}
	return expired(role, expires, now)
}
