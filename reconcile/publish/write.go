package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/bins"
	"bakehouse/agent/trust/quorum"
	"bakehouse/reconcile/keys"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"
)

// Summary says what Publish did.
type Summary struct {
	Published bool      // false: nothing changed and nothing was near expiry
	Head      int64     // version of the timestamp after the run
	Number    int64     // of the newest release
	Hosts     []string  // with a new package, in order
	Removed   []string  // hosts that are no longer there, in order
	Roles     []string  // signed again, in order of writing
	Due       time.Time // when the first role will have to be renewed or reported
	Aging     []Aging   // roles past half of their lifetime that were not renewed
}

// Publish makes what is wanted the published state: whatever changed is signed under its next version, and the next
// timestamp, created last and only if absent, commits it. A crash before that leaves the old state and files that
// nothing names; the next run steps over them. Of two runs at a time one gets the timestamp, the other an error. What
// is past half of its lifetime is renewed on the way, if its keys are at hand. Keys that will be needed are unlocked
// before anything is written.
func (s *State) Publish(ctx context.Context, st store.Store, ring *keys.Keyring, want Wanted) (*Summary, error) {
	d, err := NewDraft(s.Previous(), want, s.now)
	if err != nil {
		return nil, err
	}
	r := s.plan(d, ring.Enough(s.threshold, fleet.UseTargets) == nil)
	p := &publisher{s: s, d: d, st: st, ring: ring, signing: r,
		sum: &Summary{Head: s.head, Number: d.Number, Hosts: d.Hosts, Removed: d.Removed}}
	p.sum.Due, p.sum.Aging = s.due(d, r), s.aging(d.Time, r.signs)
	if !p.timestamp {
		return p.sum, nil
	}
	if err := p.unlock(); err != nil {
		return nil, err
	}
	if err := p.write(ctx); err != nil {
		return nil, err
	}
	p.sum.Published = true
	return p.sum, nil
}

type publisher struct {
	s    *State
	d    *Draft
	st   store.Store
	ring *keys.Keyring
	sum  *Summary
	sums map[string]schema.Digest // of the files that the next snapshot lists, by role
	*signing
}

// unlock decrypts the keys that will be needed.
func (p *publisher) unlock() error {
	uses := p.uses()
	if err := p.ring.Enough(p.s.threshold, uses...); err != nil {
		return err
	}
	return p.ring.Unlock(uses...)
}

func (p *publisher) write(ctx context.Context) error {
	meta := map[string]*metadata.MetaFiles{}
	if p.s.snapshot != nil {
		maps.Copy(meta, p.s.snapshot.Signed.Meta)
	}
	p.sums = maps.Clone(p.s.sums)
	if p.sums == nil {
		p.sums = map[string]schema.Digest{}
	}
	if err := p.writeBins(ctx, meta); err != nil {
		return err
	}
	if p.targets {
		if err := p.writeTargets(ctx, meta); err != nil {
			return err
		}
	}
	snapshot := p.s.timestampMeta()
	if p.snapshot {
		var err error
		if snapshot, err = p.writeSnapshot(ctx, meta); err != nil {
			return err
		}
	}
	// Late, because from here on clients believe the new roots' keys only. Until the timestamp that these sign stands,
	// servers keep the roots back; see package serve.
	for n := p.s.roots + 1; n <= len(p.s.fleet.Roots); n++ {
		key := schema.MetadataKey(metadata.ROOT, int64(n))
		if err := p.create(ctx, key, p.s.fleet.Roots[n-1]); err != nil {
			return err
		}
		p.sum.Roles = append(p.sum.Roles, metadata.ROOT)
	}
	return p.commit(ctx, snapshot)
}

func (p *publisher) writeBins(ctx context.Context, meta map[string]*metadata.MetaFiles) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	versions, errs := make([]int64, len(p.bins)), make([]error, len(p.bins))
	files := make([][]byte, len(p.bins))
	remember, err := p.remembering()
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, writers)
	for i, name := range p.bins {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			var err error
			versions[i], files[i], err = p.createNext(ctx, name, func(version int64) ([]byte, error) {
				return p.bin(name, version)
			})
			if errs[i] = err; err != nil {
				cancel()
				return
			}
			remember(name, files[i])
		})
	}
	wg.Wait()
	if err := first(errs); err != nil {
		return err
	}
	for i, name := range p.bins {
		meta[name+".json"] = metadata.MetaFile(versions[i])
		p.sums[name] = schema.DigestOf(files[i])
		p.sum.Roles = append(p.sum.Roles, name)
	}
	return nil
}

// remembering returns what spares the next run the bins that this one writes: each is verified like any other.
func (p *publisher) remembering() (func(role string, file []byte), error) {
	if p.s.memory == nil {
		return func(string, []byte) {}, nil
	}
	roles := p.d.Delegations.SuccinctRoles
	by, err := quorum.Of(p.d.Delegations.Keys, roles.KeyIDs, roles.Threshold).Verifier()
	if err != nil {
		return nil, err
	}
	names := p.d.layout.Names()
	return func(role string, file []byte) {
		number, _ := slices.BinarySearch(names, role)
		if b, ok := bins.Read(file, number, p.d.layout, by); ok {
			b.Remember(p.s.memory, number, p.d.layout, by)
		}
	}, nil
}

// bin is the file of a bin.
func (p *publisher) bin(name string, version int64) ([]byte, error) {
	signed, err := p.d.Signed(name, version, p.d.Time.Add(p.s.fleet.Lifetimes.Targets))
	if err != nil {
		return nil, err
	}
	sigs, err := p.ring.SignBytes(signed, p.s.root.Signed.Roles[metadata.TARGETS])
	return bins.File(signed, sigs), err
}

// writers is how many bins are signed and stored at a time: a stored file waits for the disk, a signature for the KMS.
const writers = keys.InFlight

// first picks the error that caused the others: not the cancellation that followed it.
func first(errs []error) error {
	var any error
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		any = errors.Join(any, err)
	}
	return any
}

func (p *publisher) writeTargets(ctx context.Context, meta map[string]*metadata.MetaFiles) error {
	md := p.d.top(p.s.fleet.Lifetimes)
	for _, name := range slices.Sorted(maps.Keys(p.d.Targets)) {
		b := p.d.Targets[name]
		if err := p.create(ctx, schema.TargetKey(schema.DigestOf(b)), b); err != nil {
			return err
		}
	}
	v, b, err := p.createNext(ctx, metadata.TARGETS, func(version int64) ([]byte, error) {
		md.Signed.Version = version
		return keys.SignRole(p.ring, md, p.s.root.Signed.Roles[metadata.TARGETS])
	})
	if err != nil {
		return err
	}
	p.sums[metadata.TARGETS] = schema.DigestOf(b)
	meta["targets.json"] = metadata.MetaFile(v)
	p.sum.Roles = append(p.sum.Roles, metadata.TARGETS)
	return nil
}

func (p *publisher) writeSnapshot(
	ctx context.Context, meta map[string]*metadata.MetaFiles,
) (*metadata.MetaFiles, error) {
	md, t := snapshotOf(meta, p.sums, p.d.Time.Add(p.s.fleet.Lifetimes.Snapshot))
	if err := p.create(ctx, schema.TreeKey(t.Root()), t.Encode()); err != nil {
		return nil, err
	}
	v, b, err := p.createNext(ctx, metadata.SNAPSHOT, func(version int64) ([]byte, error) {
		md.Signed.Version = version
		return keys.SignRole(p.ring, md, p.s.root.Signed.Roles[metadata.SNAPSHOT])
	})
	if err != nil {
		return nil, err
	}
	p.sum.Roles = append(p.sum.Roles, metadata.SNAPSHOT)
	d := schema.DigestOf(b)
	return &metadata.MetaFiles{Version: v, Length: int64(len(b)), Hashes: metadata.Hashes{"sha256": d[:]}}, nil
}

func (s *State) timestampMeta() *metadata.MetaFiles {
	if s.timestamp == nil {
		return nil
	}
	return s.timestamp.Signed.Meta["snapshot.json"]
}

// commit creates the next timestamp. Its number is never stepped over: whoever creates it has published.
func (p *publisher) commit(ctx context.Context, snapshot *metadata.MetaFiles) error {
	md := timestampOf(snapshot, p.d.Time.Add(p.s.fleet.Lifetimes.Timestamp))
	md.Signed.Version = max(p.s.head+1, p.s.minVersion)
	if md.Signed.Version > schema.MaxTimestampVersion {
		return fault.Hint(fmt.Errorf("timestamp version %d is more than the store can count", md.Signed.Version),
			"nobody publishes that often: find out who put %s into the store, and remove it",
			schema.TimestampKey(p.s.head))
	}
	b, err := keys.SignRole(p.ring, md, p.s.root.Signed.Roles[metadata.TIMESTAMP])
	if err != nil {
		return fmt.Errorf("timestamp: %w", err)
	}
	key := schema.TimestampKey(md.Signed.Version)
	err = store.CreateBytes(ctx, p.st, key, b)
	if errors.Is(err, fs.ErrExist) {
		if there, rerr := store.Read(ctx, p.st, key, schema.MaxTimestamp); rerr != nil || !bytes.Equal(there, b) {
			return fault.Hint(fmt.Errorf("another run published version %d in the meantime", md.Signed.Version),
				"run again: it starts from what the other published")
		}
		err = nil
	}
	if err != nil {
		return err
	}
	p.sum.Head = md.Signed.Version
	p.sum.Roles = append(p.sum.Roles, metadata.TIMESTAMP)
	return nil
}

// maxLeftovers bounds how many files of crashed runs are stepped over.
const maxLeftovers = 1000

// after is the version above which the role is signed next.
func (s *State) after(role string) int64 {
	after := s.Version(role)
	if after > schema.MaxTimestampVersion {
		after = s.head // who made that up has a key that the newest root dropped, and hosts forget it
	}
	return max(after, s.minVersion-1)
}

// createNext has a role signed under the first version that may follow and whose name is free, and stores it. A file
// that a crashed run left holds its version for good: clients may have cached it.
func (p *publisher) createNext(
	ctx context.Context, role string, sign func(version int64) ([]byte, error),
) (int64, []byte, error) {
	after := p.s.after(role)
	for v := after + 1; v <= after+maxLeftovers; v++ {
		b, err := sign(v)
		if err != nil {
			return 0, nil, fmt.Errorf("%s: %w", role, err)
		}
		key := schema.MetadataKey(role, v)
		err = store.CreateBytes(ctx, p.st, key, b)
		if errors.Is(err, fs.ErrExist) {
			there, err := store.Read(ctx, p.st, key, schema.MaxTargets)
			if err != nil {
				return 0, nil, err
			}
			if !bytes.Equal(there, b) {
				continue
			}
		} else if err != nil {
			return 0, nil, err
		}
		return v, b, nil
	}
	return 0, nil, fault.Hint(fmt.Errorf("store: %d files of %s that nothing names", maxLeftovers, role),
		"see bakehouse store fsck")
}

// create stores an object whose key names its bytes. If it is there with others, the store was altered.
func (p *publisher) create(ctx context.Context, key string, b []byte) error {
	err := store.CreateBytes(ctx, p.st, key, b)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	there, err := store.Read(ctx, p.st, key, int64(len(b)))
	if err != nil || !bytes.Equal(there, b) {
		return fault.Refuse(errors.Join(fmt.Errorf("store: %s is altered", key), err),
			"find out who altered the store, remove the object and run again")
	}
	return nil
}
